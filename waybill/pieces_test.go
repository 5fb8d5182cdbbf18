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
				size := int64(tt.size)
				p, err := waybill.HashPieces(iotest.HalfReader(bytes.NewReader(blob)), size, algorithm, length)
				if err != nil {
					t.Fatal(err)
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
		size      int64
		algorithm digest.Algorithm
		length    int64
		says      string
	}{
		{"an empty blob", strings.NewReader(""), 0, blobdigest.SHA256, 1 << 20, "a blob of 0 bytes has no pieces"},
		{"a blob of no known size", strings.NewReader("x"), -1, blobdigest.SHA256, 1 << 20, "a blob of -1 bytes has no pieces"},
		{"an algorithm", strings.NewReader("x"), 1, "md5", 1 << 20, "md5"},
		{"no power of two", strings.NewReader("x"), 1, blobdigest.SHA256, 1<<20 + 1, "power of two"},
		{"short pieces", strings.NewReader("x"), 1, blobdigest.SHA256, 1 << 13, "from 16384 to 67108864"},
		{"long pieces", strings.NewReader("x"), 1, blobdigest.SHA256, 1 << 27, "from 16384 to 67108864"},
		{"negative pieces", strings.NewReader("x"), 1, blobdigest.SHA256, -1 << 63, "power of two"},
		{"more pieces than there may be", &endless{}, waybill.MaxPieces*waybill.MinPieceLength + 1, blobdigest.SHA256, waybill.MinPieceLength, "more than 262144 pieces"},
		{"a broken reader", io.MultiReader(strings.NewReader("x"), broken{}), 2, blobdigest.SHA256, 1 << 20, "broken"},
		{"broken at the end", io.MultiReader(strings.NewReader("x"), broken{}), 1, blobdigest.SHA256, 1 << 20, "broken"},
		{"a blob too short", strings.NewReader("x"), 2, blobdigest.SHA256, 1 << 20, "unexpected EOF"},
		{"a blob too short by a piece", strings.NewReader(strings.Repeat("x", 1<<14)), 1<<14 + 1, blobdigest.SHA256, 1 << 14, "piece 2 of 2: unexpected EOF"},
		{"a blob too long", strings.NewReader("xy"), 1, blobdigest.SHA256, 1 << 20, "larger than 1 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := waybill.HashPieces(tt.blob, tt.size, tt.algorithm, tt.length)
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("got %v", err)
			}
			checkLine(t, err)
		})
	}
}

// TestOpenRefuses: a table that was fetched is as little trusted as a blob.
func TestOpenRefuses(t *testing.T) {
	const size = 100_000
	p, err := waybill.HashPieces(strings.NewReader(strings.Repeat("x", size)), size, blobdigest.SHA256, 1<<14)
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
