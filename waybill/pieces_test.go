package waybill_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/blobdigest"
	"github.com/waybill-project/waybill/waybill"
)

func TestPieces(t *testing.T) {
	const length = waybill.MinPieceLength
	tests := []struct {
		name  string
		size  int
		spans [][2]int64
	}{
		{"one byte", 1, [][2]int64{{0, 1}}},
		{"a byte less than a piece", length - 1, [][2]int64{{0, length - 1}}},
		{"a piece", length, [][2]int64{{0, length}}},
		{"a byte more", length + 1, [][2]int64{{0, length}, {length, 1}}},
		{"three pieces", 3 * length, [][2]int64{{0, length}, {length, length}, {2 * length, length}}},
	}
	for _, tt := range tests {
		for _, algorithm := range []digest.Algorithm{blobdigest.SHA256, blobdigest.SHA512, blobdigest.BLAKE3} {
			t.Run(tt.name+" "+string(algorithm), func(t *testing.T) {
				blob := bytes.Repeat([]byte("waybill"), tt.size/7+1)[:tt.size]
				p, size, err := waybill.HashPieces(iotest.HalfReader(bytes.NewReader(blob)), algorithm, length)
				if err != nil || size != int64(tt.size) {
					t.Fatalf("%d bytes, %v", size, err)
				}
				table, err := p.Open(size, p.Data)
				if err != nil {
					t.Fatal(err)
				}
				if table.Len() != len(tt.spans) || table.Algorithm() != algorithm {
					t.Fatalf("%d pieces of %s, want %d", table.Len(), table.Algorithm(), len(tt.spans))
				}
				for i, want := range tt.spans {
					offset, n := table.Span(i)
					if offset != want[0] || n != want[1] {
						t.Errorf("piece %d is %d+%d, want %v", i, offset, n, want)
					}
					h, err := blobdigest.NewHash(algorithm)
					if err != nil {
						t.Fatal(err)
					}
					h.Write(blob[offset : offset+n])
					if !bytes.Equal(h.Sum(nil), table.Hash(i)) {
						t.Errorf("piece %d has another hash", i)
					}
				}
				desc, err := p.Table(size)
				if err != nil || desc.Size != int64(len(p.Data)) || desc.Digest != p.Digest {
					t.Errorf("the table is %+v, %v", desc, err)
				}
			})
		}
	}
}

func TestHashPiecesRefuses(t *testing.T) {
	tests := []struct {
		name      string
		blob      io.Reader
		algorithm digest.Algorithm
		length    int64
		says      string
	}{
		{"an empty blob", strings.NewReader(""), blobdigest.SHA256, 1 << 20, "an empty blob has none"},
		{"an algorithm", strings.NewReader("x"), "md5", 1 << 20, "md5"},
		{"no power of two", strings.NewReader("x"), blobdigest.SHA256, 1<<20 + 1, "power of two"},
		{"short", strings.NewReader("x"), blobdigest.SHA256, 1 << 13, "from 16384 to 67108864"},
		{"long", strings.NewReader("x"), blobdigest.SHA256, 1 << 27, "from 16384 to 67108864"},
		{"negative", strings.NewReader("x"), blobdigest.SHA256, -1 << 63, "power of two"},
		{"a broken reader", broken{}, blobdigest.SHA256, 1 << 20, "broken"},
		{"more pieces than there may be", io.LimitReader(whatever{}, waybill.MaxPieces*waybill.MinPieceLength+1), blobdigest.BLAKE3, waybill.MinPieceLength, "more than 262144"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := waybill.HashPieces(tt.blob, tt.algorithm, tt.length)
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("got %v", err)
			}
			checkLine(t, err)
		})
	}
}

// TestOpenRefuses: a table that was fetched is as little trusted as a blob.
func TestOpenRefuses(t *testing.T) {
	p, size, err := waybill.HashPieces(strings.NewReader(strings.Repeat("x", 100_000)), blobdigest.SHA256, 1<<14)
	if err != nil {
		t.Fatal(err)
	}
	changed := bytes.Clone(p.Data)
	changed[40] ^= 1
	other := *p
	other.Digest = digest.NewDigestFromBytes("md5", make([]byte, 16))
	tests := []struct {
		name  string
		p     *waybill.Pieces
		size  int64
		table []byte
		kind  error
	}{
		{"a changed bit", p, size, changed, waybill.ErrPieces},
		{"a hash too few", p, size, p.Data[sha256.Size:], waybill.ErrPieces},
		{"a byte too many", p, size, append(bytes.Clone(p.Data), 0), waybill.ErrPieces},
		{"nothing", p, size, nil, waybill.ErrPieces},
		{"of a larger blob", p, size + 1<<14, p.Data, waybill.ErrPieces},
		{"of an empty blob", p, 0, p.Data, waybill.ErrPieces},
		{"of a size unknown", p, -1, p.Data, waybill.ErrPieces},
		{"of a blob of any size", p, 1<<63 - 1, p.Data, waybill.ErrLimit},
		{"an unregistered digest", &other, size, p.Data, waybill.ErrInvalid},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := tt.p.Open(tt.size, tt.table); !errors.Is(err, tt.kind) {
				t.Errorf("got %v, want %v", err, tt.kind)
			}
		})
	}
}

// whatever yields what the buffer holds already, for ever: four gigabytes to hash
// are enough to wait for.
type whatever struct{}

func (whatever) Read(p []byte) (int, error) { return len(p), nil }
