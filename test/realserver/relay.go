package realserver

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"golang.org/x/time/rate"
)

// Relay passes TCP connections on to a server, no more bytes a second than it
// is told to, all connections together: a link of a known speed in front of a
// server that can't be told to be slow.
type Relay struct {
	// Addr is its HOST:PORT.
	Addr string

	listener net.Listener
	target   string
	limit    *rate.Limiter
	sent     atomic.Int64
	ctx      context.Context
	cancel   context.CancelFunc
	mu       sync.Mutex
	open     map[net.Conn]bool
	running  sync.WaitGroup
}

// relayBuffer is how much is passed on at a time; the limiter's burst.
const relayBuffer = 32 << 10

// StartRelay starts a relay on addr (HOST:PORT, port 0 for any) to target.
// bytesPerSecond limits what the server sends; 0 means no limit.
func StartRelay(addr, target string, bytesPerSecond int) (*Relay, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("relay: %w", err)
	}
	limit := rate.NewLimiter(rate.Inf, relayBuffer)
	if bytesPerSecond > 0 {
		limit.SetLimit(rate.Limit(bytesPerSecond))
	}
	r := &Relay{Addr: l.Addr().String(), listener: l, target: target, limit: limit, open: map[net.Conn]bool{}}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	r.running.Go(r.accept)
	return r, nil
}

// Sent is how many bytes of the server were passed on.
func (r *Relay) Sent() int64 { return r.sent.Load() }

// Stop closes the relay and all its connections.
func (r *Relay) Stop() {
	r.cancel()
	r.listener.Close()
	r.Cut()
	r.running.Wait()
}

// Cut closes the connections there are; new ones are passed on again.
func (r *Relay) Cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.open {
		c.Close()
	}
}

func (r *Relay) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		r.running.Go(func() { r.serve(client) })
	}
}

func (r *Relay) serve(client net.Conn) {
	defer client.Close()
	server, err := (&net.Dialer{}).DialContext(r.ctx, "tcp", r.target)
	if err != nil {
		return // as the client sees it, the server hung up
	}
	defer server.Close()
	r.enter(client, server)
	defer r.leave(client, server)
	var both sync.WaitGroup
	both.Go(func() { r.send(client, server) })
	both.Go(func() {
		_, _ = io.Copy(server, client) // either end may hang up
		closeWrite(server)
	})
	both.Wait()
}

// send passes on what the server sends, at the rate allowed.
func (r *Relay) send(client, server net.Conn) {
	defer closeWrite(client)
	buffer := make([]byte, relayBuffer)
	for {
		n, err := server.Read(buffer)
		if n > 0 {
			if r.limit.WaitN(r.ctx, n) != nil {
				return
			}
			if _, err := client.Write(buffer[:n]); err != nil {
				server.Close()
				return
			}
			r.sent.Add(int64(n))
		}
		if err != nil {
			return
		}
	}
}

// closeWrite tells the other end that no more comes.
func closeWrite(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.CloseWrite() // it may be closed already
	}
}

func (r *Relay) enter(conns ...net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		r.open[c] = true
	}
}

func (r *Relay) leave(conns ...net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range conns {
		delete(r.open, c)
	}
}
