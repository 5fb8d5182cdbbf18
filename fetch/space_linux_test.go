package fetch_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-project/waybill/fetch"
	"github.com/waybill-project/waybill/internal/faultserver"
	"github.com/waybill-project/waybill/store"
)

// onSmallDisk runs the calling test again in a child with a mount namespace of
// its own, where it returns a filesystem of size bytes; in the parent it returns
// "" when the child is done.
func onSmallDisk(t *testing.T, size int) string {
	t.Helper()
	const inside = "WAYBILL_FETCH_TEST_MOUNTS"
	if os.Getenv(inside) == t.Name() {
		if err := syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
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
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inside+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("in a mount namespace (which needs root, or user namespaces allowed): %v\n%s", err, out)
	}
	return ""
}

// fill leaves nothing free on dir's filesystem.
func fill(t *testing.T, dir string) (undo func()) {
	t.Helper()
	free, err := store.FreeSpace(dir)
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "filler")
	if err := os.WriteFile(name, make([]byte, free), 0o600); err != nil && !errors.Is(err, syscall.ENOSPC) {
		t.Fatal(err)
	}
	return func() { os.Remove(name) }
}

func TestDiskFull(t *testing.T) {
	disk := onSmallDisk(t, 24*mb)
	if disk == "" {
		return
	}
	b, small := faultserver.RandomBlob(1, 16*mb), faultserver.RandomBlob(2, 100_000)
	s := serve(t, faultserver.Options{Blobs: []faultserver.Blob{b, small}, Rate: 8 * mb})
	dir := filepath.Join(disk, "store")
	want := func(r *rig, b faultserver.Blob) {
		t.Helper()
		_, err := r.Fetch(context.Background(), describe(b), routes(b, s))
		var space *store.SpaceError
		if !errors.As(err, &space) || !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("got %v", detail(err))
		}
	}

	// A part of it is there; then somebody else fills the disk.
	r := newRigAt(t, dir)
	if _, err := r.Fetch(soon(time.Second), describe(b), routes(b, s)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", detail(err))
	}
	had := r.leftovers()
	if len(had) != 1 || had[0].Recorded == 0 {
		t.Fatalf("left: %+v", had)
	}
	sent := s.Stats().Bytes

	// What was reserved is enough for the blob, but not for anything else.
	undo := fill(t, disk)
	want(newRigAt(t, dir), small)
	undo()

	// A blob that will never fit is refused before anybody is asked.
	huge := faultserver.RandomBlob(3, 32*mb)
	r = newRigAt(t, dir)
	want(r, huge)
	if n := r.count(fetch.EventAsked); n != 0 {
		t.Errorf("%d sources were asked for what doesn't fit", n)
	}
	if left := r.leftovers(); len(left) != 1 || left[0].Recorded != had[0].Recorded {
		t.Errorf("the partial of another blob: %+v, had %+v", left, had)
	}

	// Its books can't be written: what is in them is kept.
	other := faultserver.RandomBlob(4, 6*mb)
	s.Add(other)
	var full func()
	r = newRigAt(t, dir, func(o *fetch.Options) {
		observe := o.Observe
		o.Observe = func(ev fetch.Event) {
			observe(ev)
			if ev.Type == fetch.EventAsked && full == nil {
				full = fill(t, disk)
			}
		}
	})
	want(r, other)
	full()

	result := newRigAt(t, dir).fetch(b, s)
	if result.Resumed != had[0].Recorded {
		t.Errorf("resumed %d of %d", result.Resumed, had[0].Recorded)
	}
	if again := s.Stats().Bytes - sent; again > b.Size+other.Size {
		t.Errorf("%d bytes were sent", again)
	}
}
