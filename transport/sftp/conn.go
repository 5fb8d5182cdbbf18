package sftp

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/filetree"
	"github.com/waybill-project/waybill/transport/sftp/openssh"
)

// times are how long a connection lasts, and is waited for.
type times struct {
	// patience is how long Prepare waits for a host that hasn't led to a
	// question.
	patience time.Duration
	// quiet is how long a server may be silent until it is asked for a sign
	// of life, and then again until the connection is dropped.
	quiet time.Duration
	// drain is how long a connection that nobody uses any more may take to
	// answer what was requested on it.
	drain time.Duration
	// idle is how long a connection is kept for the next use.
	idle time.Duration
}

var usual = times{patience: 5 * time.Second, quiet: 15 * time.Second, drain: 10 * time.Second, idle: time.Minute}

// conn is a connection to a server and its SFTP session.
type conn struct {
	target openssh.Target
	ssh    *openssh.Conn
	sftp   *session
	times  times
	// lost is closed when the connection has ended.
	lost chan struct{}

	mu sync.Mutex
	// users is how many use it, and pending how many of them only wait for
	// answers nobody wants any more.
	users, pending int
	// finishing is how many of the others have requested all they want.
	finishing int
	cut       *time.Timer // of drain, or of a pool's idle time
}

// dial connects to a server and starts its SFTP subsystem.
func dial(ctx context.Context, dialer *openssh.Dialer, target openssh.Target, lasts times) (*conn, error) {
	sc, err := dialer.Dial(ctx, target)
	if err != nil {
		return nil, err
	}
	c := &conn{target: target, ssh: sc, times: lasts, lost: make(chan struct{})}
	ended := context.AfterFunc(ctx, sc.Close)
	timer := time.AfterFunc(2*lasts.quiet, sc.Close)
	defer timer.Stop()
	err = c.start()
	if !ended() {
		sc.Close()
		return nil, ctx.Err()
	}
	if err != nil {
		sc.Close()
		return nil, err
	}
	go func() {
		<-c.sftp.ended
		close(c.lost)
		sc.Close()
	}()
	go c.keepAlive()
	return c, nil
}

// start starts the SFTP session.
func (c *conn) start() error {
	uri := "ssh://" + c.target.Host
	fail := func(what string, err error) error {
		kind := transport.ErrPermanent
		if _, _, alive := c.ssh.Client.SendRequest("keepalive@openssh.com", true, nil); alive != nil {
			kind, what = transport.ErrTemporary, "the connection was lost at the start of SFTP"
		}
		return transport.Errorf(kind, uri, "%s: %w", what, err)
	}
	session, err := c.ssh.Client.NewSession()
	if err != nil {
		return fail("the server opens no session", err)
	}
	in, errIn := session.StdinPipe()
	out, errOut := session.StdoutPipe()
	complaints, errComplaints := session.StderrPipe()
	if err := errors.Join(errIn, errOut, errComplaints); err != nil {
		return fail("SFTP", err)
	}
	if err := session.RequestSubsystem("sftp"); err != nil {
		return fail(`the server has no SFTP; its sshd_config needs "Subsystem sftp internal-sftp"`, err)
	}
	go io.Copy(io.Discard, complaints) // nobody reads them; they must not fill the window
	if c.sftp, err = newSession(out, in); err != nil {
		return fail("the server doesn't speak SFTP where it should; does its ForceCommand or a login script print something?", err)
	}
	return nil
}

// keepAlive drops the connection when the server doesn't answer.
func (c *conn) keepAlive() {
	ticker := time.NewTicker(c.times.quiet)
	defer ticker.Stop()
	for {
		select {
		case <-c.lost:
			return
		case <-ticker.C:
		}
		if time.Since(c.ssh.LastHeard()) < c.times.quiet {
			continue
		}
		timer := time.AfterFunc(c.times.quiet, c.ssh.Close)
		// OpenSSH's name for it; any answer will do.
		_, _, err := c.ssh.Client.SendRequest("keepalive@openssh.com", true, nil)
		timer.Stop()
		if err != nil {
			c.ssh.Close()
			return
		}
	}
}

// isLost reports whether the connection has ended.
func (c *conn) isLost() bool {
	select {
	case <-c.lost:
		return true
	default:
		return false
	}
}

// await does what can't be cancelled. When ctx ends first, the connection stays
// in use until the answer is there, which undo then gets.
func await[T any](ctx context.Context, c *conn, do func() (T, error), undo func(T)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1)
	c.hold()
	go func() {
		value, err := do()
		answers <- answer{value, err}
	}()
	select {
	case a := <-answers:
		c.release()
		return a.value, a.err
	case <-ctx.Done():
		c.abandon()
		go func() {
			if a := <-answers; a.err == nil && undo != nil {
				undo(a.value)
			}
			c.recover()
		}()
		var none T
		return none, ctx.Err()
	}
}

// size returns the size of a file.
func (c *conn) size(ctx context.Context, uri, path string) (int64, error) {
	a, err := await(ctx, c, func() (attrs, error) { return c.sftp.stat(path) }, nil)
	if err != nil {
		return 0, c.failure(ctx, uri, path, err)
	}
	if err := checkRegular(uri, path, a); err != nil {
		return 0, err
	}
	return a.size, nil
}

// open opens a part of a file.
func (c *conn) open(ctx context.Context, uri, path string, part filetree.Part) (io.ReadCloser, error) {
	f, err := await(ctx, c, func() (*file, error) { return c.sftp.open(path) }, (*file).close)
	if err != nil {
		return nil, c.failure(ctx, uri, path, err)
	}
	length := part.Length
	if err = checkRegular(uri, path, f.attrs); err == nil {
		length, err = checkPart(uri, path, f.attrs.size, part)
	}
	if err != nil {
		f.close()
		return nil, err
	}
	return newReader(ctx, c, f, uri, path, part.Offset, length), nil
}

// failure returns what an error of a request means, or ctx's.
func (c *conn) failure(ctx context.Context, uri, path string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fileError(uri, path, err)
}
