//go:build linux

package bundle_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/waybill-project/waybill/bundle"
)

func TestTarget(t *testing.T) {
	img := imageOf(t, archive(t, file("f", "x")))
	tests := []struct {
		name  string
		setup string // a shell script; the bundle is to be at "b"
		err   error
		says  string
	}{
		{"absent", "", nil, ""},
		{"empty directory", "mkdir b", nil, ""},
		{"link to an empty directory", "mkdir c; ln -s c b", nil, ""},
		{"not empty", "mkdir b; touch b/x", bundle.ErrOccupied, "not empty"},
		{"a bundle already", "mkdir -p b/rootfs; touch b/config.json", bundle.ErrOccupied, "not empty"},
		{"a file", "touch b", bundle.ErrOccupied, "not a directory"},
		{"dangling link", "ln -s nowhere b", bundle.ErrOccupied, "dangling"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			work := t.TempDir()
			run(t, "sh", "-ec", "cd "+work+"; "+test.setup)
			before := scan(t, work)
			err := bundle.Create(t.Context(), work+"/b", img, bundle.Options{})
			if !errors.Is(err, test.err) || (err != nil && !strings.Contains(err.Error(), test.says)) {
				t.Fatalf("Create = %v, want %v saying %q", err, test.err, test.says)
			}
			if err != nil {
				compare(t, scan(t, work), before)
				return
			}
			if got := entries(t, work+"/b"); got != "config.json rootfs" {
				t.Errorf("bundle holds %s", got)
			}
			if info, err := os.Stat(work + "/b"); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("bundle: %v %v, want mode 0700", info, err)
			}
		})
	}
	t.Run("odd names", func(t *testing.T) {
		work := t.TempDir()
		for _, name := range []string{strings.Repeat("n", 255), "a*b", " ", "-x", "ü\xff\n"} {
			if err := bundle.Create(t.Context(), filepath.Join(work, name), img, bundle.Options{}); err != nil {
				t.Error(err)
			}
		}
		if strings.Contains(entries(t, work), "unfinished") {
			t.Errorf("left behind: %s", entries(t, work))
		}
	})
	t.Run("no parent", func(t *testing.T) {
		work := t.TempDir()
		err := bundle.Create(t.Context(), work+"/no/b", img, bundle.Options{})
		if err == nil || !strings.Contains(err.Error(), "parent directory") {
			t.Errorf("Create = %v, want one about the parent directory", err)
		}
		empty(t, work)
	})
	t.Run("relative, and written to stable storage", func(t *testing.T) {
		t.Chdir(t.TempDir())
		if err := bundle.Create(t.Context(), "b", img, bundle.Options{Sync: true}); err != nil {
			t.Error(err)
		}
		if got := entries(t, "."); got != "b" {
			t.Errorf("there is %s, want b alone", got)
		}
	})
}

// entries lists a directory.
func entries(t testing.TB, dir string) string {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range all {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// TestNothingBeforeTheLastWord checks that a bundle does not show before the
// last layer's reader has ended well, whatever was unpacked by then.
func TestNothingBeforeTheLastWord(t *testing.T) {
	img := imageOf(t, archive(t, file("f", "x")))
	work := t.TempDir()
	open := img.Layers[0].Open
	img.Layers[0].Open = func(ctx context.Context) (io.ReadCloser, error) {
		r, err := open(ctx)
		return io.NopCloser(io.MultiReader(r, readerFunc(func([]byte) (int, error) {
			if _, err := os.Lstat(work + "/b"); !os.IsNotExist(err) {
				t.Errorf("bundle is there before its layer was confirmed: %v", err)
			}
			info, err := os.Stat(work + "/" + entries(t, work))
			if err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("private directory: %v %v, want mode 0700", info, err)
			}
			return 0, io.EOF
		}))), err
	}
	if err := bundle.Create(t.Context(), work+"/b", img, bundle.Options{}); err != nil {
		t.Fatal(err)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestManyAtOnce(t *testing.T) {
	img := imageOf(t, archive(t, file("f", "x"), dir("d", 0o755)), archive(t, file("d/g", "y")))
	work := t.TempDir()
	var made, occupied atomic.Int32
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			switch err := bundle.Create(t.Context(), work+"/b", img, bundle.Options{}); {
			case err == nil:
				made.Add(1)
			case errors.Is(err, bundle.ErrOccupied):
				occupied.Add(1)
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if made.Load() != 1 || occupied.Load() != 15 {
		t.Errorf("%d succeeded and %d found it occupied, want 1 and 15", made.Load(), occupied.Load())
	}
	if got := entries(t, work); got != "b" {
		t.Errorf("there is %s, want b alone", got)
	}
}

// TestKilled kills a process in the middle of unpacking and looks for what it
// leaves.
func TestKilled(t *testing.T) {
	asBoth(t, func(t *testing.T) {
		tar := archive(t, dir("d", 0o755), file("d/f", strings.Repeat("x", 100_000)), dir("d/shut", 0), file("d/shut/f", "x"))
		img := imageOf(t, tar)
		if target := os.Getenv(victimVariable); target != "" {
			blob := gzipped(t, tar)
			img.Layers[0].Open = func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(io.MultiReader(bytes.NewReader(blob[:len(blob)-8]), readerFunc(func([]byte) (int, error) {
					fmt.Println("unpacked, but for the last bytes")
					select {}
				}))), nil
			}
			t.Fatal(bundle.Create(t.Context(), target, img, bundle.Options{}))
		}

		work := t.TempDir()
		t.Cleanup(func() { run(t, "chmod", "-R", "u+rwX", work) })
		for _, name := range []string{"b", "other"} { // of which the second lives on
			cmd := exec.Command(os.Args[0], "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$")
			cmd.Env = append(os.Environ(), victimVariable+"="+filepath.Join(work, name))
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
			if _, err := stdout.Read(make([]byte, 8)); err != nil {
				t.Fatal(err)
			}
			if name == "b" {
				cmd.Process.Kill()
				cmd.Wait()
			}
		}
		left := entries(t, work)
		if strings.Count(left, ".b.waybill-") != 1 || strings.Count(left, ".other.waybill-") != 1 {
			t.Fatalf("there is %s, want what two runs left", left)
		}
		for _, name := range []string{"b", "other"} {
			if err := bundle.Create(t.Context(), filepath.Join(work, name), img, bundle.Options{}); err != nil {
				t.Fatal(err)
			}
		}
		now := entries(t, work)
		if strings.Contains(now, ".b.waybill-") || strings.Count(now, ".other.waybill-") != 1 {
			t.Errorf("there is %s, want what the living run has and nothing of the dead one's", now)
		}
	})
}

const victimVariable = "WAYBILL_BUNDLE_TEST_VICTIM"

// TestOthersDirectories checks that a directory of the right name that another
// user made is not taken for an abandoned one.
func TestOthersDirectories(t *testing.T) {
	needRoot(t)
	work := t.TempDir()
	img := imageOf(t, archive(t))
	theirs := work + "/.b.waybill-unfinished-1"
	if err := os.Mkdir(theirs, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(theirs, ordinaryUser, ordinaryUser); err != nil {
		t.Fatal(err)
	}
	if err := bundle.Create(t.Context(), work+"/b", img, bundle.Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(theirs); err != nil {
		t.Errorf("it was removed: %v", err)
	}
}

// TestShutDirectories checks that an ordinary user's bundle keeps the modes of
// directories that its owner can't use, unless a later layer changes them.
func TestShutDirectories(t *testing.T) {
	if !asOrdinaryUser(t) {
		return
	}
	img := imageOf(t,
		archive(t, dir("shut", 0), file("shut/f", "x"), dir("shut/in", 0o300), dir("opened", 0o111), dir("gone", 0), dir("file", 0), dir("closed", 0o755)),
		archive(t, file("shut/later", "x"), dir("opened", 0o755), file(".wh.gone", ""), file("file", "x"), dir("closed", 0o500), file("closed/f", "x")))
	work := t.TempDir()
	t.Cleanup(func() { run(t, "chmod", "-R", "u+rwX", work) })
	if err := bundle.Create(t.Context(), work+"/b", img, bundle.Options{}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{"shut": 0, "opened": 0o755, "closed": 0o500, "file": 0o644} {
		if info, err := os.Stat(work + "/b/rootfs/" + name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v %v, want mode %o", name, info, err, want)
		}
	}
	run(t, "chmod", "700", work+"/b/rootfs/shut")
	if info, err := os.Stat(work + "/b/rootfs/shut/in"); err != nil || info.Mode().Perm() != 0o300 {
		t.Errorf("shut/in: %v %v, want mode 300", info, err)
	}
	read(t, work+"/b/rootfs/shut/later")
}
