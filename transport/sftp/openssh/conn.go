package openssh

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
)

const (
	// readBuffer is how much of a connection is read at once, in bytes. With
	// less, the many system calls cost a third of the speed.
	readBuffer = 256 << 10
	// maxPreamble is how much of what a server says before it speaks SSH is
	// kept, in bytes.
	maxPreamble = 512
)

// Conn is a connection to a server that let the user in.
type Conn struct {
	// Client speaks SSH on it.
	Client *ssh.Client

	wire  *wire
	under func() // closes what the connection leads through
	once  sync.Once
}

// newConn returns a connection on which nothing was said yet.
func newConn(nc net.Conn, under func()) *Conn {
	return &Conn{wire: &wire{Conn: nc, r: bufio.NewReaderSize(nc, readBuffer)}, under: under}
}

// Close ends the connection and what it leads through. It doesn't wait for the
// server.
func (c *Conn) Close() {
	c.once.Do(func() {
		// Not Client.Close, which has a last word for the server and would
		// wait until that is sent.
		_ = c.wire.Conn.Close() // it may be closed already
		if c.under != nil {
			c.under()
		}
	})
}

// LastHeard returns when the last byte came from the server.
func (c *Conn) LastHeard() time.Time { return time.Unix(0, c.wire.heard.Load()) }

// handshake exchanges keys with the server and logs in.
func (c *Conn) handshake(s *session, known *hostKeys, config *ssh.ClientConfig) error {
	defer s.end()
	stop := context.AfterFunc(s.ctx, c.Close)
	s.hungUp = c.wire.ended.Load
	s.clock = startClock(s.timeout, c.Close)
	defer s.clock.pause()

	var untrusted error
	config.HostKeyCallback = func(host string, remote net.Addr, key ssh.PublicKey) error {
		untrusted = known.check(host, remote, key)
		return untrusted
	}
	config.AuthCallback = s.next
	cc, channels, requests, err := ssh.NewClientConn(c.wire, s.address(), config)
	switch {
	case !stop():
		return s.ctx.Err()
	case err == nil:
		c.Client = ssh.NewClient(cc, channels, requests)
		return nil
	case untrusted != nil:
		return s.fail(transport.ErrRefused, "%w", untrusted)
	case s.clock.expired.Load():
		return s.fail(transport.ErrTemporary, "the server didn't answer within %v", s.timeout)
	}
	return s.handshakeFailure(c, err)
}

// handshakeFailure returns what a failed handshake means.
func (s *session) handshakeFailure(c *Conn, err error) error {
	var (
		known    *transport.Error
		nothing  *ssh.AlgorithmNegotiationError
		preamble = httpclient.OneLine(c.wire.beginning())
	)
	switch {
	case errors.As(err, &known): // of session.next
		return known
	case errors.As(err, &nothing):
		return s.fail(transport.ErrPermanent, "%w", err)
	case strings.Contains(err.Error(), "disconnect, reason 2:") && strings.Contains(err.Error(), "Too many authentication failures"):
		s.giveUp()
		reason := "the server gave up after too many attempts"
		if len(s.offered) > 0 {
			reason = fmt.Sprintf("the server gave up after it was offered %s; name the right key with IdentityFile and IdentitiesOnly in ~/.ssh/config", strings.Join(s.offered, ", "))
		}
		return s.unauthorized(reason)
	case strings.HasPrefix(preamble, "Exceeded MaxStartups"), strings.HasPrefix(preamble, "Not allowed at this time"):
		// sshd's words: too many clients are logging in, or this one failed to
		// too often (sshd_config(5), MaxStartups, PerSourcePenalties).
		return s.fail(transport.ErrThrottled, "the server says: %s", preamble)
	case strings.Contains(err.Error(), "overflow reading version string"), preamble != "" && !strings.Contains(preamble, "SSH-"):
		return s.fail(transport.ErrPermanent, "no SSH server; it says: %s", preamble)
	}
	return s.fail(transport.ErrTemporary, "%w%s", err, c.complaint())
}

// complaint returns what the proxy command said.
func (c *Conn) complaint() string {
	if p, ok := c.wire.Conn.(*proxyConn); ok {
		select {
		case <-p.ended: // what it said is complete
		case <-time.After(time.Second):
		}
		if text := httpclient.OneLine(p.errors.String()); text != "" {
			return fmt.Sprintf("; ProxyCommand says: %s", text)
		}
	}
	return ""
}

// wire reads a connection in large pieces, and remembers how it began and when
// it last said something.
type wire struct {
	net.Conn
	r        *bufio.Reader
	heard    atomic.Int64
	ended    atomic.Bool // nothing more will come
	preamble atomic.Pointer[string]
}

// Read implements [net.Conn].
func (w *wire) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if err != nil {
		w.ended.Store(true)
	}
	if n > 0 {
		w.heard.Store(time.Now().UnixNano())
		if begun := w.beginning(); len(begun) < maxPreamble {
			begun += string(p[:min(n, maxPreamble-len(begun))])
			w.preamble.Store(&begun)
		}
	}
	return n, err
}

// beginning returns the first bytes the server sent.
func (w *wire) beginning() string {
	if text := w.preamble.Load(); text != nil {
		return *text
	}
	return ""
}
