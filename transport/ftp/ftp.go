package ftp

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"time"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/filetree"
	"github.com/waybill-project/waybill/transport/netclass"
)

const (
	// DefaultConnections is how many connections a server gets at most.
	DefaultConnections = 64
	// DefaultIdle is how long a connection that nobody uses is kept.
	DefaultIdle = 30 * time.Second
	// dialTimeout is how long a TCP connection may take.
	dialTimeout = 30 * time.Second
	// anonymousPassword is what RFC 1635 asks for, an address that says who
	// comes, without giving away whose machine it is.
	anonymousPassword = "waybill@"
)

// Options configures a [Transport]. The zero value is what most programs want.
type Options struct {
	// TLS is what connections of ftpes and ftps are made with: other roots
	// than the system's, a client certificate. Where it names no server the
	// URI's host is verified. Its cache of sessions is not used.
	TLS *tls.Config
	// Netrc is the file with logins. Empty means $NETRC, or ~/.netrc where
	// that isn't set. A file that doesn't exist holds none.
	Netrc string
	// Dial makes the TCP connections, of control and data. Nil means those of
	// a [net.Dialer]. Public has its own.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Public makes it a transport for places that somebody else named
	// (spec/security.md §3 and §5): logins are anonymous, a URI that names a
	// user is [transport.ErrRefused], no netrc file is read, and connections of
	// control and data lead to the public network only.
	Public bool
	// Trusted reports whether local configuration says that a host may be
	// connected to whoever names it, whatever network it is in. host is as in
	// URIs, with the port where that isn't the scheme's usual one. Nil means
	// that none may. It means nothing without Public.
	Trusted func(host string) bool
	// TrustedNetworks are those in which any address may be connected to whoever
	// names it. They mean nothing without Public.
	TrustedNetworks netclass.Networks
	// Connections is how many connections to one server as one user there may
	// be at once; more Opens wait. Zero means [DefaultConnections].
	Connections int
	// Idle is how long a connection is kept for the next request. Zero means
	// [DefaultIdle].
	Idle time.Duration
}

// Transport reads files of FTP servers. It is the [transport.Transport] and
// [transport.Sizer] of all [Schemes], resolves names in layouts there (see
// [filetree.Tree]), and is safe for concurrent use.
type Transport struct {
	*filetree.Tree
	netrc  string
	public bool
	pool   *pool
}

var (
	_ transport.Transport = (*Transport)(nil)
	_ transport.Sizer     = (*Transport)(nil)
	_ filetree.Files      = (*Transport)(nil)
	_ io.Closer           = (*Transport)(nil)
)

// New returns a transport. Nothing is read or dialled before the first
// request.
func New(o Options) *Transport {
	dial := o.dialer()
	if o.Connections == 0 {
		o.Connections = DefaultConnections
	}
	if o.Idle == 0 {
		o.Idle = DefaultIdle
	}
	t := &Transport{
		netrc: o.Netrc, public: o.Public,
		pool: &pool{limit: o.Connections, idle: o.Idle, lots: map[server]*lot{},
			connect: func(ctx context.Context, s server) (*control, error) { return connect(ctx, dial(s), o.TLS, s) }},
	}
	t.Tree = filetree.New(t)
	return t
}

// Check says what is wrong with the URI of a place, without asking anyone.
func (t *Transport) Check(uri string) error {
	place, _, _, err := splitFile(uri)
	if err == nil {
		_, _, err = parsePlace(place)
	}
	return err
}

// Close ends the connections that are kept for another request. What is open
// stays so until it is closed. It never fails.
func (t *Transport) Close() error {
	t.pool.close()
	return nil
}

// OpenFile implements [filetree.Files].
func (t *Transport) OpenFile(ctx context.Context, place, name string, part filetree.Part) (io.ReadCloser, error) {
	s, path, err := t.locate(place, name)
	if err != nil {
		return nil, err
	}
	var b *body
	err = t.with(ctx, s, func(c *control) (keep bool, err error) {
		b, err = open(ctx, c, path, part)
		return false, err
	})
	if err != nil {
		if b != nil && b.raw != nil { // ctx ended when the file was open already
			_ = b.raw.Close()
		}
		return nil, failure(ctx, place, name, s, err)
	}
	b.attach(ctx, t.pool, place, name)
	return b, nil
}

// FileSize implements [filetree.Files]. A server that doesn't know SIZE gives
// -1.
func (t *Transport) FileSize(ctx context.Context, place, name string) (int64, error) {
	s, path, err := t.locate(place, name)
	if err != nil {
		return 0, err
	}
	var size int64
	err = t.with(ctx, s, func(c *control) (keep bool, err error) {
		size, err = c.size(path)
		return true, err
	})
	if err != nil {
		return 0, failure(ctx, place, name, s, err)
	}
	return size, nil
}

// locate returns where a file is and as whom to ask for it.
func (t *Transport) locate(place, name string) (server, string, error) {
	s, dir, err := parsePlace(place)
	if err != nil {
		return server{}, "", err
	}
	if s, err = t.credentials(s); err != nil {
		kind := transport.ErrPermanent
		if errors.Is(err, errUserNamed) {
			kind = transport.ErrRefused
		}
		return server{}, "", &transport.Error{Kind: kind, URI: place, Err: err}
	}
	return s, dir + name, nil
}

// credentials fills in what the URI doesn't say: from the netrc file, or an
// anonymous login.
func (t *Transport) credentials(s server) (server, error) {
	switch {
	case t.public && s.user != "":
		return s, errUserNamed
	case t.public:
		return s.anonymously(), nil
	case s.hasPassword:
		return s, nil
	}
	path := t.netrc
	if path == "" {
		path = netrcPath()
	}
	entries, err := readNetrc(path)
	if err != nil {
		return s, err
	}
	if e, ok := findLogin(entries, s.host, s.user); ok {
		s.user, s.password, s.hasPassword = e.login, e.password, e.hasPassword
	}
	return s.anonymously(), nil
}

// with calls f with a connection, and again with a fresh one where a kept one
// turns out to be of no use any more. The connection is given back unless f
// succeeds and doesn't say so.
func (t *Transport) with(ctx context.Context, s server, f func(c *control) (done bool, err error)) error {
	for fresh := false; ; fresh = true {
		c, err := t.pool.get(ctx, s, fresh)
		if err != nil {
			return err
		}
		stop := context.AfterFunc(ctx, c.abort)
		done, err := f(c)
		if !stop() {
			t.pool.put(c, false)
			return ctx.Err()
		}
		if err == nil {
			if done {
				t.pool.put(c, true)
			}
			return nil
		}
		t.pool.put(c, harmless(err))
		if !c.kept || !stale(err) {
			return err
		}
		t.pool.dropKept(s)
	}
}
