package bundle

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/opencontainers/go-digest"
)

// unpacker unpacks the layers of one image, once.
type unpacker struct {
	img     Image
	diffIDs []digest.Digest
	opts    Options
	free    chunks
	copyBuf []byte
	budget  int64 // of opts.MaxBytes, what the archives may still inflate to
}

// unpack applies all layers to the rootfs at root, which is empty.
func (u *unpacker) unpack(ctx context.Context, root string) (err error) {
	u.budget = u.opts.MaxBytes
	x, err := newExtractor(root, u.opts, u.copyBuf)
	if err != nil {
		return err
	}
	defer func() {
		if cerr := x.close(); err == nil {
			err = cerr
		}
	}()
	for i := range u.img.Layers {
		x.startLayer(i)
		if err := u.layer(ctx, x, i); err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return fmt.Errorf("layer %d of %d (%s): %w", i+1, len(u.img.Layers), u.img.Layers[i].Descriptor.Digest, err)
		}
	}
	return x.finish()
}

// layer unpacks the layer of the given index and confirms it.
func (u *unpacker) layer(ctx context.Context, x *extractor, index int) error {
	l := u.img.Layers[index]
	want, err := expectedCompression(l.Descriptor.MediaType)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	rc, err := l.Open(ctx)
	if err != nil {
		return err
	}
	src := &source{r: rc, size: l.Descriptor.Size}
	defer rc.Close()

	err = u.apply(ctx, cancel, x, src, want, u.diffIDs[index])
	if err != nil && ofThisMachine(err) {
		return err
	}
	// Whatever went wrong with the content may be the doing of bytes that are
	// not the blob's. The source knows when it has seen them all, and until
	// then nothing in the archive is worth reporting.
	if serr := src.drain(); serr != nil {
		return serr
	}
	return err
}

// apply inflates src, unpacks it and compares its diff_id.
func (u *unpacker) apply(ctx context.Context, cancel func(), x *extractor, src io.Reader, want compression, diffID digest.Digest) error {
	br := bufio.NewReaderSize(src, chunkSize)
	dec, err := newDecoder(br, want, u.opts.Warn)
	if err != nil {
		return err
	}
	defer dec.Close()

	sum := diffID.Algorithm().Digester()
	counted := &counter{r: dec}
	s := newStream(counted, sum.Hash(), u.budget, u.free)
	err = x.apply(ctx, tar.NewReader(s))
	if err == nil {
		// Archives are padded beyond their end, by GNU tar to 10 KiB; the
		// diff_id is over all of it.
		_, err = io.CopyBuffer(io.Discard, onlyReader{s}, u.copyBuf)
	}
	if err != nil && (ofThisMachine(err) || ctx.Err() != nil) {
		cancel() // so that the decoder does not wait for more of a blob in vain
	}
	s.end()
	u.budget -= counted.n
	if err != nil {
		return contentError(err)
	}
	if got := sum.Digest(); got != diffID {
		return fmt.Errorf("%w: it is %s, the image configuration says %s", ErrDiffID, got, diffID)
	}
	return nil
}

// contentError marks what decoders and the tar reader say as being about the
// image.
func contentError(err error) error {
	for _, known := range []error{ErrInvalid, ErrLimit, context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return err
		}
	}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		switch errno {
		case syscall.ENAMETOOLONG, syscall.EINVAL, syscall.ENOENT, syscall.ELOOP, syscall.ENOTDIR:
			// A name the kernel won't have.
		default:
			return err
		}
	}
	return fmt.Errorf("%w: %w", ErrInvalid, err)
}

// ofThisMachine reports whether err says that this machine failed, so that no
// other bytes would have fared better.
func ofThisMachine(err error) bool {
	for _, errno := range []syscall.Errno{syscall.ENOSPC, syscall.EDQUOT, syscall.EIO, syscall.EROFS,
		syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// source reads a layer's blob and remembers how that ended.
type source struct {
	r    io.Reader
	size int64 // what the descriptor says
	n    int64 // what was read
	err  error
}

func (s *source) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.r.Read(p)
	s.n += int64(n)
	switch {
	case s.n > s.size:
		err = fmt.Errorf("%w: blob is longer than the %d bytes its descriptor says", ErrInvalid, s.size)
	case err == io.EOF && s.n < s.size:
		err = fmt.Errorf("%w: blob ends after %d of the %d bytes its descriptor says", ErrInvalid, s.n, s.size)
	}
	s.err = err
	return n, err
}

// drain reads on to the end of the blob and returns why that could not be had;
// nil means that all of it was, and was confirmed.
func (s *source) drain() error {
	if s.err == nil {
		_, s.err = io.CopyBuffer(io.Discard, onlyReader{s}, make([]byte, chunkSize))
		if s.err == nil {
			return nil
		}
	}
	if s.err == io.EOF {
		return nil
	}
	return s.err
}

// counter counts what passes it.
type counter struct {
	r io.Reader
	n int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// onlyReader hides every other method, for io.CopyBuffer to use its buffer.
type onlyReader struct{ io.Reader }
