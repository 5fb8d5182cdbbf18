package ipfs_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waybill-project/waybill/bundle"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/ipfs"
)

// A directory that is a runtime bundle goes through kubo and back, and runs.
func TestWalkOfABundle(t *testing.T) {
	kubo := startKubo(t, nil)
	dir := t.TempDir()
	at := time.Date(2021, 2, 3, 4, 5, 6, 0, time.UTC)
	content := bytes.Repeat([]byte("large"), 1<<20)
	for _, d := range []string{"rootfs/bin", "rootfs/empty"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for f, c := range map[string][]byte{"config.json": []byte(`{"ociVersion":"1.0.2","root":{"path":"rootfs"}}`), "rootfs/bin/sh": content, "rootfs/data": []byte("small"), "rootfs/nothing": nil} {
		if err := os.WriteFile(filepath.Join(dir, f), c, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{
		os.Chmod(filepath.Join(dir, "rootfs/bin/sh"), 0o755|fs.ModeSetuid),
		os.Chtimes(filepath.Join(dir, "rootfs/bin/sh"), at, at),
		os.Symlink("../../etc/passwd", filepath.Join(dir, "rootfs/link")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	tr := newTransport(t, ipfs.Options{Gateways: []string{kubo.Gateway}})
	fetch := func(t *testing.T, options ...string) string {
		t.Helper()
		id, err := kubo.Add(t.Context(), dir, options...)
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(t.TempDir(), "bundle")
		err = bundle.CreateTree(t.Context(), to, func(yield func(bundle.TreeEntry, error) bool) {
			for e, err := range tr.Walk(t.Context(), "ipfs://"+id) {
				if !yield(bundle.TreeEntry(e), err) {
					return
				}
			}
		}, bundle.TreeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("diff", "-r", "--no-dereference", dir, to).CombinedOutput(); err != nil {
			t.Errorf("not the same: %s", out)
		}
		return to
	}
	t.Run("with modes and times", func(t *testing.T) {
		to := fetch(t, "--preserve-mode", "--preserve-mtime", "--raw-leaves=false")
		info, err := os.Stat(filepath.Join(to, "rootfs/bin/sh"))
		if err != nil || info.Mode() != 0o755|fs.ModeSetuid || !info.ModTime().Equal(at) {
			t.Errorf("%v, %v, %v", info.Mode(), info.ModTime(), err)
		}
	})
	t.Run("without", func(t *testing.T) {
		to := fetch(t)
		if info, err := os.Stat(filepath.Join(to, "rootfs/bin/sh")); err != nil || info.Mode() != 0o644 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
	})
	t.Run("not a directory", func(t *testing.T) {
		id, err := kubo.Add(t.Context(), filepath.Join(dir, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		for e, err := range tr.Walk(t.Context(), "ipfs://"+id) {
			if !errors.Is(err, transport.ErrPermanent) || !strings.Contains(err.Error(), "is a file, not a directory") {
				t.Errorf("%v, %v", e, err)
			}
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		id, err := kubo.Add(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var last error
		for _, err := range tr.Walk(ctx, "ipfs://"+id) {
			cancel()
			last = err
		}
		cancel()
		if last != nil && !errors.Is(last, context.Canceled) {
			t.Errorf("got %v", last)
		}
	})
}
