package local

import (
	"context"
	"errors"
	"io"
	"os"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/transport"
)

// Blob is where the bytes of a blob lie.
type Blob struct {
	// URI is for errors.
	URI string
	// ReaderAt holds the blob's bytes from Start on, Size of them.
	ReaderAt io.ReaderAt
	Start    int64
	Size     int64
	// Closer, if not nil, is closed with the reader, and where there is none.
	Closer io.Closer
}

// Section returns a reader of length bytes of b from offset on, with the
// meaning and the errors of [transport.Transport.Open]. A size other than
// desc's is [transport.ErrPermanent].
func Section(ctx context.Context, b Blob, desc ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	err := ctx.Err()
	switch {
	case err != nil:
	case desc.Size >= 0 && desc.Size != b.Size:
		err = transport.Errorf(transport.ErrPermanent, b.URI, "%s is %d bytes here; it should be %d", desc.Digest, b.Size, desc.Size)
	case length == -1 && offset == 0:
		length = b.Size
	case offset < 0 || length < 0 || offset > b.Size || length > b.Size-offset:
		err = transport.Errorf(transport.ErrPermanent, b.URI, "no %d bytes at offset %d in %d bytes", length, offset, b.Size)
	}
	if err != nil {
		if b.Closer != nil {
			b.Closer.Close()
		}
		return nil, err
	}
	return &section{ctx: ctx, blob: b, at: b.Start + offset, left: length}, nil
}

// FileBlob returns the whole of an open file as a Blob that closes it. The
// file is closed where there is an error.
func FileBlob(uri string, f *os.File) (Blob, error) {
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return Blob{}, Errorf(uri, err, "%s", f.Name())
	}
	return Blob{URI: uri, ReaderAt: f, Size: info.Size(), Closer: f}, nil
}

// section is a range that is being read.
type section struct {
	ctx      context.Context
	blob     Blob
	at, left int64
}

func (s *section) Read(p []byte) (int, error) {
	if err := s.ctx.Err(); err != nil {
		return 0, err
	}
	if s.left == 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > s.left {
		p = p[:s.left]
	}
	n, err := s.blob.ReaderAt.ReadAt(p, s.at)
	s.at += int64(n)
	s.left -= int64(n)
	switch {
	case n > 0 && (err == nil || errors.Is(err, io.EOF)):
		return n, nil
	case errors.Is(err, io.EOF):
		// It was as large as it should be when it was opened.
		return n, transport.Errorf(transport.ErrPermanent, s.blob.URI, "the file became shorter: %w", io.ErrUnexpectedEOF)
	case err != nil:
		return n, Errorf(s.blob.URI, err, "reading")
	}
	return n, nil
}

func (s *section) Close() error {
	if s.blob.Closer == nil {
		return nil
	}
	return s.blob.Closer.Close()
}
