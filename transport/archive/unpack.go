package archive

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/klauspost/compress/zstd"
)

// DefaultMaxUnpacked is how large a compressed archive may become, in bytes,
// where [Transport.MaxUnpacked] isn't set.
const DefaultMaxUnpacked = 64 << 30

// maxZstdWindow bounds the memory of unpacking zstd, in bytes; it is what
// zstd's own --ultra levels use at most by default.
const maxZstdWindow = 128 << 20

// compression is how bytes are compressed.
type compression string

const (
	plain   compression = "plain"
	gzipped compression = "gzip"
	zstded  compression = "zstd"
	bzipped compression = "bzip2"
	xzed    compression = "xz"
)

var magics = []struct {
	prefix string
	is     compression
}{
	{"\x1f\x8b\x08", gzipped},
	{"\x28\xb5\x2f\xfd", zstded},
	{"BZh", bzipped},
	{"\xfd7zXZ\x00", xzed},
}

// sniff looks at the first bytes of what lies at offset.
func sniff(r io.ReaderAt, offset, size int64) (compression, error) {
	head := make([]byte, min(size, 6))
	if _, err := r.ReadAt(head, offset); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.prefix)) {
			return m.is, nil
		}
	}
	return plain, nil
}

// unpack decompresses the whole of r into a new temporary file in dir that has
// no name any more: it goes when it is closed, or with the process.
func unpack(ctx context.Context, r io.Reader, how compression, dir string, limit int64) (*os.File, int64, error) {
	var in io.Reader
	switch how {
	case gzipped:
		zr, err := gzip.NewReader(r)
		if err != nil {
			return nil, 0, err
		}
		in = zr
	case zstded:
		zr, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			return nil, 0, err
		}
		defer zr.Close()
		in = zr
	default:
		return nil, 0, fmt.Errorf("compressed with %s, which isn't read; decompress it first", how)
	}
	f, err := os.CreateTemp(dir, "waybill-archive-*")
	if err != nil {
		return nil, 0, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, 0, err
	}
	n, err := io.Copy(f, io.LimitReader(&contextReader{ctx, in}, limit+1))
	if err == nil && n > limit {
		err = fmt.Errorf("more than %d bytes when decompressed; that is the limit", limit)
	}
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, n, nil
}

// contextReader ends with its context.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}
