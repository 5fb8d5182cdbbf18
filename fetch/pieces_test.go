package fetch_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/waybill-project/waybill/fetch"
	"github.com/waybill-project/waybill/internal/faultserver"
)

// table is a table of hashes of pieces of a megabyte.
type table struct {
	size   int64
	hashes [][]byte
}

func (t table) Algorithm() digest.Algorithm { return digest.SHA256 }
func (t table) Len() int                    { return len(t.hashes) }
func (t table) Hash(i int) []byte           { return t.hashes[i] }
func (t table) Span(i int) (int64, int64) {
	off := int64(i) * mb
	return off, min(mb, t.size-off)
}

func tableOf(b faultserver.Blob) table {
	content, err := io.ReadAll(io.NewSectionReader(b.Content, 0, b.Size))
	if err != nil {
		panic(err)
	}
	t := table{size: b.Size}
	for piece := range slices.Chunk(content, mb) {
		sum := sha256.Sum256(piece)
		t.hashes = append(t.hashes, sum[:])
	}
	return t
}

func withPieces(t table) func(*fetch.Options) {
	return func(o *fetch.Options) {
		o.Pieces = func(context.Context, ocispec.Descriptor) (fetch.Pieces, string, error) { return t, "a waybill", nil }
	}
}

// A lie is found at the piece, before the whole is here; who lied is asked for
// no more of it and is convicted in the end, and only the piece is had again.
func TestPieces(t *testing.T) {
	t.Parallel()
	b := faultserver.RandomBlob(51, 40*mb)
	blobs := []faultserver.Blob{b}
	liar := serve(t, faultserver.Options{Blobs: blobs, Rate: 16 * mb, Faults: []faultserver.Fault{{Lie: &faultserver.Lie{}}}})
	good := serve(t, faultserver.Options{Blobs: blobs, Rate: 16 * mb})
	r := newRig(t, withPieces(tableOf(b)))
	r.fetch(b, liar, good)
	if rep := r.report(liar); rep.Status != fetch.StatusQuarantined || !strings.Contains(rep.Reason, "wrong bytes") {
		t.Errorf("the liar is %s (%s)", rep.Status, rep.Reason)
	}
	if rep := r.report(good); rep.Status != fetch.StatusUsed || rep.Bytes != 40*mb {
		t.Errorf("the honest source is %s (%s) with %d bytes", rep.Status, rep.Reason, rep.Bytes)
	}
	if rep := r.report(liar); rep.Received > 30*mb {
		t.Errorf("%d bytes were read of the liar", rep.Received)
	}
	if r.count(fetch.EventMismatch) == 0 || r.count(fetch.EventDemoted) == 0 {
		t.Error("it was not found at a piece")
	}
}

// A table that lies is dropped, and costs nobody anything but a piece or two.
func TestPiecesThatLie(t *testing.T) {
	t.Parallel()
	b := faultserver.RandomBlob(52, 20*mb)
	blobs := []faultserver.Blob{b}
	for name, test := range map[string]struct {
		sources int
		change  func(*table)
	}{
		"one source":                 {1, func(t *table) { t.hashes[3] = t.hashes[4] }},
		"several sources":            {3, func(t *table) { t.hashes[3] = t.hashes[4] }},
		"everywhere":                 {3, func(t *table) { slices.Reverse(t.hashes) }},
		"the last piece":             {2, func(t *table) { t.hashes[19] = t.hashes[4] }},
		"of a blob of another size":  {2, func(t *table) { t.hashes = t.hashes[1:] }},
		"hashes of no length at all": {2, func(t *table) { t.hashes[0] = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			lying := tableOf(b)
			test.change(&lying)
			var servers []*faultserver.Server
			for range test.sources {
				servers = append(servers, serve(t, faultserver.Options{Blobs: blobs, Rate: 20 * mb}))
			}
			r := newRig(t, withPieces(lying))
			r.fetch(b, servers...)
			for _, s := range servers {
				if rep := r.report(s); rep.Status == fetch.StatusQuarantined {
					t.Errorf("an honest source is quarantined: %s", rep.Reason)
				}
			}
		})
	}
}

// A table and a source that lie together don't keep the image from being had.
func TestPiecesAndSourceThatLie(t *testing.T) {
	t.Parallel()
	b := faultserver.RandomBlob(53, 20*mb)
	lie := faultserver.Lie{Offset: 5 * mb, Length: 8 * mb, Seed: 7}
	lying := tableOf(b)
	liar := serve(t, faultserver.Options{Blobs: []faultserver.Blob{b}, Rate: 20 * mb, Faults: []faultserver.Fault{{Lie: &lie}}})
	good := serve(t, faultserver.Options{Blobs: []faultserver.Blob{b}, Rate: 20 * mb})
	sent := fetchWrong(t, b, liar)
	for i := 5; i < 13; i++ {
		sum := sha256.Sum256(sent[i*mb : (i+1)*mb])
		lying.hashes[i] = sum[:]
	}
	r := newRig(t, withPieces(lying))
	r.fetch(b, liar, good)
	if rep := r.report(good); rep.Status == fetch.StatusQuarantined {
		t.Errorf("the honest source is quarantined: %s", rep.Reason)
	}
}

// fetchWrong returns what a liar makes of a blob.
func fetchWrong(t *testing.T, b faultserver.Blob, liar *faultserver.Server) []byte {
	t.Helper()
	resp, err := http.Get(liar.BlobURL(b.Digest))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var buf bytes.Buffer
	if _, err := buf.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// That the hashes can't be had is told, and no reason to fail.
func TestPiecesThatCantBeHad(t *testing.T) {
	t.Parallel()
	b := faultserver.RandomBlob(54, 4*mb)
	r := newRig(t, func(o *fetch.Options) {
		o.Pieces = func(context.Context, ocispec.Descriptor) (fetch.Pieces, string, error) {
			return nil, "", errors.New("gone")
		}
	})
	r.fetch(b, serve(t, faultserver.Options{Blobs: []faultserver.Blob{b}}))
	if r.count(fetch.EventPieces) != 1 {
		t.Error("nobody was told")
	}
}

// Hashes that come when the blob is here already change nothing any more.
func TestPiecesThatComeLate(t *testing.T) {
	t.Parallel()
	b := faultserver.RandomBlob(55, 8*mb)
	lying := tableOf(b)
	slices.Reverse(lying.hashes)
	for range 20 {
		r := newRig(t, func(o *fetch.Options) {
			o.Pieces = func(ctx context.Context, _ ocispec.Descriptor) (fetch.Pieces, string, error) {
				select {
				case <-ctx.Done():
				case <-time.After(time.Duration(rand.Int64N(int64(60 * time.Millisecond)))):
				}
				return lying, "a waybill", nil
			}
		})
		r.fetch(b, serve(t, faultserver.Options{Blobs: []faultserver.Blob{b}}), serve(t, faultserver.Options{Blobs: []faultserver.Blob{b}}))
	}
}
