package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

func TestMarks(t *testing.T) {
	s := openStore(t, t.TempDir())
	now := time.Now()
	image, other := digest.FromString("image"), digest.FromString("other")
	m := Mark{Signer: "https://registry.example", Image: image, Sequence: 7, Digest: digest.FromString("document"), Until: now.Add(time.Hour).UTC()}
	if err := s.PutMark(m); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Mark(m.Signer, image, now); err != nil || got.Sequence != 7 || got.Digest != m.Digest || !got.Until.Equal(m.Until) {
		t.Errorf("got %+v, %v", got, err)
	}
	for what, get := range map[string]func() (Mark, error){
		"another signer": func() (Mark, error) { return s.Mark("https://mirror.example", image, now) },
		"another image":  func() (Mark, error) { return s.Mark(m.Signer, other, now) },
		"too late":       func() (Mark, error) { return s.Mark(m.Signer, image, m.Until) },
	} {
		if got, err := get(); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: got %+v, %v", what, got, err)
		}
	}
	if err := s.PutMark(Mark{Signer: strings.Repeat("x", 20_000), Image: image}); err == nil || !strings.Contains(err.Error(), "limit") {
		t.Errorf("a huge signer: %v", err)
	}

	old := Mark{Signer: "https://old.example", Image: image, Sequence: 1, Until: now.Add(-time.Hour)}
	if err := s.PutMark(old); err != nil {
		t.Fatal(err)
	}
	if _, err := s.GC(t.Context(), GCOptions{Children: imageChildren}); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(s.Dir(), "marks", "*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("after gc there are %v, %v", files, err)
	}
	if err := os.WriteFile(files[0], []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Mark(m.Signer, image, now); !errors.Is(err, ErrCorrupt) {
		t.Errorf("of a spoilt file: %+v, %v", got, err)
	}
}
