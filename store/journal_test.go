package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

var testHeader = journalHeader{digest.FromString("x"), 1000, "this boot"}

// TestPowerLoss reopens partials in another boot of the machine: what the disk
// may not have must not come back.
func TestPowerLoss(t *testing.T) {
	check := func(t *testing.T, i *Ingest) { t.Helper(); noError(t, i.Checkpoint()) }
	tests := []struct {
		name string
		do   func(t *testing.T, i *Ingest)
		want []Extent
	}{
		{"nothing synced", func(t *testing.T, i *Ingest) {
			write(t, i, make([]byte, 100), 0, "a")
		}, nil},
		{"all synced", func(t *testing.T, i *Ingest) {
			write(t, i, make([]byte, 100), 0, "a")
			write(t, i, make([]byte, 100), 200, "b")
			check(t, i)
		}, []Extent{{0, 100, "a"}, {200, 100, "b"}}},
		{"recorded after the sync", func(t *testing.T, i *Ingest) {
			write(t, i, make([]byte, 100), 0, "a")
			check(t, i)
			write(t, i, make([]byte, 100), 100, "a")
			write(t, i, make([]byte, 100), 300, "b")
		}, []Extent{{0, 100, "a"}}},
		{"synced twice", func(t *testing.T, i *Ingest) {
			write(t, i, make([]byte, 100), 0, "a")
			check(t, i)
			write(t, i, make([]byte, 100), 100, "a")
			check(t, i)
		}, []Extent{{0, 200, "a"}}},
		{"forgotten after the sync", func(t *testing.T, i *Ingest) {
			write(t, i, make([]byte, 100), 0, "a")
			check(t, i)
			noError(t, i.Forget(40, 20))
		}, []Extent{{0, 40, "a"}, {60, 40, "a"}}},
		{"written again after the sync", func(t *testing.T, i *Ingest) {
			write(t, i, make([]byte, 100), 0, "a")
			check(t, i)
			write(t, i, make([]byte, 20), 40, "a")
		}, []Extent{{0, 40, "a"}, {60, 40, "a"}}},
		{"recorded while syncing", func(t *testing.T, i *Ingest) {
			write(t, i, make([]byte, 100), 0, "a")
			noError(t, i.j.begin())
			write(t, i, make([]byte, 100), 100, "a")
			noError(t, i.j.synced())
		}, []Extent{{0, 100, "a"}}},
		{"recorded while syncing, and synced", func(t *testing.T, i *Ingest) {
			noError(t, i.j.begin())
			write(t, i, make([]byte, 100), 100, "a")
			noError(t, i.j.synced())
			check(t, i)
		}, []Extent{{100, 100, "a"}}},
		{"the sync never ended", func(t *testing.T, i *Ingest) {
			write(t, i, make([]byte, 100), 0, "a")
			noError(t, i.j.begin())
		}, nil},
		{"compacted before, while and after", func(t *testing.T, i *Ingest) {
			noError(t, i.j.compact())
			write(t, i, make([]byte, 100), 0, "a")
			noError(t, i.j.compact())
			noError(t, i.j.begin())
			write(t, i, make([]byte, 100), 200, "b")
			noError(t, i.j.compact())
			noError(t, i.j.synced())
			noError(t, i.j.compact())
			write(t, i, make([]byte, 10), 0, "a")
			noError(t, i.j.compact())
		}, []Extent{{10, 90, "a"}}},
		{"the data is shorter", func(t *testing.T, i *Ingest) {
			write(t, i, make([]byte, 100), 0, "a")
			write(t, i, make([]byte, 100), 200, "b")
			check(t, i)
			noError(t, i.File().Truncate(250))
		}, []Extent{{0, 100, "a"}, {200, 50, "b"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := openStore(t, t.TempDir())
			d := digest.FromString("x")
			i := begin(t, s, d, 1000)
			tt.do(t, i)
			noError(t, i.Close())
			// What survived one power loss survives the next, without having been
			// synced again.
			for boot := range 3 {
				s.bootID = fmt.Sprint("boot ", boot)
				for info, err := range s.Ingests() {
					if err != nil || info.Recorded != total(tt.want) {
						t.Errorf("Ingests: %+v, %v; want %d recorded", info, err, total(tt.want))
					}
				}
				i := begin(t, s, d, 1000)
				if got := i.Extents(); !slices.Equal(got, tt.want) {
					t.Errorf("boot %d: %v, want %v", boot, got, tt.want)
				}
				noError(t, i.Close())
			}
		})
	}
}

func total(extents []Extent) (n int64) {
	for _, e := range extents {
		n += e.Length
	}
	return n
}

// Where the boot has no name, every opening is after a power loss.
func TestUnknownBoot(t *testing.T) {
	s := openStore(t, t.TempDir())
	s.bootID = ""
	i := begin(t, s, digest.FromString("x"), 1000)
	write(t, i, make([]byte, 100), 0, "a")
	noError(t, i.Checkpoint())
	write(t, i, make([]byte, 100), 100, "a")
	noError(t, i.Close())
	if got := begin(t, s, digest.FromString("x"), 1000).Extents(); !slices.Equal(got, []Extent{{0, 100, "a"}}) {
		t.Errorf("Extents: %v", got)
	}
}

// A file that lost its end, and got another, must not have bytes count again
// that were cut off.
func TestShortDataDoesNotGrowBack(t *testing.T) {
	s := openStore(t, t.TempDir())
	i := begin(t, s, digest.FromString("x"), 1000)
	write(t, i, make([]byte, 1000), 0, "a")
	noError(t, i.File().Truncate(100))
	noError(t, i.Close())
	for range 2 {
		i = begin(t, s, digest.FromString("x"), 1000)
		if got := i.Extents(); !slices.Equal(got, []Extent{{0, 100, "a"}}) {
			t.Errorf("Extents: %v", got)
		}
		noError(t, i.Preallocate())
		noError(t, i.Close())
	}
}

// someJournal is a journal of every kind of record, and where each ends.
func someJournal() (b []byte, ends []int) {
	add := func(next []byte) { b = next; ends = append(ends, len(b)) }
	add(appendHeader(b, testHeader))
	add(appendRecord(b, recordSource, []byte("https://example.com/")))
	add(appendExtent(b, 1, 0, 100))
	add(appendExtent(b, 0, 200, 100))
	add(appendRecord(b, recordBegin, nil))
	add(appendForget(b, 50, 10))
	add(appendRecord(b, recordSynced, nil))
	add(appendExtent(b, 1, 300, 1))
	return b, ends
}

func TestTornJournal(t *testing.T) {
	b, ends := someJournal()
	lastEnd := func(at int) int {
		end := 0
		for _, e := range ends {
			if e <= at {
				end = e
			}
		}
		return end
	}
	for at := range len(b) + 1 {
		if _, good := parseJournal(b[:at]); good != lastEnd(at) {
			t.Errorf("cut at %d: %d good bytes, want %d", at, good, lastEnd(at))
		}
	}
	for at := range b {
		for bit := range 8 {
			damaged := bytes.Clone(b)
			damaged[at] ^= 1 << bit
			if _, good := parseJournal(damaged); good != lastEnd(at) {
				t.Errorf("bit %d of byte %d flipped: %d good bytes, want %d", bit, at, good, lastEnd(at))
			}
		}
	}
}

// What a power loss may leave of a journal is cut off, and recording goes on.
func TestTornJournalIsRepaired(t *testing.T) {
	tests := []struct {
		name string
		tail []byte
	}{
		{"half a record", appendExtent(nil, 1, 900, 100)[:12]},
		{"zeros", make([]byte, 4096)},
		{"noise", randomBytes(1, 1000)},
		{"a record of no known kind", appendRecord(nil, 99, []byte("x"))},
		{"a source with no number", appendExtent(nil, 77, 900, 100)},
		{"an extent outside", appendExtent(nil, 1, 900, 101)},
		{"an extent far outside", appendExtent(nil, 1, 1<<63-1, 1<<63-1)},
		{"a negative extent", appendExtent(nil, 1, -1, 10)},
		{"an empty forget", appendForget(nil, 10, 0)},
		{"another header", appendHeader(nil, testHeader)},
		{"a mark with a payload", appendRecord(nil, recordSynced, []byte("x"))},
		{"a source without a name", appendRecord(nil, recordSource, nil)},
		{"a short extent", appendRecord(nil, recordExtent, make([]byte, 17))},
		{"a short forget", appendRecord(nil, recordForget, make([]byte, 15))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := openStore(t, t.TempDir())
			i := begin(t, s, digest.FromString("x"), 1000)
			noError(t, i.Preallocate())
			write(t, i, make([]byte, 100), 0, "a")
			noError(t, i.Close())
			f, err := os.OpenFile(i.j.path, os.O_APPEND|os.O_WRONLY, 0)
			noError(t, err)
			_, err = f.Write(tt.tail)
			noError(t, err)
			noError(t, f.Close())
			i = begin(t, s, digest.FromString("x"), 1000)
			write(t, i, make([]byte, 100), 500, "b")
			noError(t, i.Close())
			want := []Extent{{0, 100, "a"}, {500, 100, "b"}}
			if got := begin(t, s, digest.FromString("x"), 1000).Extents(); !slices.Equal(got, want) {
				t.Errorf("Extents: %v, want %v", got, want)
			}
		})
	}
}

func TestGarbageJournalMeansNothingHeld(t *testing.T) {
	other := testHeader
	other.digest = digest.FromString("y")
	valid, _ := someJournal()
	tests := map[string][]byte{
		"empty":           nil,
		"noise":           randomBytes(1, 5000),
		"zeros":           make([]byte, 5000),
		"no header":       appendExtent(nil, 0, 0, 100),
		"another digest":  appendExtent(appendHeader(nil, other), 0, 0, 100),
		"another version": appendExtent(appendRecord(nil, recordHeader, append([]byte{99}, make([]byte, 100)...)), 0, 0, 100),
		"endless":         append(valid, make([]byte, maxJournal)...),
		"long boot id":    appendRecord(nil, recordHeader, []byte{journalVersion, 0, 0, 0, 0, 0, 0, 0, 0, 255}),
		"negative size":   appendHeader(nil, journalHeader{testHeader.digest, -5, "this boot"}),
	}
	for name, journal := range tests {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, t.TempDir())
			s.bootID = testHeader.boot
			i := begin(t, s, testHeader.digest, testHeader.size)
			write(t, i, make([]byte, 1000), 0, "a")
			noError(t, i.Close())
			noError(t, os.WriteFile(i.j.path, journal, 0o644))
			for range 2 {
				i = begin(t, s, testHeader.digest, testHeader.size)
				if got := i.Extents(); len(got) > 0 {
					t.Errorf("Extents: %v", got)
				}
				noError(t, i.Close())
			}
			i = begin(t, s, testHeader.digest, testHeader.size)
			write(t, i, make([]byte, 10), 0, "b")
			noError(t, i.Close())
			if got := begin(t, s, testHeader.digest, testHeader.size).Extents(); !slices.Equal(got, []Extent{{0, 10, "b"}}) {
				t.Errorf("Extents: %v", got)
			}
		})
	}
}

// TestJournalLikePaint does anything in any order, compacting and dying in
// between, and compares with the plainest bookkeeping.
func TestJournalLikePaint(t *testing.T) {
	const size = 100
	random := rand.New(rand.NewPCG(3, 4))
	s := openStore(t, t.TempDir())
	d := digest.FromString("x")
	i := begin(t, s, d, size)
	noError(t, i.Preallocate())
	p := make(paint, size)
	promote := func(from, to durability) {
		for at := range p {
			if p[at].end > 0 && p[at].state == from {
				p[at].state = to
			}
		}
	}
	var compactions, longest int64
	for step := range 100_000 {
		off := random.Int64N(size)
		length := random.Int64N(size-off) + 1
		before := i.j.size
		switch random.IntN(400) {
		case 0: // another holder
			noError(t, i.Close())
			i = begin(t, s, d, size)
		case 1: // after a power loss
			noError(t, i.Close())
			s.bootID = fmt.Sprint(step)
			for at := range p {
				if p[at].state != synced {
					p[at] = span{}
				}
			}
			i = begin(t, s, d, size)
			noError(t, i.Preallocate())
		case 2:
			noError(t, i.j.begin())
			promote(written, syncing)
		case 3:
			noError(t, i.j.synced())
			promote(syncing, synced)
		case 4, 5, 6, 7, 8, 9:
			noError(t, i.Forget(off, length))
			p.cut(off, off+length)
		default:
			source := random.IntN(5)
			noError(t, i.Record(off, length, strings.Repeat("s", source)))
			p.set(span{off: off, end: off + length, source: uint16(source)})
		}
		if i.j.size < before {
			compactions++
		}
		longest = max(longest, i.j.size)
		if step%50 == 0 {
			if got, want := i.Extents(), paintedExtents(p); !slices.Equal(got, want) {
				t.Fatalf("step %d: %v, want %v", step, got, want)
			}
		}
	}
	if compactions == 0 || longest > maxJournal {
		t.Errorf("%d compactions, %d bytes at most", compactions, longest)
	}
}

// paintedExtents returns what Extents should.
func paintedExtents(p paint) []Extent {
	bare := slices.Clone(p)
	for at := range bare {
		bare[at].state = 0
	}
	var list []Extent
	for _, sp := range bare.spans() {
		list = append(list, Extent{sp.off, sp.end - sp.off, strings.Repeat("s", int(sp.source))})
	}
	return list
}

// TestJournalStaysSmall records what would need most room: every other byte of
// a huge blob, each from another source.
func TestJournalStaysSmall(t *testing.T) {
	const size = 1 << 40
	orders := map[string]func(n int64) int64{
		"ascending": func(n int64) int64 { return 2 * n },
		"scattered": func(n int64) int64 { return n * 0x9e3779b1 % (size / 2) * 2 },
		"touching":  func(n int64) int64 { return n },
	}
	for name, order := range orders {
		t.Run(name, func(t *testing.T) {
			s := openStore(t, t.TempDir())
			d := digest.FromString("x")
			i := begin(t, s, d, size)
			noError(t, i.File().Truncate(size))
			for n := range int64(60_000) {
				noError(t, i.Record(order(n), 1, fmt.Sprintf("source %d %s", n, strings.Repeat("x", int(n%300)))))
				if n%10_000 == 0 {
					noError(t, i.Checkpoint())
				}
				if len(i.j.ledger.spans) > maxJournal/recordFrame || len(i.j.numbers) > maxSources+1 {
					t.Fatalf("%d spans and %d sources in memory", len(i.j.ledger.spans), len(i.j.numbers))
				}
				if n%100 == 0 {
					if info, err := os.Stat(i.j.path); err != nil || info.Size() > maxJournal {
						t.Fatalf("%d bytes after %d records, %v", info.Size(), n, err)
					}
				}
			}
			// Large extents don't fall victim to small ones.
			noError(t, i.Record(size-1<<30, 1<<30, "large"))
			noError(t, i.j.compact())
			noError(t, i.Close())
			got := begin(t, s, d, size).Extents()
			if last := got[len(got)-1]; last.Offset != size-1<<30 || last.Length != 1<<30 {
				t.Errorf("the last extent is %v, want the large one", last)
			}
			if len(got) > maxSpans || name != "touching" && len(got) < maxSpans {
				t.Errorf("%d extents left, want %d", len(got), maxSpans)
			}
			if name == "touching" && total(got) != 60_000+1<<30 {
				t.Errorf("%d bytes left, want all", total(got))
			}
		})
	}
}

// Sources beyond what the journal has room for are recorded as unknown.
func TestTooLongSource(t *testing.T) {
	s := openStore(t, t.TempDir())
	d := digest.FromString("x")
	i := begin(t, s, d, 1000)
	write(t, i, make([]byte, 10), 0, strings.Repeat("x", maxSourceName))
	write(t, i, make([]byte, 10), 20, strings.Repeat("y", maxSourceName+1))
	noError(t, i.Close())
	want := []Extent{{0, 10, strings.Repeat("x", maxSourceName)}, {20, 10, ""}}
	if got := begin(t, s, d, 1000).Extents(); !slices.Equal(got, want) {
		t.Errorf("Extents: %.100v", got)
	}
}

func FuzzParseJournal(f *testing.F) {
	b, ends := someJournal()
	f.Add(b)
	for _, end := range ends {
		f.Add(b[:end-1])
	}
	f.Add(appendExtent(b, 1, 1<<62, 1<<62))
	f.Fuzz(func(t *testing.T, b []byte) {
		l, good := parseJournal(b)
		if good == 0 {
			return
		}
		if good > len(b) {
			t.Fatalf("%d good bytes of %d", good, len(b))
		}
		last := int64(0)
		for _, sp := range l.spans {
			if sp.off < last || sp.end <= sp.off || l.header.size >= 0 && sp.end > l.header.size || int(sp.source) >= len(l.sources) {
				t.Fatalf("spans %v of %d bytes with %d sources", l.spans, l.header.size, len(l.sources))
			}
			last = sp.end
		}
		// The good part says the same alone, and as a snapshot.
		again, n := parseJournal(b[:good])
		if n != good || !slices.Equal(again.spans, l.spans) {
			t.Fatalf("%v, again %v", l.spans, again.spans)
		}
		snapshot := again.snapshot()
		copied, n := parseJournal(snapshot)
		if n != len(snapshot) || len(snapshot) > maxJournal || !slices.Equal(copied.spans, again.spans) || !slices.Equal(copied.sources, again.sources) {
			t.Fatalf("%v, compacted %v", again, copied)
		}
	})
}
