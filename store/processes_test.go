package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

var sharedContent = randomBytes(1, 3<<20)

// ingestShared ingests the blob that all children ingest, slowly, and says
// whether it was the one who did.
func ingestShared(dir string, _ uint64) error {
	s, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	d := digest.FromBytes(sharedContent)
	i, err := s.Ingest(context.Background(), d, int64(len(sharedContent)))
	if errors.Is(err, ErrExists) {
		_, err = s.ReadBlob(d, int64(len(sharedContent)))
		fmt.Println("exists")
		return err
	}
	if err != nil {
		return err
	}
	if len(i.Extents()) > 0 {
		return fmt.Errorf("another holder is at work: %v", i.Extents())
	}
	const step = 64 << 10
	for off := 0; off < len(sharedContent); off += step {
		if _, err := i.WriteAt(sharedContent[off:off+step], int64(off)); err != nil {
			return err
		}
		if err := i.Record(int64(off), step, "child"); err != nil {
			return err
		}
		time.Sleep(5 * time.Millisecond)
	}
	fmt.Println("wrote")
	return i.Commit()
}

func TestOneOfManyProcessesIngests(t *testing.T) {
	s := openStore(t, t.TempDir())
	said := make(map[string]int)
	var all []*process
	for n := range 8 {
		all = append(all, startChild(t, "ingest", s.Dir(), uint64(n)))
	}
	for _, child := range all {
		for child.stdout.Scan() {
			said[child.stdout.Text()]++
		}
		child.wait(t)
	}
	if said["wrote"] != 1 || said["exists"] != 7 {
		t.Errorf("children said %v, want 1 wrote and 7 exists", said)
	}
	if entries, err := os.ReadDir(s.path(ingestDir, "sha256")); err != nil || len(entries) > 0 {
		t.Errorf("left in ingest: %v, %v", entries, err)
	}
}

func TestOneOfManyGoroutinesIngests(t *testing.T) {
	s := openStore(t, t.TempDir())
	content := randomBytes(2, 100<<10)
	d := digest.FromBytes(content)
	var mu sync.Mutex
	var wrote, exists int
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			i, err := s.Ingest(t.Context(), d, int64(len(content)))
			mu.Lock()
			defer mu.Unlock()
			if errors.Is(err, ErrExists) {
				exists++
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			wrote++
			if _, err := i.WriteAt(content, 0); err != nil {
				t.Error(err)
			}
			if err := i.Commit(); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if wrote != 1 || exists != 15 {
		t.Errorf("%d wrote and %d found it there, want 1 and 15", wrote, exists)
	}
}

// A lock file that its holder removes, while others are about to lock it, must
// not let two in.
func TestIngestLockHasOneHolder(t *testing.T) {
	s := openStore(t, t.TempDir())
	dir, err := digestPath(s.dir, ingestDir, digest.FromString("x"))
	noError(t, err)
	var inside, turns atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 2000 {
				lock, err := s.lockIngest(dir)
				if err != nil {
					t.Error(err)
					return
				}
				if lock == nil {
					continue
				}
				if n := inside.Add(1); n != 1 {
					t.Errorf("%d holders at once", n)
				}
				runtime.Gosched()
				turns.Add(1)
				inside.Add(-1)
				if err := removeIngest(dir, lock); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if turns.Load() == 0 {
		t.Error("nobody ever got the lock")
	}
}

// testImage is image n of those the children of the gc test pull. They share
// layers.
func testImage(n int) (manifest []byte, desc ocispec.Descriptor, blobs [][]byte) {
	m := ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest}
	m.SchemaVersion = 2
	for k := range 3 {
		content := randomBytes(uint64(100+(n+k)%5), 10<<10)
		blobs = append(blobs, content)
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: digest.FromBytes(content), Size: int64(len(content))})
	}
	config := fmt.Appendf(nil, `{"image":%d}`, n)
	blobs = append(blobs, config)
	m.Config = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageConfig, Digest: digest.FromBytes(config), Size: int64(len(config))}
	manifest, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return manifest, ocispec.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(manifest), Size: int64(len(manifest))}, blobs
}

// imageChildren reads manifests and indexes as gc wants it.
func imageChildren(desc ocispec.Descriptor, content []byte) ([]ocispec.Descriptor, error) {
	var m struct {
		Config    *ocispec.Descriptor
		Layers    []ocispec.Descriptor
		Manifests []ocispec.Descriptor
	}
	if err := json.Unmarshal(content, &m); err != nil {
		return nil, err
	}
	list := append(m.Layers, m.Manifests...)
	if m.Config != nil {
		list = append(list, *m.Config)
	}
	return list, nil
}

const (
	gcTestImages = 6
	gcTestPulls  = 60 // of each child
)

// pullAndCheck pulls images, whose blobs it has in memory, as a real pull
// would: hold, look, fetch what is missing, name it. What it holds must be there
// until it lets go.
func pullAndCheck(dir string, seed uint64) error {
	s, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(seed, 0))
	for n := range gcTestPulls {
		if err := pullOnce(s, random); err != nil {
			return fmt.Errorf("pull %d: %w", n, err)
		}
	}
	return nil
}

func pullOnce(s *Store, random *rand.Rand) error {
	lease, err := s.Lease(NewPullID())
	if err != nil {
		return err
	}
	n := random.IntN(gcTestImages)
	manifest, desc, blobs := testImage(n)
	if err := obtain(s, lease, manifest); err != nil {
		return err
	}
	for _, content := range blobs {
		if err := obtain(s, lease, content); err != nil {
			return err
		}
	}
	time.Sleep(time.Duration(random.IntN(3)) * time.Millisecond)
	for _, content := range append(blobs, manifest) {
		if _, err := s.ReadBlob(digest.FromBytes(content), 1<<20); err != nil {
			return fmt.Errorf("gc took what a lease holds: %w", err)
		}
	}
	name := fmt.Sprintf("example.com/image:%d", n)
	if random.IntN(2) == 0 {
		err = s.PutRef(Ref{Name: name, Descriptor: desc, Time: time.Now()})
	} else if err = s.RemoveRef(name); errors.Is(err, ErrNotFound) {
		err = nil
	}
	return errors.Join(err, lease.Release())
}

// obtain sees to it that the store has a blob.
func obtain(s *Store, lease *Lease, content []byte) error {
	d := digest.FromBytes(content)
	if err := lease.Hold(d); err != nil {
		return err
	}
	if _, err := s.Stat(d); err == nil {
		return nil
	}
	if len(content) < 5<<10 {
		return s.Put(d, content)
	}
	i, err := s.Ingest(context.Background(), d, int64(len(content)))
	if errors.Is(err, ErrExists) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := i.WriteAt(content, 0); err != nil {
		return errors.Join(err, i.Close())
	}
	return i.Commit()
}

// collectForEver collects garbage until it is killed, and says what it removed.
func collectForEver(dir string, _ uint64) error {
	s, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	for {
		report, err := s.GC(context.Background(), GCOptions{Children: imageChildren})
		if err != nil {
			return err
		}
		fmt.Println(report.Blobs)
	}
}

func TestGCLeavesWhatPullsNeed(t *testing.T) {
	s := openStore(t, t.TempDir())
	var removed, rounds int
	var wg sync.WaitGroup
	var collectors, pulls []*process
	for n := range 2 {
		p := startChild(t, "gc", s.Dir(), uint64(n))
		collectors = append(collectors, p)
	}
	var mu sync.Mutex
	for _, p := range collectors {
		wg.Go(func() {
			for p.stdout.Scan() {
				var n int
				fmt.Sscan(p.stdout.Text(), &n)
				mu.Lock()
				removed += n
				rounds++
				mu.Unlock()
			}
		})
	}
	for n := range 4 {
		pulls = append(pulls, startChild(t, "pull", s.Dir(), uint64(10+n)))
	}
	doomed := startChild(t, "pull", s.Dir(), 99)
	time.AfterFunc(300*time.Millisecond, func() { doomed.cmd.Process.Kill() })
	for _, p := range pulls {
		p.wait(t)
	}
	for _, p := range collectors {
		p.cmd.Process.Kill()
	}
	wg.Wait()
	for _, p := range collectors {
		p.kill()
		if p.stderr.Len() > 0 {
			t.Error(p.stderr)
		}
	}
	doomed.kill()
	if removed == 0 {
		t.Error("gc never removed anything: nothing was tested")
	}
	t.Logf("gc ran %d times and removed %d blobs", rounds, removed)
	checkComplete(t, s)
}

// checkComplete checks that all that refs lead to is there, and after gc
// nothing else.
func checkComplete(t *testing.T, s *Store) {
	t.Helper()
	if _, err := s.GC(t.Context(), GCOptions{Children: imageChildren}); err != nil {
		t.Fatal(err)
	}
	want := make(map[digest.Digest]bool)
	for ref, err := range s.Refs() {
		if err != nil {
			t.Fatal(err)
		}
		var n int
		if _, err := fmt.Sscanf(ref.Name, "example.com/image:%d", &n); err != nil {
			t.Fatal(err)
		}
		manifest, _, blobs := testImage(n)
		for _, content := range append(blobs, manifest) {
			d := digest.FromBytes(content)
			want[d] = true
			if _, err := s.ReadBlob(d, 1<<20); err != nil {
				t.Errorf("%s: %v", ref.Name, err)
			}
		}
	}
	for info, err := range s.Verify(t.Context()) {
		if err != nil || !want[info.Digest] {
			t.Errorf("%s is left: %v", info.Digest, err)
		}
	}
	for _, dir := range []string{leasesDir, tmpDir, ingestDir + "/sha256"} {
		if entries, err := os.ReadDir(s.path(dir)); err != nil || len(entries) > 0 {
			t.Errorf("%s is left with %v, %v", dir, entries, err)
		}
	}
}
