package ftp

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

const (
	// replyTimeout is how long one reply may take. The caller's context ends
	// waiting sooner; this is for who gives none.
	replyTimeout = 60 * time.Second
	// owedTimeout is how long the reply to a cut transfer may take when its
	// connection is wanted again. A new one costs about as much.
	owedTimeout = 2 * time.Second
)

// dialFunc makes a TCP connection.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// control is a control connection with a user logged in. It is used by one
// request at a time; only abort may be called beside others.
type control struct {
	server server
	dial   dialFunc
	// raw is the TCP connection, conn what commands go through: raw, or TLS
	// on it.
	raw, conn net.Conn
	replies   *bufio.Reader
	// tls is what data connections are made with: nil for none.
	tls *tls.Config
	// noExtended is set once the server didn't know EPSV.
	noExtended bool
	// owes is set while the reply to a transfer is still to come.
	owes bool
	// tainted is set where the server may remember something that the next
	// request doesn't expect: an offset that no transfer has used.
	tainted bool
	// kept is set on a connection that had been waiting for a request: the
	// server may have closed it meanwhile.
	kept bool
	// expiry ends the connection while nobody uses it.
	expiry *time.Timer
}

// connect dials a server and logs in. Cancelling ctx ends it.
func connect(ctx context.Context, dial dialFunc, base *tls.Config, s server) (*control, error) {
	raw, err := dial(ctx, "tcp", s.address())
	if err != nil {
		return nil, err
	}
	c := &control{server: s, dial: dial, raw: raw}
	c.through(raw)
	stop := context.AfterFunc(ctx, c.abort)
	if s.encrypted() {
		c.tls = tlsConfig(base, s.host)
	}
	err = c.greet(ctx)
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		c.abort()
		return nil, err
	}
	return c, nil
}

// tlsConfig returns the configuration of one control connection and its data
// connections. They have a cache of sessions to themselves: vsftpd only
// resumes those of the same control connection.
func tlsConfig(base *tls.Config, host string) *tls.Config {
	config := &tls.Config{}
	if base != nil {
		config = base.Clone()
	}
	if config.ServerName == "" {
		config.ServerName = host
	}
	config.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	return config
}

// through makes conn what commands go through.
func (c *control) through(conn net.Conn) {
	c.conn = conn
	c.replies = bufio.NewReaderSize(conn, maxReplyLine)
}

// abort ends the connection at once.
func (c *control) abort() { _ = c.raw.Close() }

// quit ends a connection that nobody uses, as politely as can be done without
// waiting.
func (c *control) quit() {
	_ = c.raw.SetDeadline(time.Now().Add(time.Second))
	_, _ = c.conn.Write([]byte("QUIT\r\n")) // the server may be gone, which is as well
	c.abort()
}

// greet takes the connection from the greeting to where files can be asked
// for.
func (c *control) greet(ctx context.Context) error {
	if c.server.scheme == SchemeImplicit {
		if err := c.startTLS(ctx); err != nil {
			return err
		}
	}
	r, err := c.answer(replyTimeout)
	for ; err == nil && r.code/100 == 1; r, err = c.answer(replyTimeout) {
		// 120: ready in some minutes. The context says how long to wait.
	}
	if err != nil {
		return err
	}
	if r.code != codeReady {
		return &refusal{doing: "connecting", reply: r}
	}
	if c.server.scheme == SchemeExplicit {
		if err := c.authTLS(ctx); err != nil {
			return err
		}
	}
	if err := c.login(); err != nil {
		return err
	}
	if c.server.encrypted() {
		if err := c.must("PBSZ", "0"); err != nil {
			return err
		}
		if err := c.must("PROT", "P"); err != nil {
			return err
		}
	}
	// Once and for all: in ASCII mode servers change the bytes, and refuse
	// SIZE or count others.
	return c.must("TYPE", "I")
}

// authTLS changes to TLS (RFC 4217 §4).
func (c *control) authTLS(ctx context.Context) error {
	r, err := c.command("AUTH", "TLS")
	if err != nil {
		return err
	}
	if r.code != codeAuthOK {
		return &refusal{doing: "AUTH TLS", reply: r}
	}
	if c.replies.Buffered() > 0 {
		// Somebody in between would have us take it for the server's word
		// (CVE-2011-0411).
		return &malformedError{"something follows the answer to AUTH before TLS has begun"}
	}
	return c.startTLS(ctx)
}

func (c *control) startTLS(ctx context.Context) error {
	conn := tls.Client(c.raw, c.tls)
	if err := handshake(ctx, conn); err != nil {
		return err
	}
	c.through(conn)
	return nil
}

// handshakeError says that no TLS session came about.
type handshakeError struct{ err error }

func (e *handshakeError) Error() string { return "TLS handshake: " + e.err.Error() }
func (e *handshakeError) Unwrap() error { return e.err }

func handshake(ctx context.Context, conn *tls.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, replyTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return &handshakeError{err}
	}
	return nil
}

// login logs in.
func (c *control) login() error {
	r, err := c.command("USER", c.server.user)
	if err != nil {
		return err
	}
	if r.code == codeNeedPassword {
		if !c.server.hasPassword {
			return &noPasswordError{c.server}
		}
		if r, err = c.command("PASS", c.server.password); err != nil {
			return err
		}
	}
	switch r.code {
	case codeLoggedIn, codeLoggedInTLS, 202: // 202: no password needed after all
		return nil
	}
	return &refusal{doing: fmt.Sprintf("login as %q", c.server.user), reply: r, secret: c.server.password}
}

// must sends a command that has to succeed.
func (c *control) must(verb, argument string) error {
	r, err := c.command(verb, argument)
	if err == nil && !r.completed() {
		err = &refusal{doing: verb + " " + argument, reply: r}
	}
	return err
}

// command sends a command and returns the answer, whatever it says.
func (c *control) command(verb, argument string) (reply, error) {
	line := verb
	if argument != "" {
		line += " " + argument
	}
	if !sendable(line) {
		return reply{}, &invalidError{"a path, user or password holds a character that FTP can't send"}
	}
	_ = c.raw.SetWriteDeadline(time.Now().Add(replyTimeout)) // fails with the Write
	if _, err := c.conn.Write([]byte(line + "\r\n")); err != nil {
		return reply{}, &brokenError{err}
	}
	return c.answer(replyTimeout)
}

// answer reads a reply.
func (c *control) answer(limit time.Duration) (reply, error) {
	_ = c.raw.SetReadDeadline(time.Now().Add(limit)) // fails with the Read
	r, err := readReply(c.replies)
	var malformed *malformedError
	if err != nil && !errors.As(err, &malformed) {
		err = &brokenError{err}
	}
	return r, err
}

// brokenError says that the control connection broke.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return "the control connection broke: " + e.err.Error() }
func (e *brokenError) Unwrap() error { return e.err }

// settle reads the reply that is owed and reports whether the connection is fit
// for another request: nothing is to come that hasn't been asked for.
func (c *control) settle() bool {
	if c.owes {
		r, err := c.answer(owedTimeout)
		if err != nil || r.code/100 == 1 || r.code == codeUnavailable {
			return false
		}
		c.owes = false
	}
	return !c.tainted && c.replies.Buffered() == 0
}

// openData makes a data connection: TCP only, TLS begins when the server has
// agreed to send.
func (c *control) openData(ctx context.Context) (net.Conn, error) {
	port, err := c.passive()
	if err != nil {
		return nil, err
	}
	// To the address the control connection reached, after DNS and whatever
	// PASV says (RFC 2577 §3 and its mirror image).
	host, _, err := net.SplitHostPort(c.raw.RemoteAddr().String())
	if err != nil {
		return nil, fmt.Errorf("address of the control connection: %w", err)
	}
	conn, err := c.dial(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
	if err != nil {
		return nil, fmt.Errorf("data connection: %w", err)
	}
	return conn, nil
}

// passive asks for a port to connect to.
func (c *control) passive() (int, error) {
	if !c.noExtended {
		r, err := c.command("EPSV", "")
		switch {
		case err != nil:
			return 0, err
		case r.code == codeExtended:
			return parseExtended(r.text)
		case r.code/100 != 5:
			return 0, &refusal{doing: "EPSV", reply: r}
		}
		c.noExtended = true
	}
	r, err := c.command("PASV", "")
	if err != nil {
		return 0, err
	}
	if r.code != codePassive {
		return 0, &refusal{doing: "PASV", reply: r}
	}
	return parsePassive(r.text)
}

// unknownSize is the size of a file on a server that doesn't tell any.
const unknownSize = -1

// size returns a file's size, or unknownSize where the server has no such
// command.
func (c *control) size(path string) (int64, error) {
	r, err := c.command("SIZE", path)
	switch {
	case err != nil:
		return 0, err
	case r.code == codeFileStatus:
		return parseSize(r.text)
	case r.unknown():
		return unknownSize, nil
	}
	return 0, &refusal{doing: "SIZE", reply: r}
}

// restart tells the server where the next transfer begins.
func (c *control) restart(offset int64) error {
	r, err := c.command("REST", strconv.FormatInt(offset, 10))
	switch {
	case err != nil:
		return err
	case r.code/100 == 5:
		return &noRestartError{fmt.Sprintf("the server refused to begin at byte %d (REST: %s)", offset, r)}
	case r.code != codePending:
		return &refusal{doing: "REST", reply: r}
	}
	c.tainted = true
	if wrapped(r.text, offset) {
		return &noRestartError{fmt.Sprintf("the server can't begin at byte %d: it understood %q", offset, r.String())}
	}
	return nil
}

// noRestartError says that ranges can't be had, or not this one.
type noRestartError struct{ problem string }

func (e *noRestartError) Error() string { return e.problem }

// retrieve asks for a file, which will come through data. What is returned is
// data, or TLS on it.
func (c *control) retrieve(ctx context.Context, path string, data net.Conn) (net.Conn, error) {
	r, err := c.command("RETR", path)
	switch {
	case err != nil:
		return nil, err
	case r.code != codeAboutToSend && r.code != codeDataOpen:
		return nil, &refusal{doing: "RETR", reply: r}
	}
	c.tainted, c.owes = false, true
	if c.tls == nil {
		return data, nil
	}
	conn := tls.Client(data, c.tls)
	if err := handshake(ctx, conn); err != nil {
		return nil, c.whyNoTLS(err)
	}
	return conn, nil
}

// whyNoTLS adds to a failed handshake what the server says on the control
// connection, such as that it wants another session reused.
func (c *control) whyNoTLS(err error) error {
	r, errAnswer := c.answer(owedTimeout)
	if errAnswer != nil {
		return err
	}
	c.owes = false
	if r.completed() {
		return err
	}
	return &refusal{doing: "TLS of the data connection", reply: r}
}

// anonymous reports whether user needs no password of its own (RFC 1635).
func anonymous(user string) bool {
	return strings.EqualFold(user, "anonymous") || strings.EqualFold(user, "ftp")
}
