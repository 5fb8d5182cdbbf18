package sftp

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/filetree"
	"github.com/waybill-project/waybill/transport/sftp/openssh"
)

// Transport is the [transport.Transport] and [transport.Sizer] of the schemes
// sftp and ssh, and resolves names of layouts there. It is safe for concurrent
// use.
type Transport struct {
	*filetree.Tree
	pool *pool
	// mayAsk reports whether there is anybody to ask.
	mayAsk func() bool
	// patience is that of times.
	patience time.Duration
}

var (
	_ transport.Transport = (*Transport)(nil)
	_ transport.Sizer     = (*Transport)(nil)
	_ transport.Preparer  = (*Transport)(nil)
	_ filetree.Files      = (*Transport)(nil)
	_ io.Closer           = (*Transport)(nil)
)

// New returns a transport that connects as o says. Close it after use.
func New(o openssh.Options) *Transport { return newTransport(o, usual) }

func newTransport(o openssh.Options, lasts times) *Transport {
	t := &Transport{patience: lasts.patience}
	t.mayAsk = func() bool { return true }
	if o.AskPassphrase == nil {
		o.AskPassphrase, t.mayAsk = openssh.AskOnTerminal, openssh.HasTerminal
	}
	o.AskPassphrase = telling(o.AskPassphrase)
	dialer := openssh.New(o)
	t.pool = newPool(func(ctx context.Context, target openssh.Target) (*conn, error) {
		return dial(ctx, dialer, target, lasts)
	})
	t.Tree = filetree.New(t)
	return t
}

// Check says what is wrong with a URI, without asking anyone. Its errors are
// [transport.ErrPermanent].
func (t *Transport) Check(uri string) error {
	_, err := parse(uri)
	return err
}

// Close closes all connections. What is being read ends with an error.
func (t *Transport) Close() error {
	t.pool.close()
	return nil
}

// OpenFile implements [filetree.Files]. A file there is any regular one that
// the server opens for the user: symbolic links are the server's to follow.
func (t *Transport) OpenFile(ctx context.Context, uri, name string, part filetree.Part) (io.ReadCloser, error) {
	return use(ctx, t, uri, name, func(c *conn, path string) (io.ReadCloser, error) {
		return c.open(ctx, uri, path, part)
	})
}

// FileSize implements [filetree.Files].
func (t *Transport) FileSize(ctx context.Context, uri, name string) (int64, error) {
	return use(ctx, t, uri, name, func(c *conn, path string) (int64, error) {
		return c.size(ctx, uri, path)
	})
}

// use does something with a connection to the host of uri. If one that was used
// before turns out to be lost (the server was restarted), another is made, once.
func use[T any](ctx context.Context, t *Transport, uri, name string, do func(c *conn, path string) (T, error)) (T, error) {
	var none T
	p, err := parse(uri)
	if err != nil {
		return none, err
	}
	for {
		c, used, err := t.pool.acquire(ctx, p.target)
		if err != nil {
			return none, err
		}
		result, err := do(c, p.file(name))
		c.release()
		if err == nil || !used || ctx.Err() != nil || !errors.Is(err, errLost) {
			return result, err
		}
		c.ssh.Close()
		<-c.lost
	}
}

// checkPart returns how many bytes of a file of the given size are asked for.
func checkPart(uri, path string, size int64, part filetree.Part) (int64, error) {
	switch {
	case part.Size >= 0 && part.Size != size:
		return 0, transport.Errorf(transport.ErrPermanent, uri, "%s is %d bytes there; it should be %d", path, size, part.Size)
	case part.Length == -1 && part.Offset == 0:
		return size, nil
	case part.Offset < 0 || part.Length < 0 || part.Offset > size || part.Length > size-part.Offset:
		return 0, transport.Errorf(transport.ErrPermanent, uri, "no %d bytes at offset %d in the %d of %s", part.Length, part.Offset, size, path)
	}
	return part.Length, nil
}

// checkRegular refuses what is no file. Opening it did no harm.
func checkRegular(uri, path string, a attrs) error {
	if a.regular {
		return nil
	}
	return transport.Errorf(transport.ErrNotFound, uri, "%s is no regular file there", path)
}
