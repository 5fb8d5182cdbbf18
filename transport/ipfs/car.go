package ipfs

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ipfs/go-cid"
)

const (
	// maxCARHeader bounds the header of a CAR, in bytes: a version and some
	// roots.
	maxCARHeader = 64 << 10
	// carBuffer is how much is read from the connection at least.
	carBuffer = 64 << 10
)

// errCAR says that a stream is not a CAR.
var errCAR = errors.New("not a CAR")

// carReader reads the blocks of a CARv1
// (https://ipld.io/specs/transport/car/carv1/), each verified. Its header is
// skipped: which roots it announces proves nothing, the blocks do.
type carReader struct {
	r *bufio.Reader
}

// newCARReader reads the header of the CAR in r.
func newCARReader(r io.Reader) (*carReader, error) {
	c := &carReader{r: bufio.NewReaderSize(r, carBuffer)}
	size, err := c.varint()
	if err != nil {
		return nil, unexpected(err)
	}
	if size == 0 || size > maxCARHeader {
		return nil, fmt.Errorf("%w: a header of %d bytes, the limit is %d", errCAR, size, maxCARHeader)
	}
	if _, err := c.r.Discard(int(size)); err != nil {
		return nil, unexpected(err)
	}
	return c, nil
}

// next returns the next block and its CID. The error is io.EOF at the end,
// wraps io.ErrUnexpectedEOF where the stream ends too early, errCAR where it is
// malformed and errMismatch where the block is not what the CID beside it says.
func (c *carReader) next() (cid.Cid, []byte, error) {
	size, err := c.varint()
	if err != nil {
		return cid.Undef, nil, err
	}
	if size == 0 || size > maxCID+MaxBlock {
		return cid.Undef, nil, fmt.Errorf("%w: a block of %d bytes, the limit is %d", errCAR, size, MaxBlock)
	}
	head, err := c.r.Peek(int(min(size, maxCID)))
	if err != nil {
		return cid.Undef, nil, unexpected(err)
	}
	n, id, err := cid.CidFromBytes(head)
	if err != nil {
		return cid.Undef, nil, fmt.Errorf("%w: a block without a CID", errCAR)
	}
	if _, err := c.r.Discard(n); err != nil {
		return cid.Undef, nil, unexpected(err)
	}
	if size-uint64(n) > MaxBlock {
		return cid.Undef, nil, fmt.Errorf("%w: a block of %d bytes, the limit is %d", errCAR, size-uint64(n), MaxBlock)
	}
	if err := checkCID(id); err != nil {
		return cid.Undef, nil, fmt.Errorf("%w: %w", errCAR, err)
	}
	block := buffer(int(size) - n)
	if _, err := io.ReadFull(c.r, block); err != nil {
		return cid.Undef, nil, unexpected(err)
	}
	if err := verify(id, block); err != nil {
		return id, nil, err
	}
	return id, block, nil
}

// varint reads an unsigned varint; io.EOF only before its first byte.
func (c *carReader) varint() (uint64, error) {
	const long = 5 // bytes hold more than any length that is allowed
	var buf [long]byte
	for i := range buf {
		b, err := c.r.ReadByte()
		if err != nil && i > 0 {
			err = unexpected(err)
		}
		if err != nil {
			return 0, err
		}
		buf[i] = b
		if b < 0x80 {
			v, _ := binary.Uvarint(buf[:i+1])
			return v, nil
		}
	}
	return 0, fmt.Errorf("%w: a length of more than %d bytes", errCAR, long)
}

// unexpected returns what it means that the stream ended in the middle.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
