package store

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

func TestOpenRefuses(t *testing.T) {
	write := func(name, content string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			t.Helper()
			if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	tests := []struct {
		name    string
		prepare func(t *testing.T, dir string)
		sub     string // opened, below the prepared directory
		opts    Options
		want    string
	}{
		{"a file", write("f", ""), "f", Options{}, "is a file"},
		{"a directory below a file", write("f", ""), "f/store", Options{}, "not a directory"},
		{"somebody's directory", write("thesis.tex", ""), ".", Options{}, `not a store, and not empty (has "thesis.tex")`},
		{"an OCI layout", write("oci-layout", "{}"), ".", Options{}, `has "oci-layout"`},
		{"a later layout", write(markFile, "waybill store, layout 2\n"), ".", Options{}, "use the program that made it"},
		{"a negative quota", write("f", ""), "store", Options{IngestQuota: -1}, "must not be negative"},
		{"a negative age", write("f", ""), "store", Options{IngestMaxAge: -time.Second}, "must not be negative"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			tt.prepare(t, dir)
			_, err := Open(filepath.Join(dir, tt.sub), tt.opts)
			checkError(t, err, tt.want)
			if entries, _ := os.ReadDir(dir); len(entries) != 1 {
				t.Errorf("Open left %v", entries)
			}
		})
	}
}

// checkError checks that err is one line that contains want.
func checkError(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", want)
	}
	if !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %q, want one line with %q", err, want)
	}
}

func TestOpenMakesStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	s := openStore(t, dir)
	if s.Dir() != dir {
		t.Errorf("Dir() = %q, want %q", s.Dir(), dir)
	}
	d := put(t, s, []byte("content"))
	for path, want := range map[string]os.FileMode{
		blobsDir:                        os.ModeDir | 0o755,
		blobsDir + "/sha256":            os.ModeDir | 0o755,
		blobsDir + "/sha256/" + d.Hex(): 0o644,
		markFile:                        0o644,
	} {
		if info, err := os.Stat(s.path(path)); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want mode %v", path, info.Mode(), err, want)
		}
	}
	if _, err := openStore(t, dir).Stat(d); err != nil {
		t.Errorf("opened again: %v", err)
	}
}

func TestOpenRelativeDirSurvivesChdir(t *testing.T) {
	t.Chdir(t.TempDir())
	s := openStore(t, "store")
	t.Chdir("/")
	put(t, s, []byte("content"))
}

func TestOpenFilesystemRoot(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "lost+found"), 0o700); err != nil {
		t.Fatal(err)
	}
	openStore(t, dir)
}

func TestManyOpenAtOnce(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if _, err := Open(dir, Options{}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestReadOnlyStore(t *testing.T) {
	if !inMountNamespace(t) {
		return
	}
	dir := t.TempDir()
	w := openStore(t, dir)
	content := []byte(`{"layers":[]}`)
	d := put(t, w, content)
	ref := Ref{Name: "a", Descriptor: descriptorOf("x/y", content)}
	if err := w.PutRef(ref); err != nil {
		t.Fatal(err)
	}
	// A bind mount, so that what is open stays writable and dir isn't.
	for _, flags := range []uintptr{syscall.MS_BIND, syscall.MS_BIND | syscall.MS_REMOUNT | syscall.MS_RDONLY} {
		if err := syscall.Mount(dir, dir, "", flags, ""); err != nil {
			t.Fatal(err)
		}
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)

	s := openStore(t, dir)
	if got, err := s.ReadBlob(d, 100); err != nil || string(got) != string(content) {
		t.Errorf("ReadBlob: %q, %v", got, err)
	}
	if err := s.Put(d, content); err != nil {
		t.Errorf("Put of what is there: %v", err)
	}
	if got, err := s.Ref("a"); err != nil || got.Descriptor.Digest != d {
		t.Errorf("Ref: %+v, %v", got, err)
	}
	if _, err := s.GC(t.Context(), GCOptions{DryRun: true, Children: imageChildren}); err != nil {
		t.Errorf("GC dry run: %v", err)
	}
	other := []byte("other")
	writes := map[string]func() error{
		"Put":       func() error { return s.Put(digest.FromBytes(other), other) },
		"PutRef":    func() error { return s.PutRef(ref) },
		"RemoveRef": func() error { return s.RemoveRef("a") },
		"PutPull":   func() error { return s.PutPull("a", []byte("{}")) },
		"Lease":     func() error { _, err := s.Lease("a"); return err },
		"Ingest":    func() error { _, err := s.Ingest(t.Context(), digest.FromBytes(other), 5); return err },
		"GC":        func() error { _, err := s.GC(t.Context(), GCOptions{Children: imageChildren}); return err },
	}
	for name, write := range writes {
		t.Run(name, func(t *testing.T) { checkError(t, write(), "make it writable or choose another") })
	}
	if _, err := Open(filepath.Join(dir, "new"), Options{}); err == nil {
		t.Error("Open made a store on a read-only filesystem")
	} else {
		checkError(t, err, "make it writable or choose another")
	}
}
