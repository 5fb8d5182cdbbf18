package store

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
)

// inMountNamespace runs the calling test again in a child with a mount
// namespace of its own, and returns true there: it may mount what it likes. In
// the parent it returns false when the child is done.
func inMountNamespace(t *testing.T) bool {
	t.Helper()
	const inside = "WAYBILL_STORE_TEST_MOUNTS"
	if os.Getenv(inside) == t.Name() {
		if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		return true
	}
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("in a mount namespace (which needs root, or user namespaces allowed): %v\n%s", err, out)
	}
	return false
}

// mountTmpfs mounts an empty filesystem of size bytes and returns where. It is
// for tests in a mount namespace.
func mountTmpfs(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
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
