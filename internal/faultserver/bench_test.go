package faultserver_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/waybill-project/waybill/internal/faultserver"
)

// BenchmarkServe is the rate of one connection without limits. The client's
// half of the work is in it.
func BenchmarkServe(b *testing.B) {
	const size = 256 << 20
	generated := faultserver.RandomBlob(1, size)
	path := filepath.Join(b.TempDir(), "blob")
	file, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.Copy(file, io.NewSectionReader(faultserver.Random(1), 0, size)); err != nil {
		b.Fatal(err)
	}
	if err := file.Close(); err != nil {
		b.Fatal(err)
	}
	filed := generated
	filed.Content = faultserver.File(path)
	for _, test := range []struct {
		name string
		blob faultserver.Blob
	}{{"generated", generated}, {"file", filed}} {
		b.Run(test.name, func(b *testing.B) {
			s := start(b, faultserver.Options{Blobs: []faultserver.Blob{test.blob}})
			buf := make([]byte, 1<<20)
			b.SetBytes(size)
			for b.Loop() {
				res, err := http.Get(s.BlobURL(test.blob.Digest))
				if err != nil {
					b.Fatal(err)
				}
				n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, struct{ io.Reader }{res.Body}, buf)
				res.Body.Close()
				if n != size || err != nil {
					b.Fatalf("%d bytes, %v", n, err)
				}
			}
		})
	}
}
