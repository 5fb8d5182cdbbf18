package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// begin begins an ingest for a test; it is closed when the test ends.
func begin(t testing.TB, s *Store, d digest.Digest, size int64) *Ingest {
	t.Helper()
	i, err := s.Ingest(t.Context(), d, size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.Close() })
	return i
}

// write writes and records p.
func write(t testing.TB, i *Ingest, p []byte, off int64, source string) {
	t.Helper()
	if n, err := i.WriteAt(p, off); n != len(p) || err != nil {
		t.Fatalf("WriteAt: %d, %v", n, err)
	}
	if err := i.Record(off, int64(len(p)), source); err != nil {
		t.Fatal(err)
	}
}

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestIngestCommits(t *testing.T) {
	tests := []struct {
		name        string
		content     []byte
		size        int64 // as told to Ingest
		preallocate bool
		digest      func([]byte) digest.Digest
	}{
		{"plain", randomBytes(1, 100_000), 100_000, false, digest.FromBytes},
		{"preallocated", randomBytes(1, 100_000), 100_000, true, digest.FromBytes},
		{"empty", nil, 0, true, digest.FromBytes},
		{"size unknown", randomBytes(1, 100_000), -1, true, digest.FromBytes},
		{"sha512", randomBytes(1, 100_000), 100_000, false, digest.SHA512.FromBytes},
		{"blake3", randomBytes(1, 100_000), 100_000, false, blake3Digest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := openStore(t, t.TempDir())
			d := tt.digest(tt.content)
			i := begin(t, s, d, tt.size)
			if tt.preallocate {
				noError(t, i.Preallocate())
			}
			half := len(tt.content) / 2
			write(t, i, tt.content[half:], int64(half), "b")
			write(t, i, tt.content[:half], 0, "a")
			got := make([]byte, len(tt.content))
			if _, err := i.ReadAt(got, 0); err != nil && err != io.EOF || !bytes.Equal(got, tt.content) {
				t.Errorf("ReadAt: %v", err)
			}
			if _, err := s.Stat(d); !errors.Is(err, ErrNotFound) {
				t.Errorf("Stat before Commit: %v", err)
			}
			noError(t, i.Checkpoint())
			noError(t, i.Commit())
			if got, err := s.ReadBlob(d, int64(len(tt.content))); err != nil || !bytes.Equal(got, tt.content) {
				t.Errorf("ReadBlob: %d bytes, %v", len(got), err)
			}
			path, _ := digestPath(s.dir, ingestDir, d)
			if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the ingest's directory is left: %v", err)
			}
			if _, err := s.Ingest(t.Context(), d, tt.size); !errors.Is(err, ErrExists) {
				t.Errorf("Ingest again: %v, want ErrExists", err)
			}
		})
	}
}

func TestIngestGoesOn(t *testing.T) {
	s := openStore(t, t.TempDir())
	d := digest.FromString("x")
	i := begin(t, s, d, 1000)
	noError(t, i.Preallocate())
	write(t, i, randomBytes(1, 100), 500, "a")
	write(t, i, randomBytes(2, 100), 600, "a") // joins the one before
	write(t, i, randomBytes(3, 100), 700, "b")
	write(t, i, randomBytes(4, 50), 0, "")
	noError(t, i.Checkpoint())
	write(t, i, randomBytes(5, 100), 800, "b")
	noError(t, i.Forget(550, 10))
	noError(t, i.Close())
	want := []Extent{{0, 50, ""}, {500, 50, "a"}, {560, 140, "a"}, {700, 200, "b"}}
	for range 3 {
		i = begin(t, s, d, 1000)
		if got := i.Extents(); !slices.Equal(got, want) {
			t.Errorf("Extents: %v, want %v", got, want)
		}
		got := make([]byte, 100)
		if _, err := i.ReadAt(got, 800); err != nil || !bytes.Equal(got, randomBytes(5, 100)) {
			t.Errorf("ReadAt: %v", err)
		}
		noError(t, i.Close())
	}
}

func TestIngestDropsPartialOfOtherSize(t *testing.T) {
	for _, size := range []int64{999, 1001, -1} {
		s := openStore(t, t.TempDir())
		d := digest.FromString("x")
		i := begin(t, s, d, 1000)
		write(t, i, randomBytes(1, 100), 0, "a")
		noError(t, i.Close())
		i = begin(t, s, d, size)
		if got := i.Extents(); len(got) > 0 {
			t.Errorf("size %d: Extents: %v, want none", size, got)
		}
		if info, err := i.File().Stat(); err != nil || info.Size() != 0 {
			t.Errorf("size %d: %d bytes of the other partial are left, %v", size, info.Size(), err)
		}
		noError(t, i.Close())
	}
}

func TestIngestDiscard(t *testing.T) {
	s := openStore(t, t.TempDir())
	d := digest.FromString("x")
	i := begin(t, s, d, 1000)
	write(t, i, randomBytes(1, 100), 0, "a")
	noError(t, i.Discard())
	if u, err := s.DF(); err != nil || u != (Usage{}) {
		t.Errorf("DF: %+v, %v", u, err)
	}
	if got := begin(t, s, d, 1000).Extents(); len(got) > 0 {
		t.Errorf("Extents: %v", got)
	}
}

func TestIngestEndsOnce(t *testing.T) {
	s := openStore(t, t.TempDir())
	i := begin(t, s, digest.FromString("x"), 10)
	noError(t, i.Close())
	for name, end := range map[string]func() error{
		"Close": i.Close, "Commit": i.Commit, "Discard": i.Discard, "Checkpoint": i.Checkpoint,
		"Record": func() error { return i.Record(0, 1, "a") },
		"Forget": func() error { return i.Forget(0, 1) },
	} {
		if err := end(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("%s after Close: %v, want os.ErrClosed", name, err)
		}
	}
}

func TestIngestRefusesOutside(t *testing.T) {
	s := openStore(t, t.TempDir())
	if _, err := s.Ingest(t.Context(), digest.FromString("x"), -2); err == nil {
		t.Error("Ingest took a size of -2")
	}
	i := begin(t, s, digest.FromString("x"), 100)
	const far = 1<<63 - 1
	for _, r := range [][2]int64{{-1, 1}, {0, 101}, {100, 1}, {101, 1}, {50, far}, {far, 1}, {far, far}, {0, -1}, {10, -5}, {-5, 0}} {
		for name, err := range map[string]error{"Record": i.Record(r[0], r[1], "a"), "Forget": i.Forget(r[0], r[1])} {
			if err == nil {
				t.Errorf("%s(%d, %d) was accepted", name, r[0], r[1])
			} else {
				checkError(t, err, "is outside its 100 bytes")
			}
		}
	}
	for _, off := range []int64{-1, 91, 101, far} {
		if _, err := i.WriteAt(make([]byte, 10), off); err == nil {
			t.Errorf("WriteAt of 10 bytes at %d was accepted", off)
		}
	}
	noError(t, i.Record(100, 0, "a"))
	if got := i.Extents(); len(got) > 0 {
		t.Errorf("Extents: %v", got)
	}
}

func TestCommitRefusesOtherLength(t *testing.T) {
	s := openStore(t, t.TempDir())
	d := digest.FromString("x")
	i := begin(t, s, d, 100)
	write(t, i, make([]byte, 99), 0, "a")
	err := i.Commit()
	if !errors.Is(err, ErrCorrupt) {
		t.Errorf("Commit: %v, want ErrCorrupt", err)
	}
	checkError(t, err, "99 bytes were written, want 100")
	// The partial is still there, for who knows what is missing.
	if got := begin(t, s, d, 100).Extents(); !slices.Equal(got, []Extent{{0, 99, "a"}}) {
		t.Errorf("Extents: %v", got)
	}
}

func TestIngestWaits(t *testing.T) {
	s := openStore(t, t.TempDir())
	content := []byte("content")
	d := digest.FromBytes(content)
	t.Run("until ctx ends", func(t *testing.T) {
		i := begin(t, s, d, 7)
		ctx, cancel := context.WithCancelCause(t.Context())
		why := errors.New("enough")
		time.AfterFunc(100*time.Millisecond, func() { cancel(why) })
		if _, err := s.Ingest(ctx, d, 7); !errors.Is(err, why) {
			t.Errorf("Ingest: %v", err)
		}
		noError(t, i.Close())
	})
	// Whichever way the first ends, the second learns it.
	for name, tt := range map[string]struct {
		end  func(*Ingest) error
		want error
	}{
		"until closed":    {(*Ingest).Close, nil},
		"until discarded": {(*Ingest).Discard, nil},
		"until committed": {(*Ingest).Commit, ErrExists},
	} {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, t.TempDir())
			first := begin(t, s, d, 7)
			write(t, first, content, 0, "a")
			var wg sync.WaitGroup
			wg.Go(func() {
				second, err := s.Ingest(t.Context(), d, 7)
				if !errors.Is(err, tt.want) {
					t.Errorf("Ingest: %v, want %v", err, tt.want)
				}
				if err == nil {
					second.Close()
				}
			})
			time.Sleep(120 * time.Millisecond)
			noError(t, tt.end(first))
			wg.Wait()
		})
	}
}

func TestIngestOfForeignFiles(t *testing.T) {
	d := digest.FromString("x")
	tests := []struct {
		name    string
		prepare func(t *testing.T, dir string) error // dir is the ingest's
		want    string
	}{
		{"a file for the directory", func(_ *testing.T, dir string) error { return os.WriteFile(dir, nil, 0o644) }, "not a directory"},
		{"a link for the data", func(t *testing.T, dir string) error {
			noError(t, os.Mkdir(dir, 0o755))
			return os.Symlink("/etc/passwd", filepath.Join(dir, ingestData))
		}, "too many levels of symbolic links"},
		{"a directory for the journal", func(_ *testing.T, dir string) error { return os.MkdirAll(filepath.Join(dir, ingestJournal), 0o755) }, "is a directory"},
		{"a directory for the lock", func(_ *testing.T, dir string) error { return os.MkdirAll(filepath.Join(dir, ingestLock), 0o755) }, "is a directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := openStore(t, t.TempDir())
			dir, _ := digestPath(s.dir, ingestDir, d)
			noError(t, os.MkdirAll(filepath.Dir(dir), 0o755))
			noError(t, tt.prepare(t, dir))
			_, err := s.Ingest(t.Context(), d, 10)
			checkError(t, err, tt.want)
		})
	}
}

// partial leaves a partial of n bytes that was last touched age ago.
func partial(t *testing.T, s *Store, name string, n int, age time.Duration) digest.Digest {
	t.Helper()
	d := digest.FromString(name)
	i := begin(t, s, d, 10<<20)
	write(t, i, randomBytes(1, n), 0, "a")
	noError(t, i.Close())
	dir, _ := digestPath(s.dir, ingestDir, d)
	at := time.Now().Add(-age)
	for _, name := range []string{ingestData, ingestJournal, ""} {
		noError(t, os.Chtimes(filepath.Join(dir, name), at, at))
	}
	return d
}

// partials returns what Ingests lists, by name.
func partials(t *testing.T, s *Store, names ...string) string {
	t.Helper()
	var found []string
	for info, err := range s.Ingests() {
		noError(t, err)
		for _, name := range names {
			if digest.FromString(name) == info.Digest {
				found = append(found, name)
			}
		}
	}
	slices.Sort(found)
	return strings.Join(found, " ")
}

func TestPartialsAreLimited(t *testing.T) {
	const mib = 1 << 20
	tests := []struct {
		name string
		opts Options
		want string // of partials a (8 days), b (2 h), c (1 h) and d (now), a MiB each, and new
	}{
		{"by default", Options{}, "b c d new"},
		{"by age", Options{IngestMaxAge: 90 * time.Minute}, "c d new"},
		{"by quota", Options{IngestQuota: 2*mib + mib/2}, "c d new"},
		{"by a small quota", Options{IngestQuota: 1}, "new"},
		{"generously", Options{IngestMaxAge: 1000 * time.Hour}, "a b c d new"},
	}
	for _, tt := range tests {
		prepare := func(t *testing.T) *Store {
			s := openStoreWith(t, t.TempDir(), Options{IngestMaxAge: 1000 * time.Hour})
			partial(t, s, "a", mib, 8*24*time.Hour)
			partial(t, s, "b", mib, 2*time.Hour)
			partial(t, s, "c", mib, time.Hour)
			partial(t, s, "d", mib, 0)
			s.opts = openStoreWith(t, s.dir, tt.opts).opts
			return s
		}
		t.Run(tt.name+" when another begins", func(t *testing.T) {
			s := prepare(t)
			begin(t, s, digest.FromString("new"), 10)
			if got := partials(t, s, "a", "b", "c", "d", "new"); got != tt.want {
				t.Errorf("left %q, want %q", got, tt.want)
			}
		})
		t.Run(tt.name+" by gc", func(t *testing.T) {
			s := prepare(t)
			want := strings.TrimSpace(strings.TrimSuffix(tt.want, "new"))
			gone := 4 - len(strings.Fields(want))
			for _, dryRun := range []bool{true, false} {
				report, err := s.GC(t.Context(), GCOptions{DryRun: dryRun, Children: imageChildren})
				if err != nil || report.Ingests != gone || report.IngestBytes != int64(gone*mib) {
					t.Errorf("GC: %+v, %v; want %d ingests", report, err, gone)
				}
			}
			if got := partials(t, s, "a", "b", "c", "d"); got != want {
				t.Errorf("left %q, want %q", got, want)
			}
		})
	}
}

func TestPartialsInUseStay(t *testing.T) {
	s := openStoreWith(t, t.TempDir(), Options{IngestQuota: 1, IngestMaxAge: time.Nanosecond})
	active := begin(t, s, digest.FromString("active"), 10)
	write(t, active, []byte("0123456789"), 0, "a")
	i := begin(t, s, digest.FromString("leased"), 10)
	write(t, i, []byte("0123456789"), 0, "a")
	noError(t, i.Close())
	lease, err := s.Lease("x")
	noError(t, err)
	noError(t, lease.Hold(digest.FromString("leased")))
	if _, err := s.GC(t.Context(), GCOptions{Children: imageChildren}); err != nil {
		t.Fatal(err)
	}
	if got := partials(t, s, "active", "leased"); got != "active leased" {
		t.Errorf("left %q", got)
	}
	noError(t, lease.Release())
	if _, err := s.GC(t.Context(), GCOptions{Children: imageChildren}); err != nil {
		t.Fatal(err)
	}
	if got := partials(t, s, "active", "leased"); got != "active" {
		t.Errorf("left %q", got)
	}
}

func TestIngestsTellsState(t *testing.T) {
	s := openStore(t, t.TempDir())
	i := begin(t, s, digest.FromString("x"), 10<<20)
	noError(t, i.Preallocate())
	write(t, i, randomBytes(1, 1<<20), 2<<20, "a")
	check := func(active bool) {
		t.Helper()
		for info, err := range s.Ingests() {
			noError(t, err)
			if info.Size != 10<<20 || info.Recorded != 1<<20 || info.Disk < 10<<20 || info.Active != active || time.Since(info.ModTime) > time.Hour {
				t.Errorf("Ingests: %+v", info)
			}
		}
	}
	check(true)
	noError(t, i.Close())
	check(false)
	if u, err := s.DF(); err != nil || u != (Usage{Ingests: 1, IngestBytes: 1 << 20}) {
		t.Errorf("DF: %+v, %v", u, err)
	}
}

// A holder that died between committing and cleaning up leaves a directory
// nobody needs.
func TestLeftoverOfCommitGoes(t *testing.T) {
	s := openStore(t, t.TempDir())
	content := []byte("content")
	i := begin(t, s, digest.FromBytes(content), 7)
	write(t, i, content, 0, "a")
	noError(t, i.commit())
	i.lock.Close() // as the kernel does
	noError(t, s.PutRef(Ref{Name: "a", Descriptor: descriptorOf("x/y", content)}))
	noChildren := func(ocispec.Descriptor, []byte) ([]ocispec.Descriptor, error) { return nil, nil }
	if _, err := s.GC(t.Context(), GCOptions{Children: noChildren}); err != nil {
		t.Fatal(err)
	}
	if u, err := s.DF(); err != nil || u != (Usage{Blobs: 1, Bytes: 7}) {
		t.Errorf("DF: %+v, %v", u, err)
	}
}
