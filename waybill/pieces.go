package waybill

import (
	"errors"
	"fmt"
	"io"
	"math/bits"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
)

// Pieces are the hashes of a blob's parts (spec/waybill.md §4.3). All parts are
// of one length except the last, which may be shorter.
type Pieces struct {
	// Algorithm is what the pieces are hashed with, a registered one.
	Algorithm digest.Algorithm
	// Length is that of a piece, in bytes: a power of two from
	// [MinPieceLength] to [MaxPieceLength].
	Length int64
	// Digest is that of the table: the hashes one after the other, in binary.
	Digest digest.Digest
	// Data is the table; nil where Routes say where it is.
	Data []byte
	// Routes are places the table is said to be; nil where Data is there.
	Routes []Route
}

// PieceTable is the checked table of a blob's piece hashes. That it fits the
// digest in the document says nothing of the document: it may lie. What a liar
// gains is bounded by spec/security.md §6.
type PieceTable struct {
	algorithm digest.Algorithm
	size      int64 // of the blob
	length    int64 // of a piece
	hashes    []byte
}

// HashPieces reads a blob of the given size and returns the hashes of its pieces,
// with Data. A blob that is empty, has more than [MaxPieces] of this length, or
// isn't as large as stated is an error.
func HashPieces(r io.Reader, size int64, algorithm digest.Algorithm, length int64) (*Pieces, error) {
	p := &Pieces{Algorithm: algorithm, Length: length}
	count, _, err := p.geometry(size, nil)
	if err != nil {
		return nil, err
	}
	h, err := blobdigest.NewHash(algorithm)
	if err != nil {
		return nil, err
	}
	for i := range count {
		h.Reset()
		if _, err := io.CopyN(h, r, min(length, size-i*length)); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("hash piece %d of %d: %w", i+1, count, err)
		}
		p.Data = h.Sum(p.Data)
	}
	if n, err := io.CopyN(io.Discard, r, 1); n > 0 {
		return nil, fmt.Errorf("hash pieces: the blob is larger than %d bytes", size)
	} else if !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("hash pieces: %w", err)
	}
	p.Digest, err = blobdigest.FromBytes(blobdigest.SHA256, p.Data)
	return p, err
}

// Table returns the descriptor of the table, which is a blob itself, for a blob
// of the given size. It is what to fetch from Routes.
func (p *Pieces) Table(size int64) (ocispec.Descriptor, error) {
	count, width, err := p.geometry(size, nil)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return ocispec.Descriptor{MediaType: "application/octet-stream", Digest: p.Digest, Size: count * width}, nil
}

// Open checks a table against its digest and the blob's size. The table is
// p.Data, or what was fetched from p.Routes. It must not be changed afterwards.
func (p *Pieces) Open(size int64, table []byte) (*PieceTable, error) {
	if err := p.checkTable(size, table, nil); err != nil {
		return nil, err
	}
	return &PieceTable{algorithm: p.Algorithm, size: size, length: p.Length, hashes: table}, nil
}

// validate checks all that can be checked without asking anybody.
func (p *Pieces) validate(size int64, where pointer) error {
	if _, _, err := p.geometry(size, where); err != nil {
		return err
	}
	if err := validateDigest(p.Digest, where.at("digest")); err != nil {
		return err
	}
	switch {
	case len(p.Data) > 0 && len(p.Routes) > 0:
		return errorf(ErrInvalid, where, "both data and routes; one must do")
	case len(p.Data) > 0:
		return p.checkTable(size, p.Data, where)
	case len(p.Routes) == 0:
		return errorf(ErrInvalid, where, "neither data nor routes")
	}
	return validateRoutes(p.Routes, where.at("routes"))
}

// geometry returns how many pieces a blob of the given size has, and how many
// bytes one hash takes.
func (p *Pieces) geometry(size int64, where pointer) (count, width int64, err error) {
	h, err := blobdigest.NewHash(p.Algorithm)
	switch {
	case err != nil:
		return 0, 0, &Error{Kind: ErrInvalid, Where: where.at("algorithm").String(), Err: err}
	case !pieceLength(p.Length):
		return 0, 0, errorf(ErrInvalid, where.at("length"), "%d isn't a power of two from %d to %d", p.Length, MinPieceLength, MaxPieceLength)
	case size <= 0:
		return 0, 0, errorf(ErrPieces, where, "a blob of %d bytes has no pieces", size)
	}
	count = (size-1)/p.Length + 1
	if count > MaxPieces {
		return 0, 0, errorf(ErrLimit, where.at("length"), "%d bytes in pieces of %d are more than %d pieces", size, p.Length, MaxPieces)
	}
	return count, int64(h.Size()), nil
}

func (p *Pieces) checkTable(size int64, table []byte, where pointer) error {
	count, width, err := p.geometry(size, where)
	if err != nil {
		return err
	}
	if int64(len(table)) != count*width {
		return errorf(ErrPieces, where.at("data"), "%d bytes of hashes; %d pieces of %s make %d", len(table), count, p.Algorithm, count*width)
	}
	got, err := blobdigest.FromBytes(p.Digest.Algorithm(), table)
	if err != nil {
		return &Error{Kind: ErrInvalid, Where: where.at("digest").String(), Err: err}
	}
	if got != p.Digest {
		return errorf(ErrPieces, where.at("digest"), "the hashes have the digest %s, not %s", got, p.Digest)
	}
	return nil
}

func pieceLength(n int64) bool {
	return n >= MinPieceLength && n <= MaxPieceLength && bits.OnesCount64(uint64(n)) == 1
}

// Len returns how many pieces there are, at least one.
func (t *PieceTable) Len() int { return int((t.size-1)/t.length + 1) }

// Algorithm returns what the pieces are hashed with, a registered one.
func (t *PieceTable) Algorithm() digest.Algorithm { return t.algorithm }

// Span returns where piece i, from 0, begins in the blob and how many bytes it
// has.
func (t *PieceTable) Span(i int) (offset, length int64) {
	offset = int64(i) * t.length
	return offset, min(t.length, t.size-offset)
}

// Hash returns the hash of piece i, in binary. It must not be changed.
func (t *PieceTable) Hash(i int) []byte {
	width := len(t.hashes) / t.Len()
	return t.hashes[i*width : (i+1)*width : (i+1)*width]
}
