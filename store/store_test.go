package store

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
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
