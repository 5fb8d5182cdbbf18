//go:build linux

package bundle_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-project/waybill/bundle"
)

const treeConfig = `{"ociVersion":"1.0.2","process":{"cwd":"/","args":["/hello"]},"root":{"path":"rootfs","readonly":true}}`

func treeDir(path string) bundle.TreeEntry { return bundle.TreeEntry{Path: path, Type: fs.ModeDir} }

func treeLink(path, target string) bundle.TreeEntry {
	return bundle.TreeEntry{Path: path, Type: fs.ModeSymlink, Target: target}
}

func treeFile(path, content string) bundle.TreeEntry {
	return bundle.TreeEntry{Path: path, Size: int64(len(content)), Open: func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(content)), nil
	}}
}

// with returns e with a mode.
func treeMode(e bundle.TreeEntry, mode fs.FileMode) bundle.TreeEntry {
	e.Mode, e.HasMode = mode, true
	return e
}

func treeOf(all ...bundle.TreeEntry) iter.Seq2[bundle.TreeEntry, error] {
	return func(yield func(bundle.TreeEntry, error) bool) {
		for _, e := range all {
			if !yield(e, nil) {
				return
			}
		}
	}
}

func TestCreateTree(t *testing.T) {
	to := filepath.Join(t.TempDir(), "b")
	at := time.Date(2020, 2, 3, 4, 5, 6, 789, time.UTC)
	dated := treeMode(treeDir("rootfs/etc"), 0o555)
	dated.ModTime = at
	old := treeMode(treeFile("rootfs/etc/old", "old"), fs.ModeSetuid|0o751)
	old.ModTime = at
	unknown := treeFile("rootfs/unknown", "as long as it is")
	unknown.Size = -1
	sym := treeLink("rootfs/bin", "/usr/../../../bin")
	sym.ModTime = at
	program := treeFile("rootfs/program", "\x7fELF and so on")
	script := treeFile("rootfs/script", "#!/bin/sh\n")
	plain := treeMode(treeFile("rootfs/plain", "#!/bin/sh\n"), 0o640)
	all := []bundle.TreeEntry{treeFile("config.json", treeConfig), treeDir("rootfs"), dated, old, treeDir("rootfs/etc/empty"), sym, unknown, program, script, plain}
	for i := range 100 {
		all = append(all, treeFile(fmt.Sprintf("rootfs/f%d", i), strings.Repeat("x", i*1000)))
	}
	var warnings []string
	err := bundle.CreateTree(t.Context(), to, treeOf(all...), bundle.TreeOptions{Warn: func(m string) { warnings = append(warnings, m) }})
	if err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	modes := map[string]fs.FileMode{
		".": fs.ModeDir | 0o700, "config.json": 0o644, "rootfs": fs.ModeDir | 0o755, "rootfs/etc": fs.ModeDir | 0o555,
		"rootfs/program": 0o755, "rootfs/script": 0o755, "rootfs/plain": 0o640,
		"rootfs/etc/old": fs.ModeSetuid | 0o751, "rootfs/unknown": 0o644, "rootfs/etc/empty": fs.ModeDir | 0o755, "rootfs/bin": fs.ModeSymlink | 0o777,
	}
	for p, want := range modes {
		info, err := os.Lstat(filepath.Join(to, p))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v; want %v", p, info.Mode(), err, want)
		}
		if strings.Contains(p, "old") || p == "rootfs/etc" || p == "rootfs/bin" {
			if !info.ModTime().Equal(at) {
				t.Errorf("%s is of %v", p, info.ModTime())
			}
		}
	}
	for i := range 100 {
		got, err := os.ReadFile(filepath.Join(to, fmt.Sprintf("rootfs/f%d", i)))
		if err != nil || len(got) != i*1000 {
			t.Errorf("f%d: %d bytes, %v", i, len(got), err)
		}
	}
	if target, err := os.Readlink(filepath.Join(to, "rootfs/bin")); target != "/usr/../../../bin" {
		t.Errorf("link to %q, %v", target, err)
	}
}

// What must not become a bundle, and leaves nothing behind.
func TestCreateTreeRefuses(t *testing.T) {
	config, root := treeFile("config.json", treeConfig), treeDir("rootfs")
	broken := errors.New("broken")
	failing := treeFile("rootfs/x", "")
	failing.Open = func(context.Context) (io.ReadCloser, error) { return nil, broken }
	short := treeFile("rootfs/x", "abc")
	short.Size = 4
	conf := func(s string) []bundle.TreeEntry { return []bundle.TreeEntry{treeFile("config.json", s), root} }
	tests := []struct {
		name    string
		entries []bundle.TreeEntry
		opts    bundle.TreeOptions
		want    error
	}{
		{"nothing", nil, bundle.TreeOptions{}, bundle.ErrInvalid},
		{"no config", []bundle.TreeEntry{root}, bundle.TreeOptions{}, bundle.ErrInvalid},
		{"no rootfs", []bundle.TreeEntry{config}, bundle.TreeOptions{}, bundle.ErrInvalid},
		{"dots", []bundle.TreeEntry{config, root, treeFile("../x", "")}, bundle.TreeOptions{}, bundle.ErrInvalid},
		{"dots within", []bundle.TreeEntry{config, root, treeFile("rootfs/../x", "")}, bundle.TreeOptions{}, bundle.ErrInvalid},
		{"absolute", []bundle.TreeEntry{config, root, treeFile("/x", "")}, bundle.TreeOptions{}, bundle.ErrInvalid},
		{"itself", []bundle.TreeEntry{config, root, treeDir(".")}, bundle.TreeOptions{}, bundle.ErrInvalid},
		{"NUL", []bundle.TreeEntry{config, root, treeFile("a\x00b", "")}, bundle.TreeOptions{}, bundle.ErrInvalid},
		{"below a link", []bundle.TreeEntry{config, root, treeLink("rootfs/a", "/etc"), treeFile("rootfs/a/x", "")}, bundle.TreeOptions{}, bundle.ErrInvalid},
		{"below a file", []bundle.TreeEntry{config, root, treeFile("rootfs/a", ""), treeFile("rootfs/a/x", "")}, bundle.TreeOptions{}, bundle.ErrInvalid},
		{"a link for a directory", []bundle.TreeEntry{config, root, treeDir("rootfs/a"), treeLink("rootfs/a", "/etc")}, bundle.TreeOptions{}, bundle.ErrInvalid},
		{"a directory for a link", []bundle.TreeEntry{config, root, treeLink("rootfs/a", "/etc"), treeDir("rootfs/a")}, bundle.TreeOptions{}, bundle.ErrInvalid},
		{"a file for a link", []bundle.TreeEntry{config, root, treeLink("rootfs/a", "/etc/passwd"), treeFile("rootfs/a", "x")}, bundle.TreeOptions{}, bundle.ErrInvalid},
		{"a file twice", []bundle.TreeEntry{config, config, root}, bundle.TreeOptions{}, bundle.ErrInvalid},
		{"out of order", []bundle.TreeEntry{config, root, treeDir("rootfs/a"), treeDir("b"), treeFile("rootfs/a/x", "")}, bundle.TreeOptions{}, bundle.ErrInvalid},
		{"a device", []bundle.TreeEntry{config, root, {Path: "rootfs/d", Type: fs.ModeDevice}}, bundle.TreeOptions{}, bundle.ErrInvalid},
		{"a size that is wrong", []bundle.TreeEntry{config, root, short}, bundle.TreeOptions{}, bundle.ErrInvalid},
		{"a file that can't be had", []bundle.TreeEntry{config, root, failing}, bundle.TreeOptions{}, broken},
		{"config a link", []bundle.TreeEntry{treeLink("config.json", "rootfs/c"), root, treeFile("rootfs/c", treeConfig)}, bundle.TreeOptions{}, bundle.ErrInvalid},
		{"config no JSON", conf("{"), bundle.TreeOptions{}, bundle.ErrInvalid},
		{"config of an image", conf(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers"}}`), bundle.TreeOptions{}, bundle.ErrInvalid},
		{"config too large", conf(strings.Repeat(" ", bundle.MaxConfigSize+1)), bundle.TreeOptions{}, bundle.ErrLimit},
		{"root elsewhere", conf(`{"ociVersion":"1.0.2","root":{"path":"/"}}`), bundle.TreeOptions{}, bundle.ErrInvalid},
		{"root above", conf(`{"ociVersion":"1.0.2","root":{"path":"rootfs/../.."}}`), bundle.TreeOptions{}, bundle.ErrInvalid},
		{"root missing", conf(`{"ociVersion":"1.0.2"}`), bundle.TreeOptions{}, bundle.ErrInvalid},
		{"root a link", []bundle.TreeEntry{config, treeLink("rootfs", "/")}, bundle.TreeOptions{}, bundle.ErrInvalid},
		{"hooks", conf(`{"ociVersion":"1.0.2","root":{"path":"rootfs"},"hooks":{"poststop":[{"path":"/bin/sh"}]}}`), bundle.TreeOptions{}, bundle.ErrInvalid},
		{"too many bytes", []bundle.TreeEntry{config, root, treeFile("rootfs/x", strings.Repeat("x", 1000))}, bundle.TreeOptions{MaxBytes: 999}, bundle.ErrLimit},
		{"too many entries", []bundle.TreeEntry{config, root, treeDir("rootfs/a")}, bundle.TreeOptions{MaxEntries: 2}, bundle.ErrLimit},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			parent := t.TempDir()
			err := bundle.CreateTree(t.Context(), filepath.Join(parent, "b"), treeOf(tt.entries...), tt.opts)
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
	t.Run("an error of the entries", func(t *testing.T) {
		err := bundle.CreateTree(t.Context(), filepath.Join(t.TempDir(), "b"), func(yield func(bundle.TreeEntry, error) bool) {
			_ = yield(config, nil) && yield(bundle.TreeEntry{}, broken)
		}, bundle.TreeOptions{})
		if !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a directory in use", func(t *testing.T) {
		to := t.TempDir()
		if err := os.WriteFile(filepath.Join(to, "mine"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := bundle.CreateTree(t.Context(), to, treeOf(config, root), bundle.TreeOptions{}); !errors.Is(err, bundle.ErrOccupied) {
			t.Errorf("got %v", err)
		}
	})
}

func TestCreateTreeHooksAndMounts(t *testing.T) {
	config := `{"ociVersion":"1.0.2","root":{"path":"./rootfs"},"hooks":{"poststop":[{"path":"/bin/sh"}]},
		"mounts":[{"destination":"/h","source":"/home","options":["bind"]},{"destination":"/proc","type":"proc","source":"proc"}],
		"linux":{"devices":[{"path":"/dev/x","type":"c"}]}}`
	var warnings []string
	err := bundle.CreateTree(t.Context(), filepath.Join(t.TempDir(), "b"), treeOf(treeFile("config.json", config), treeDir("rootfs")),
		bundle.TreeOptions{AllowHooks: true, Warn: func(m string) { warnings = append(warnings, m) }})
	if err != nil || len(warnings) != 2 || !strings.Contains(warnings[0], "/home") || !strings.Contains(warnings[1], "devices") {
		t.Errorf("%v, %q", err, warnings)
	}
}

// Cancelled in the middle of a file, it ends and leaves nothing.
func TestCreateTreeCancelled(t *testing.T) {
	parent := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	stuck := treeFile("rootfs/x", "x")
	stuck.Open = func(ctx context.Context) (io.ReadCloser, error) {
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	}
	err := bundle.CreateTree(ctx, filepath.Join(parent, "b"), treeOf(treeFile("config.json", treeConfig), treeDir("rootfs"), stuck), bundle.TreeOptions{})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(parent); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// The umask doesn't decide.
func TestCreateTreeUmask(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o077))
	to := filepath.Join(t.TempDir(), "b")
	if err := bundle.CreateTree(t.Context(), to, treeOf(treeFile("config.json", treeConfig), treeDir("rootfs")), bundle.TreeOptions{Sync: true}); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(to, "rootfs")); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
}

// runc runs what comes of it.
func TestCreateTreeRuns(t *testing.T) {
	if os.Getuid() != 0 {
		t.Log("only root can run the bundle")
		return
	}
	program := filepath.Join(t.TempDir(), "hello")
	source := program + ".go"
	if err := os.WriteFile(source, []byte("package main\nfunc main() { println(\"hello from a tree\") }\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", program, source)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	content, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	spec := exec.Command("runc", "spec")
	spec.Dir = t.TempDir()
	if out, err := spec.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	config, err := os.ReadFile(filepath.Join(spec.Dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	config = bytes.Replace(config, []byte(`"terminal": true`), []byte(`"terminal": false`), 1)
	config = bytes.Replace(config, []byte(`"sh"`), []byte(`"/hello"`), 1)
	to := filepath.Join(t.TempDir(), "b")
	err = bundle.CreateTree(t.Context(), to, treeOf(
		treeFile("config.json", string(config)), treeDir("rootfs"), treeDir("rootfs/proc"), treeDir("rootfs/dev"), treeDir("rootfs/sys"),
		treeMode(treeFile("rootfs/hello", string(content)), 0o755)), bundle.TreeOptions{})
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command("runc", "--root", t.TempDir(), "run", "--bundle", to, fmt.Sprintf("tree-%d", os.Getpid())).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "hello from a tree") {
		t.Errorf("%v\n%s", err, out)
	}
}
