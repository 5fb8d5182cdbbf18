package faultserver

import (
	"context"
	"net"
	"sync"
)

// listener counts connections and resets those that are to be reset.
type listener struct {
	*net.TCPListener
	server *Server
}

// Accept returns the next connection that isn't reset at once.
func (l *listener) Accept() (net.Conn, error) {
	for {
		tcp, err := l.AcceptTCP()
		if err != nil {
			return nil, err
		}
		if c := l.server.admit(tcp); c != nil {
			return c, nil
		}
	}
}

// admit takes a new connection in, or resets it and returns nil.
func (s *Server) admit(tcp *net.TCPConn) *conn {
	s.mu.Lock()
	c := &conn{TCPConn: tcp, server: s}
	c.rate.setRate(s.connRate)
	faults, dead := s.faults, s.listener == nil
	if !dead {
		s.conns[c] = struct{}{}
	}
	open := len(s.conns)
	s.mu.Unlock()
	s.ledger.connected(open)
	if dead || faults.resetsAccept() {
		c.reset()
		return nil
	}
	return c
}

// conn is a connection that can be reset. It embeds *net.TCPConn so that
// net/http finds ReadFrom, and so sendfile, on it.
type conn struct {
	*net.TCPConn
	server *Server
	rate   bucket
	once   sync.Once
}

// Close closes the connection.
func (c *conn) Close() error {
	c.once.Do(func() {
		c.server.mu.Lock()
		defer c.server.mu.Unlock()
		delete(c.server.conns, c)
	})
	return c.TCPConn.Close()
}

// reset closes the connection with a TCP RST; bytes still in the send buffer
// are lost.
func (c *conn) reset() {
	c.SetLinger(0)
	c.Close()
}

type connKey struct{}

func withConn(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// connOf is the connection of a request's context.
func connOf(ctx context.Context) *conn {
	return ctx.Value(connKey{}).(*conn)
}
