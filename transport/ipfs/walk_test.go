package ipfs_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	unixfspb "github.com/ipfs/boxo/ipld/unixfs/pb"
	"github.com/ipfs/go-cid"

	"github.com/waybill-project/waybill/bundle"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/ipfs"
)

// A directory that is a runtime bundle goes through kubo and back.
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
		err = bundle.CreateTree(t.Context(), to, treeOf(t.Context(), tr, "ipfs://"+id), bundle.TreeOptions{})
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

// What a directory must not hold, and what becomes of it.
func TestWalkOfMalformedDirectories(t *testing.T) {
	d := newDAG(t)
	leaf := d.leaf([]byte("leaf")).cid
	dir := func(children ...child) cid.Cid {
		return d.node(&unixfspb.Data{Type: unixfspb.Data_Directory.Enum()}, children...)
	}
	deep := dir()
	for range 102 {
		deep = dir(child{name: "d", cid: deep})
	}
	link := func(target string) cid.Cid {
		return d.node(&unixfspb.Data{Type: unixfspb.Data_Symlink.Enum(), Data: []byte(target)})
	}
	named := func(name string) cid.Cid { return dir(child{name: name, cid: leaf}) }
	config := child{name: "config.json", cid: d.leaf([]byte(`{"ociVersion":"1.0.2","root":{"path":"rootfs"}}`)).cid}
	tests := []struct {
		name string
		root cid.Cid
		want string
	}{
		{"dots", named(".."), `".." is not the name of a file`},
		{"a slash", named("a/b"), `"a/b" is not the name of a file`},
		{"no name", named(""), `"" is not the name of a file`},
		{"NUL", named("a\x00"), "is not the name of a file"},
		{"a long name", named(strings.Repeat("a", 256)), "a name of more than 255 bytes"},
		{"too deep", deep, "more than 100 directories deep"},
		{"a link to nothing", dir(child{name: "l", cid: link("")}), "with a target of 0 bytes"},
		{"a link to very much", dir(child{name: "l", cid: link(strings.Repeat("a", 4096))}), "with a target of 4096 bytes"},
		{"a missing block", dir(child{name: "d", cid: newDAG(t).directory(map[string]cid.Cid{"nowhere else": leaf})}), "no such block"},
		{"a name twice, a link first", dir(config, child{name: "a", cid: link("/tmp")}, child{name: "a", cid: dir(child{name: "x", cid: leaf})}), "it is there twice"},
		{"a name twice, a directory first", dir(config, child{name: "a", cid: dir(child{name: "x", cid: leaf})}, child{name: "a", cid: link("/tmp")}), "it is there twice"},
	}
	tr := newTransport(t, ipfs.Options{Gateways: []string{serve(t, (&fakeGateway{d: d}).ServeHTTP)}})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			parent := t.TempDir()
			err := bundle.CreateTree(t.Context(), filepath.Join(parent, "b"), treeOf(t.Context(), tr, "ipfs://"+tt.root.String()), bundle.TreeOptions{})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

// treeOf is a walk as a bundle takes it.
func treeOf(ctx context.Context, tr *ipfs.Transport, uri string) iter.Seq2[bundle.TreeEntry, error] {
	return func(yield func(bundle.TreeEntry, error) bool) {
		for e, err := range tr.Walk(ctx, uri) {
			if !yield(bundle.TreeEntry(e), err) {
				return
			}
		}
	}
}
