package transporttest

import (
	"io"
	"os"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/internal/faultserver"
)

const (
	kib = int64(1) << 10
	mib = int64(1) << 20
	gib = int64(1) << 30

	// hugeSize is past 5 GiB, where offsets of 32 bits, signed or not, have
	// long gone wrong, and no multiple of anything.
	hugeSize = 5*gib + 3*mib + 4099
	// hugeMark is how many bytes are not zero at each of the marks of the huge
	// blob.
	hugeMark = 64 * kib
)

// Blob is content for a test: Size bytes, the byte at i being At(i). They are
// pseudo-random, so that a byte from another offset shows, and are made as they
// are wanted: a blob takes no memory.
type Blob struct {
	// Digest is the SHA-256 of the content, except for the huge blob, where it
	// is made up: a transport doesn't verify.
	Digest digest.Digest
	// Size is in bytes.
	Size int64

	content faultserver.Random
	marks   []extent // where content isn't zero; nil means everywhere
}

// extent is the bytes from start to before end.
type extent struct{ start, end int64 }

// NewBlob returns the blob of size bytes that seed chooses.
func NewBlob(seed uint64, size int64) Blob {
	b := Blob{Size: size, content: faultserver.Random(seed)}
	d := digest.SHA256.Digester()
	if _, err := io.Copy(d.Hash(), b.Reader()); err != nil {
		panic(err) // neither ReadAt nor a hash fails
	}
	b.Digest = d.Digest()
	return b
}

// hugeBlob is larger than 5 GiB and zero but for its begin, its end, and the
// bytes around 5 GiB.
func hugeBlob() Blob {
	return Blob{
		Digest:  digest.FromString("the huge blob of package transporttest"),
		Size:    hugeSize,
		content: 5,
		marks:   []extent{{0, hugeMark}, {5*gib - hugeMark, 5*gib + hugeMark}, {hugeSize - hugeMark, hugeSize}},
	}
}

// Descriptor returns the blob's descriptor.
func (b Blob) Descriptor() ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: b.Digest, Size: b.Size}
}

// At returns the byte at offset i.
func (b Blob) At(i int64) byte {
	var p [1]byte
	b.fill(p[:], i)
	return p[0]
}

// ReadAt implements [io.ReaderAt].
func (b Blob) ReadAt(p []byte, off int64) (int, error) {
	if off >= b.Size {
		return 0, io.EOF
	}
	var err error
	if left := b.Size - off; int64(len(p)) > left {
		p, err = p[:left], io.EOF
	}
	b.fill(p, off)
	return len(p), err
}

// fill makes p the bytes from off on.
func (b Blob) fill(p []byte, off int64) {
	if b.marks == nil {
		_, _ = b.content.ReadAt(p, off) // always fills p
		return
	}
	clear(p)
	for _, m := range b.marks {
		start, end := max(m.start, off), min(m.end, off+int64(len(p)))
		if start < end {
			_, _ = b.content.ReadAt(p[start-off:end-off], start)
		}
	}
}

// Reader returns a reader of the whole blob.
func (b Blob) Reader() *io.SectionReader {
	return io.NewSectionReader(b, 0, b.Size)
}

// Bytes returns the content. It is not for the huge blob.
func (b Blob) Bytes() []byte {
	p := make([]byte, b.Size)
	b.fill(p, 0)
	return p
}

// WriteFile makes the file path, which must not exist, of the content. Where
// that is zeros the file is sparse: the huge blob takes kilobytes on disk.
func (b Blob) WriteFile(t testing.TB, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b.WriteInto(t, f, 0)
	if err := f.Truncate(b.Size); err != nil {
		t.Fatal(err)
	}
}

// WriteInto writes the content into a file from offset start on, leaving out
// what is zeros: the part of a container format (a tar) that holds the blob.
func (b Blob) WriteInto(t testing.TB, f io.WriterAt, start int64) {
	t.Helper()
	extents := b.marks
	if extents == nil {
		extents = []extent{{0, b.Size}}
	}
	for _, e := range extents {
		w := io.NewOffsetWriter(f, start+e.start)
		if _, err := io.Copy(w, io.NewSectionReader(b, e.start, e.end-e.start)); err != nil {
			t.Fatal(err)
		}
	}
}
