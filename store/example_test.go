package store_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/opencontainers/go-digest"
	"github.com/waybill-project/waybill/store"
)

// A blob arrives in pieces from two sources. The process ends before it has all
// of it; the next one goes on.
func Example() {
	dir, err := os.MkdirTemp("", "store")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s, err := store.Open(dir, store.Options{})
	if err != nil {
		log.Fatal(err)
	}
	content := []byte("what the image says it is")
	d := digest.FromBytes(content)

	lease, err := s.Lease(store.NewPullID())
	if err != nil {
		log.Fatal(err)
	}
	defer lease.Release()
	if err := lease.Hold(d); err != nil { // before anything else is done with it
		log.Fatal(err)
	}

	fetch := func(off, end int, source string) *store.Ingest {
		ingest, err := s.Ingest(context.Background(), d, int64(len(content)))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("have", ingest.Extents())
		if _, err := ingest.WriteAt(content[off:end], int64(off)); err != nil {
			log.Fatal(err)
		}
		if err := ingest.Record(int64(off), int64(end-off), source); err != nil {
			log.Fatal(err)
		}
		return ingest
	}
	if err := fetch(15, 25, "https://mirror.example.com/").Close(); err != nil {
		log.Fatal(err)
	}
	if err := fetch(0, 15, "docker://registry.example.com/app").Commit(); err != nil {
		log.Fatal(err)
	}
	got, err := s.ReadBlob(d, 1<<20)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\n", got)
	// Output:
	// have []
	// have [{15 10 https://mirror.example.com/}]
	// what the image says it is
}
