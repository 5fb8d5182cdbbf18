package store

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
)

// The blob of the crash test. Its byte at an offset depends on who wrote it, so
// that an extent attributed to the wrong source, or recorded before it was
// written, shows.
const (
	scribbleSize    = 32 << 20
	scribblers      = 4
	scribbleSources = 3
)

var scribbleDigest = digest.FromString("what is never completed")

// sourceBytes fills p with what source has at off.
func sourceBytes(p []byte, off int64, source int) {
	var word [8]byte
	for i := range p {
		at := off + int64(i)
		if i == 0 || at%8 == 0 {
			x := (uint64(at/8) + uint64(source)<<56) * 0x9e3779b97f4a7c15
			binary.LittleEndian.PutUint64(word[:], x^x>>29)
		}
		p[i] = word[at%8]
	}
}

// scribble writes, records and forgets ranges of a blob until it is killed.
// Each goroutine keeps to its part. "+" tells the parent that a range is
// recorded, "-" that it is about to be forgotten.
func scribble(dir string, seed uint64) error {
	s, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	i, err := s.Ingest(context.Background(), scribbleDigest, scribbleSize)
	if err != nil {
		return err
	}
	if err := i.Preallocate(); err != nil {
		return err
	}
	failed := make(chan error)
	for part := range scribblers {
		go func() { failed <- scribblePart(i, int64(part), rand.New(rand.NewPCG(seed, uint64(part)))) }()
	}
	return <-failed
}

func scribblePart(i *Ingest, part int64, random *rand.Rand) error {
	const partSize = scribbleSize / scribblers
	buf := make([]byte, 64<<10)
	for {
		length := 1 + random.Int64N(int64(len(buf)))
		off := part*partSize + random.Int64N(partSize-length)
		source := random.IntN(scribbleSources)
		fmt.Printf("- %d %d\n", off, length)
		if err := i.Forget(off, length); err != nil {
			return err
		}
		sourceBytes(buf[:length], off, source)
		if _, err := i.WriteAt(buf[:length], off); err != nil {
			return err
		}
		if err := i.Record(off, length, fmt.Sprintf("source %d", source)); err != nil {
			return err
		}
		fmt.Printf("+ %d %d %d\n", off, length, source)
		if random.IntN(200) == 0 {
			if err := i.Checkpoint(); err != nil {
				return err
			}
		}
	}
}

func TestWhatIsRecordedSurvivesKill(t *testing.T) {
	s := openStore(t, t.TempDir())
	random := rand.New(rand.NewPCG(1, 2))
	var told spans // by all children so far
	for round := range 40 {
		child := startChild(t, "scribble", s.Dir(), uint64(round))
		var wg sync.WaitGroup
		wg.Go(func() { follow(t, child, &told) })
		time.Sleep(time.Duration(20+random.IntN(100)) * time.Millisecond)
		child.cmd.Process.Kill()
		wg.Wait()
		child.kill()
		if child.stderr.Len() > 0 {
			t.Fatalf("round %d: %s", round, child.stderr)
		}
		i, err := s.Ingest(t.Context(), scribbleDigest, scribbleSize)
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		checkExtents(t, i, told)
		if err := i.Close(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			t.Fatalf("round %d", round)
		}
	}
	if told.bytes() == 0 {
		t.Fatal("no child recorded anything")
	}
	t.Logf("%d bytes in %d extents at the end", told.bytes(), len(told))
}

// follow replays in told what the child says until it dies.
func follow(t *testing.T, child *process, told *spans) {
	for child.stdout.Scan() {
		var off, length int64
		var source uint16
		line := child.stdout.Text()
		switch {
		case strings.HasPrefix(line, "-"):
			if _, err := fmt.Sscanf(line, "- %d %d", &off, &length); err == nil {
				told.cut(off, off+length)
			}
		default:
			if _, err := fmt.Sscanf(line, "+ %d %d %d", &off, &length, &source); err == nil {
				told.set(span{off: off, end: off + length, source: source})
			} else {
				t.Errorf("child said %q", line)
			}
		}
	}
}

// checkExtents checks that i holds all it told of, and nothing whose bytes are
// not those of the source it names.
func checkExtents(t *testing.T, i *Ingest, told spans) {
	t.Helper()
	var held spans
	for _, e := range i.Extents() {
		var source int
		if _, err := fmt.Sscanf(e.Source, "source %d", &source); err != nil {
			t.Errorf("%+v: %v", e, err)
			continue
		}
		got, want := make([]byte, e.Length), make([]byte, e.Length)
		if _, err := i.ReadAt(got, e.Offset); err != nil && err != io.EOF {
			t.Errorf("%+v: %v", e, err)
		}
		sourceBytes(want, e.Offset, source)
		if !slices.Equal(got, want) {
			t.Errorf("%+v: bytes are not that source's", e)
		}
		held.set(span{off: e.Offset, end: e.Offset + e.Length, source: uint16(source)})
	}
	for _, want := range told {
		at := held.find(want.off)
		if at == len(held) || held[at].off > want.off || held[at].end < want.end || held[at].source != want.source {
			t.Errorf("was told of %+v, which is lost", want)
		}
	}
}

func TestNextHolderGoesOnAfterKill(t *testing.T) {
	s := openStore(t, t.TempDir())
	child := startChild(t, "scribble", s.Dir(), 1)
	for child.stdout.Scan() && !strings.HasPrefix(child.stdout.Text(), "+") {
	}
	// The child holds it: we wait until it is dead, and then get what it had.
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := s.Ingest(ctx, scribbleDigest, scribbleSize); err == nil || ctx.Err() == nil {
		t.Fatalf("got the ingest while a child holds it: %v", err)
	}
	time.AfterFunc(50*time.Millisecond, func() { child.cmd.Process.Kill() })
	i, err := s.Ingest(t.Context(), scribbleDigest, scribbleSize)
	if err != nil {
		t.Fatal(err)
	}
	defer i.Close()
	if len(i.Extents()) == 0 {
		t.Error("nothing is left of what the child recorded")
	}
	checkExtents(t, i, nil)
}
