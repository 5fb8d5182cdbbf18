package faultserver

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
)

// Blob is content a [Server] serves.
type Blob struct {
	// Digest is the name the blob is served under. The server doesn't check
	// it.
	Digest digest.Digest
	// MediaType is sent as Content-Type; empty means
	// application/octet-stream.
	MediaType string
	// Content yields the bytes. It must be safe for concurrent use. [Bytes]
	// and [File] are sent without being copied where no fault forbids it.
	Content io.ReaderAt
	// Size is the number of bytes in Content.
	Size int64
}

// NewBlob names size bytes of content by their SHA-256, which it reads once to
// find.
func NewBlob(content io.ReaderAt, size int64) (Blob, error) {
	digester := digest.SHA256.Digester()
	buf := make([]byte, blockSize)
	n, err := io.CopyBuffer(digester.Hash(), io.NewSectionReader(content, 0, size), buf)
	if err != nil {
		return Blob{}, fmt.Errorf("faultserver: digest content: %w", err)
	}
	if n != size {
		return Blob{}, fmt.Errorf("faultserver: digest content: it ends after %d bytes of %d", n, size)
	}
	return Blob{Digest: digester.Digest(), Content: content, Size: size}, nil
}

// BytesBlob is the blob of content held in memory.
func BytesBlob(content []byte) Blob {
	return Blob{Digest: digest.FromBytes(content), Content: Bytes(content), Size: int64(len(content))}
}

// RandomBlob is a blob of size pseudo-random bytes, which are the same ones for
// the same seed and prefix of one another for different sizes.
func RandomBlob(seed uint64, size int64) Blob {
	blob, err := NewBlob(Random(seed), size)
	if err != nil {
		panic(err) // Random never fails and never ends.
	}
	return blob
}

// Bytes is content held in memory.
type Bytes []byte

// ReadAt implements io.ReaderAt.
func (b Bytes) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("faultserver: negative offset %d", off)
	}
	if off >= int64(len(b)) {
		return 0, io.EOF
	}
	n := copy(p, b[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// File is content held in the file of that path, opened for each request.
type File string

// ReadAt implements io.ReaderAt.
func (f File) ReadAt(p []byte, off int64) (int, error) {
	file, err := os.Open(string(f))
	if err != nil {
		return 0, err
	}
	defer file.Close()
	return file.ReadAt(p, off)
}

// Random is an endless sequence of pseudo-random bytes that don't compress;
// the value is its seed. Any offset is reached in constant time.
type Random uint64

// ReadAt implements io.ReaderAt. It always fills p.
func (r Random) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("faultserver: negative offset %d", off)
	}
	total := len(p)
	word := uint64(off) / 8
	if skip := int(off % 8); skip != 0 {
		var first [8]byte
		binary.LittleEndian.PutUint64(first[:], r.word(word))
		p = p[copy(p, first[skip:]):]
		word++
	}
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, r.word(word))
		p = p[8:]
		word++
	}
	if len(p) > 0 {
		var last [8]byte
		binary.LittleEndian.PutUint64(last[:], r.word(word))
		copy(p, last[:])
	}
	return total, nil
}

// word is the i-th eight bytes: SplitMix64 (Steele, Lea and Flood, 2014), whose
// state after i steps is a product, which is what makes seeking free.
func (r Random) word(i uint64) uint64 {
	return mix(mix(uint64(r)) + (i+1)*0x9e3779b97f4a7c15)
}

func mix(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
