package store

import (
	"fmt"
	"testing"

	"github.com/opencontainers/go-digest"
)

// BenchmarkRecord is what an engine adds to each range it has written.
func BenchmarkRecord(b *testing.B) {
	for name, order := range map[string]func(n int64) int64{
		"ascending": func(n int64) int64 { return n },
		"striped":   func(n int64) int64 { return n%8<<20 + n/8 }, // by 8 connections
		"scattered": func(n int64) int64 { return n * 0x9e3779b1 % (1 << 23) },
	} {
		b.Run(name, func(b *testing.B) {
			const size = 1 << 43
			s := openStore(b, b.TempDir())
			i := begin(b, s, digest.FromString("x"), size)
			if err := i.File().Truncate(size); err != nil {
				b.Fatal(err)
			}
			sources := make([]string, 8)
			for n := range sources {
				sources[n] = fmt.Sprintf("https://mirror%d.example.com/{algorithm}/{encoded}", n)
			}
			n := int64(0)
			for b.Loop() {
				at := order(n % (1 << 23))
				if err := i.Record(at<<20, 1<<20, sources[n%8]); err != nil {
					b.Fatal(err)
				}
				n++
			}
		})
	}
}

// BenchmarkIngest writes 1 GB in order, recording each MiB and checkpointing
// each 64, and commits it.
func BenchmarkIngest(b *testing.B) {
	const size = 1_000_000_000
	block := randomBytes(1, 1<<20)
	b.SetBytes(size)
	for b.Loop() {
		s := openStore(b, b.TempDir())
		i := begin(b, s, digest.FromString("x"), size)
		if err := i.Preallocate(); err != nil {
			b.Fatal(err)
		}
		for off := int64(0); off < size; off += int64(len(block)) {
			p := block[:min(int64(len(block)), size-off)]
			if _, err := i.WriteAt(p, off); err != nil {
				b.Fatal(err)
			}
			if err := i.Record(off, int64(len(p)), "a"); err != nil {
				b.Fatal(err)
			}
			if off>>20%64 == 63 {
				if err := i.Checkpoint(); err != nil {
					b.Fatal(err)
				}
			}
		}
		if err := i.Commit(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkHold is what a lease adds to each blob.
func BenchmarkHold(b *testing.B) {
	s := openStore(b, b.TempDir())
	lease, err := s.Lease("x")
	if err != nil {
		b.Fatal(err)
	}
	defer lease.Release()
	n := 0
	for b.Loop() {
		n++
		if err := lease.Hold(digest.Digest(fmt.Sprintf("sha256:%064x", n))); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPut stores a small blob, as manifests and configs are.
func BenchmarkPut(b *testing.B) {
	s := openStore(b, b.TempDir())
	content := randomBytes(1, 4<<10)
	n := 0
	for b.Loop() {
		n++
		copy(content, fmt.Sprint(n))
		if err := s.Put(digest.FromBytes(content), content); err != nil {
			b.Fatal(err)
		}
	}
}
