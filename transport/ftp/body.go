package ftp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/filetree"
)

// endTimeout is how long the end of the data connection, or the reply to the
// transfer, may take once all that can come has come.
const endTimeout = 5 * time.Second

// body is a range that is being read.
type body struct {
	ctx         context.Context
	pool        *pool
	place, name string
	// raw is the TCP connection of the data, data what is read: raw, or TLS on
	// it. Both are nil for a range of no bytes.
	raw, data net.Conn
	// left is how many bytes are still to come, or unknownSize.
	left int64
	// toEnd is set where the file ends with the range.
	toEnd bool
	// err is what Read returns from now on.
	err  error
	stop func() bool

	mu sync.Mutex
	// control is nil once it was given back.
	control *control
	// waiting is set while Read waits for the reply to the transfer.
	waiting bool
}

// open asks for a part of a file. The body is not to be used before it is
// attached to its context.
func open(ctx context.Context, c *control, path string, part filetree.Part) (*body, error) {
	size, err := c.size(path)
	var refused *refusal
	switch {
	case errors.As(err, &refused) && refused.reply.code == codeNoFile:
		size = unknownSize // RETR has the last word: servers refuse SIZE for reasons of their own
	case err != nil:
		return nil, err
	}
	exists := size != unknownSize
	if size, err = checkPart(size, part); err != nil {
		return nil, err
	}
	b := &body{control: c, left: part.Length, toEnd: part.Length == -1 || part.Offset+part.Length == size}
	if b.left == -1 {
		b.left = size
	}
	if b.left == 0 && exists {
		return b, nil
	}
	if b.raw, err = c.openData(ctx); err != nil {
		return nil, err
	}
	// The handshake is cancelled through the connection of the control.
	if part.Offset > 0 {
		err = c.restart(part.Offset)
	}
	if err == nil {
		stop := context.AfterFunc(ctx, func() { _ = b.raw.Close() })
		b.data, err = c.retrieve(ctx, path, b.raw)
		stop()
	}
	if err != nil {
		_ = b.raw.Close()
		if errors.As(err, &refused) && refused.doing == "RETR" {
			refused.exists = exists
		}
		return nil, err
	}
	return b, nil
}

// checkPart holds a part against the size of its file, where the server told
// it, and returns the size that counts: unknownSize where nobody knows.
func checkPart(size int64, part filetree.Part) (int64, error) {
	switch {
	case size != unknownSize && part.Size >= 0 && size != part.Size:
		return 0, &invalidError{fmt.Sprintf("%d bytes here; it should be %d", size, part.Size)}
	case size == unknownSize:
		size = part.Size
	}
	wrong := part.Offset < 0 || part.Length < -1 || part.Length == -1 && part.Offset != 0
	if !wrong && size != unknownSize && part.Length >= 0 {
		wrong = part.Offset > size || part.Length > size-part.Offset
	}
	if wrong {
		return 0, &invalidError{fmt.Sprintf("no %d bytes at offset %d in %d bytes", part.Length, part.Offset, size)}
	}
	return size, nil
}

// invalidError says that what was asked for can't be, and not by the fault of
// the connection.
type invalidError struct{ problem string }

func (e *invalidError) Error() string { return e.problem }

// attach makes b fit for use: cancelling ctx ends its connections.
func (b *body) attach(ctx context.Context, p *pool, place, name string) {
	b.ctx, b.pool, b.place, b.name = ctx, p, place, name
	c, raw := b.control, b.raw
	b.stop = context.AfterFunc(ctx, func() {
		c.abort()
		if raw != nil {
			_ = raw.Close()
		}
	})
}

// Read implements [io.Reader].
func (b *body) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if b.left == 0 {
		b.err = b.end()
		return 0, b.err
	}
	if b.left != unknownSize && int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.data.Read(p)
	if b.left != unknownSize {
		b.left -= int64(n)
	}
	if n > 0 {
		return n, nil // an error comes again
	}
	if err != nil {
		b.err = b.cut(err)
	}
	return 0, b.err
}

// end returns what follows the last byte of the range: io.EOF, unless the file
// ought to end there and doesn't.
func (b *body) end() error {
	if b.ctx.Err() != nil {
		b.release(false)
		return b.fail(b.ctx.Err())
	}
	if !b.toEnd || b.data == nil {
		b.release(true)
		return io.EOF
	}
	_ = b.raw.SetReadDeadline(time.Now().Add(endTimeout)) // fails with the Read
	var more [1]byte
	n, err := b.data.Read(more[:])
	if n > 0 {
		b.release(true)
		return transport.Errorf(transport.ErrPermanent, b.place, "%s: the server sends more than it should", b.name)
	}
	// All is there: how the connection ended is no matter of the reader's.
	b.release(errors.Is(err, io.EOF))
	return io.EOF
}

// cut returns what it means that the data connection ended with err before the
// last byte, as far as that is known.
func (b *body) cut(err error) error {
	if !errors.Is(err, io.EOF) {
		b.release(false)
		return b.fail(fmt.Errorf("data connection: %w", err))
	}
	r, err := b.verdict()
	switch {
	case err != nil:
		return b.fail(fmt.Errorf("the server stopped sending: %w: %w", err, io.ErrUnexpectedEOF))
	case !r.completed():
		return b.fail(fmt.Errorf("%w: %w", &refusal{doing: "the server stopped sending", reply: r}, io.ErrUnexpectedEOF))
	case b.left == unknownSize:
		return io.EOF
	}
	return b.fail(fmt.Errorf("the server stopped sending %d bytes too early: %w", b.left, io.ErrUnexpectedEOF))
}

// verdict reads the reply to the transfer and gives the connection back.
func (b *body) verdict() (reply, error) {
	b.mu.Lock()
	c := b.control
	if c == nil {
		b.mu.Unlock()
		return reply{}, net.ErrClosed
	}
	b.waiting = true
	b.mu.Unlock()

	r, err := c.answer(endTimeout)
	if err == nil {
		c.owes = false
	}

	b.mu.Lock()
	b.waiting = false
	b.mu.Unlock()
	b.release(err == nil && r.code != codeUnavailable)
	return r, err
}

func (b *body) fail(err error) error {
	return failure(b.ctx, b.place, b.name, server{}, err)
}

// release ends the data connection and gives the other one back, once. What
// the server says to that is read when the connection is used again.
func (b *body) release(good bool) {
	if b.raw != nil {
		_ = b.raw.Close() // TLS would say goodbye first, and may wait for that
	}
	b.mu.Lock()
	c := b.control
	if c != nil && b.waiting {
		c.abort() // Read gives it back
		c = nil
	} else {
		b.control = nil
	}
	b.mu.Unlock()
	if c == nil {
		return
	}
	// Where the context ended meanwhile it has taken the connection along.
	running := b.stop()
	b.pool.put(c, good && running)
}

// Close implements [io.Closer]. It doesn't wait for the server.
func (b *body) Close() error {
	b.release(true)
	return nil
}
