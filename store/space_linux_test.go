package store

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
)

func TestFreeSpace(t *testing.T) {
	if !inMountNamespace(t) {
		return
	}
	dir := mountTmpfs(t, 8<<20)
	before, err := FreeSpace(dir)
	if err != nil || before != 8<<20 {
		t.Errorf("FreeSpace: %d, %v", before, err)
	}
	noError(t, os.WriteFile(filepath.Join(dir, "f"), make([]byte, 1<<20), 0o644))
	if after, err := FreeSpace(dir); err != nil || after != 7<<20 {
		t.Errorf("FreeSpace: %d, %v", after, err)
	}
	_, err = FreeSpace(filepath.Join(dir, "missing"))
	checkError(t, err, "no such file")
}

func TestPreallocateWithoutSpace(t *testing.T) {
	if !inMountNamespace(t) {
		return
	}
	s := openStore(t, mountTmpfs(t, 8<<20))
	i := begin(t, s, digest.FromString("x"), 10<<20)
	err := i.Preallocate()
	var space *SpaceError
	if !errors.As(err, &space) || space.Need != 10<<20 || space.Have > 8<<20 || space.Have < 7<<20 || space.Path != i.File().Name() {
		t.Errorf("Preallocate: %+v, %v", space, err)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("%v is not ENOSPC", err)
	}
	checkError(t, err, "10485760 bytes needed")
	// What it took before it failed is given back.
	if free, err := s.Free(); err != nil || free != space.Have {
		t.Errorf("Free: %d, %v; want %d", free, err, space.Have)
	}
	noError(t, i.Discard())
	// What an earlier holder has reserved counts.
	i = begin(t, s, digest.FromString("y"), 6<<20)
	noError(t, i.Preallocate())
	write(t, i, make([]byte, 100), 0, "a")
	noError(t, i.Close())
	i = begin(t, s, digest.FromString("y"), 6<<20)
	noError(t, i.Preallocate())
}

// TestFullDisk fills the disk while everything writes to it. Each write fails
// with one line, and when there is room again everything is as it was.
func TestFullDisk(t *testing.T) {
	if !inMountNamespace(t) {
		return
	}
	dir := mountTmpfs(t, 8<<20)
	s := openStore(t, filepath.Join(dir, "store"))
	kept := put(t, s, []byte("kept"))
	lease, err := s.Lease("x")
	noError(t, err)
	noError(t, lease.Hold(kept))
	i := begin(t, s, digest.FromString("x"), 100<<20)
	write(t, i, randomBytes(1, 1<<20), 0, "a")

	fill := filepath.Join(dir, "fill")
	f, err := os.Create(fill)
	noError(t, err)
	for _, step := range []int{1 << 20, 4096, 1} {
		for {
			if _, err := f.Write(make([]byte, step)); err != nil {
				break
			}
		}
	}
	noError(t, f.Close())

	content := randomBytes(2, 100<<10)
	for name, err := range map[string]error{
		"Put":     s.Put(digest.FromBytes(content), content),
		"PutRef":  s.PutRef(Ref{Name: "a", Descriptor: descriptorOf("x/y", content)}),
		"PutPull": s.PutPull("a", []byte("{}")),
		"WriteAt": func() error { _, err := i.WriteAt(content, 2<<20); return err }(),
	} {
		var space *SpaceError
		if !errors.As(err, &space) || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v, want a SpaceError", name, err)
			continue
		}
		checkError(t, err, "no space left on device")
	}
	// A full disk stops records at some point: those before it must be intact.
	recorded := int64(0)
	for n := range int64(4096) {
		if err := i.Record(1<<20+1+2*n, 1, "a"); err != nil {
			checkError(t, err, "no space left on device")
			break
		}
		recorded++
	}
	if recorded == 4096 {
		t.Error("Record never failed")
	}
	held := 0
	for n := 0; ; n++ {
		if err := lease.Hold(digest.FromBytes([]byte{byte(n), byte(n >> 8)})); err != nil {
			checkError(t, err, "no space left on device")
			break
		}
		held++
	}
	want := i.Extents()
	noError(t, i.Close())

	noError(t, os.Remove(fill))
	noError(t, lease.Hold(digest.FromString("y")))
	if _, err := s.GC(t.Context(), GCOptions{Children: imageChildren}); err != nil {
		t.Error(err)
	}
	if _, err := s.Stat(kept); err != nil {
		t.Error(err)
	}
	// The data was not written as far as the records went.
	i = begin(t, s, digest.FromString("x"), 100<<20)
	if got := i.Extents(); !slices.Equal(got, want[:1]) {
		t.Errorf("Extents: %v, want %v", got, want[:1])
	}
	if u, err := s.DF(); err != nil || u != (Usage{Blobs: 1, Bytes: 4, Ingests: 1, IngestBytes: 1 << 20}) {
		t.Errorf("DF: %+v, %v", u, err)
	}
	t.Logf("%d records and %d leases before the disk was full", recorded, held)
}
