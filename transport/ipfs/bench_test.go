package ipfs_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/ipfs"
)

// BenchmarkRead reads a file of 1 GB from kubo on this machine, beside "ipfs
// cat" and "ipfs get" of the same kubo.
func BenchmarkRead(b *testing.B) {
	const size = 1_000_000_000
	kubo := startKubo(b, nil)
	dir := b.TempDir()
	blob := transporttest.NewBlob(1, size)
	file := filepath.Join(dir, "file")
	blob.WriteFile(b, file)
	for name, chunker := range map[string]string{"1MiB": "size-1048576", "256KiB": "size-262144"} {
		id, err := kubo.Add(b.Context(), file, "--chunker="+chunker)
		if err != nil {
			b.Fatal(err)
		}
		tool := func(args ...string) func(b *testing.B) {
			return func(b *testing.B) {
				b.SetBytes(size)
				for b.Loop() {
					cmd, err := kubo.Command(b.Context(), append(args, id)...)
					if err != nil {
						b.Fatal(err)
					}
					if err := cmd.Run(); err != nil {
						b.Fatal(err)
					}
				}
			}
		}
		b.Run(name+"/ipfs cat", tool("cat"))
		b.Run(name+"/ipfs get", func(b *testing.B) {
			out := filepath.Join(dir, "out")
			tool("get", "--progress=false", "--output="+out)(b)
			if err := os.Remove(out); err != nil {
				b.Fatal(err)
			}
		})
		for mode, reading := range map[string]ipfs.Reading{"blocks": ipfs.Blocks, "CARs": ipfs.CARs} {
			for _, parts := range []int64{1, 4} {
				b.Run(fmt.Sprintf("%s/%s/%d at a time", name, mode, parts), func(b *testing.B) {
					b.SetBytes(size)
					b.ReportAllocs()
					tr := newTransport(b, ipfs.Options{Gateways: []string{kubo.Gateway}, Reading: reading})
					for b.Loop() {
						var wg sync.WaitGroup
						for i := range parts {
							wg.Go(func() { readPart(b, tr, "ipfs://"+id, blob, i*size/parts, size/parts) })
						}
						wg.Wait()
					}
				})
			}
		}
	}
}

func readPart(b *testing.B, tr *ipfs.Transport, uri string, blob transporttest.Blob, offset, length int64) {
	r, err := tr.Open(context.WithoutCancel(b.Context()), transport.Route{URI: uri}, blob.Descriptor(), offset, length)
	if err != nil {
		b.Error(err)
		return
	}
	defer r.Close()
	if n, err := io.Copy(io.Discard, r); n != length || err != nil {
		b.Errorf("%d bytes, %v", n, err)
	}
}
