package bittorrent

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// conns are the connections to peers. They are closed with the node, at once,
// wherever the library is with them.
type conns struct {
	allow    func(netip.AddrPort) bool
	local    netip.Addr
	ctx      context.Context // of the node
	listener net.Listener

	mu     sync.Mutex
	open   map[net.Conn]struct{}
	closed bool
}

// Dial implements the library's dialer.
func (c *conns) Dial(ctx context.Context, addr string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	d := net.Dialer{KeepAlive: -1, ControlContext: c.control}
	if c.local.IsValid() {
		d.LocalAddr = &net.TCPAddr{IP: c.local.AsSlice()}
	}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return c.track(conn)
}

// DialerNetwork implements the library's dialer.
func (c *conns) DialerNetwork() string { return "tcp" }

// track makes conn one of those that are closed with the node.
func (c *conns) track(conn net.Conn) (net.Conn, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		conn.Close()
		return nil, net.ErrClosed
	}
	if c.open == nil {
		c.open = map[net.Conn]struct{}{}
	}
	tracked := &trackedConn{conn, c, time.Now()}
	c.open[tracked] = struct{}{}
	return tracked, nil
}

// age returns how old the newest connection to a peer is.
func (c *conns) age(remote string) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	var newest time.Time
	for conn := range c.open {
		if tracked := conn.(*trackedConn); conn.RemoteAddr().String() == remote && tracked.since.After(newest) {
			newest = tracked.since
		}
	}
	return time.Since(newest)
}

// drop closes the connections to a peer.
func (c *conns) drop(remote string) {
	c.mu.Lock()
	var drop []net.Conn
	for conn := range c.open {
		if conn.RemoteAddr().String() == remote {
			drop = append(drop, conn)
		}
	}
	c.mu.Unlock()
	for _, conn := range drop {
		conn.Close()
	}
}

func (c *conns) close() {
	c.mu.Lock()
	c.closed = true
	open := c.open
	c.open = nil
	c.mu.Unlock()
	if c.listener != nil {
		c.listener.Close()
	}
	for conn := range open {
		conn.Close()
	}
}

type trackedConn struct {
	net.Conn
	conns *conns
	since time.Time
}

func (t *trackedConn) Close() error {
	t.conns.mu.Lock()
	delete(t.conns.open, t)
	t.conns.mu.Unlock()
	return t.Conn.Close()
}

type trackedListener struct {
	net.Listener
	conns *conns
}

func (l trackedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.conns.track(conn)
}

// control refuses, on the address actually dialled, peers that may not be.
func (c *conns) control(_ context.Context, _, address string, _ syscall.RawConn) error {
	peer, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	if peer = netip.AddrPortFrom(peer.Addr().Unmap(), peer.Port()); !c.allow(peer) {
		return fmt.Errorf("%s: nobody who may has named a peer on this network", peer)
	}
	return nil
}

// roundTripper makes a client's redirects and proxies apply to the library's
// requests.
type roundTripper struct{ client *http.Client }

func (r roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return r.client.Do(req) }
