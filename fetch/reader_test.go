package fetch

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/internal/faultserver"
	"github.com/waybill-project/waybill/waybill"
)

// Where the hashes of pieces are known, a reader of the growing blob gets pieces
// that are as those say, and hears nothing of one that was otherwise and was had
// again.
func TestReaderGetsCheckedPieces(t *testing.T) {
	b := faultserver.RandomBlob(61, 24<<20)
	hashes, err := waybill.HashPieces(io.NewSectionReader(b.Content, 0, b.Size), b.Size, digest.SHA256, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	table, err := hashes.Open(b.Size, hashes.Data)
	if err != nil {
		t.Fatal(err)
	}
	known, lied := make(chan struct{}), make(chan struct{})
	var once sync.Once
	liar := func(_ context.Context, _ ocispec.Descriptor, _, length int64) (io.ReadCloser, error) {
		<-known
		once.Do(func() { close(lied) })
		return io.NopCloser(bytes.NewReader(make([]byte, length))), nil
	}
	honest := func(ctx context.Context, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
		<-lied
		return has(b)(ctx, desc, offset, length)
	}
	var wrong atomic.Int64
	e := engineOn(t, places{"liar:": liar, "honest:": honest}, func(o *Options) {
		o.Pieces = func(context.Context, ocispec.Descriptor) (Pieces, string, error) { return table, "a waybill", nil }
		o.Observe = func(ev Event) {
			switch ev.Type {
			case EventPieces:
				close(known)
			case EventMismatch:
				wrong.Add(1)
			}
		}
	})
	task := e.Start(t.Context(), describeBlob(b), at("liar:", "honest:"))
	r := task.Reader()
	defer r.Close()
	got, err := io.ReadAll(r)
	if errors.Is(err, ErrRewound) {
		t.Fatal("the reader was given a piece before it was checked")
	}
	if err != nil {
		t.Fatal(detailOf(err))
	}
	if digest.FromBytes(got) != b.Digest {
		t.Error("the reader was given other bytes")
	}
	if _, err := task.Wait(); err != nil {
		t.Fatal(detailOf(err))
	}
	if wrong.Load() == 0 {
		t.Error("nobody lied")
	}
}
