package peer

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

const (
	// silence is how long a peer may send nothing: peers keep connections alive
	// every two minutes.
	silence = 150 * time.Second
	// writeTimeout is how long a peer may take nothing.
	writeTimeout = 60 * time.Second
	// maxQueued is how many bytes may wait to be sent.
	maxQueued = 4 << 20
	// enough is how many bytes wait at most where the sender can wait.
	enough = 128 << 10
)

// Conn is a connection after its handshake. One goroutine may read while others
// send.
type Conn struct {
	nc net.Conn
	rw io.ReadWriter // the same, or what deciphers it
	r  *bufio.Reader
	n  int // bytes of the last message

	mu     sync.Mutex
	queued []byte
	err    error
	send   chan struct{} // something is queued, or the end
	sent   chan struct{} // little is
	closed chan struct{}
	writer sync.WaitGroup
}

func newConn(nc net.Conn, rw io.ReadWriter) *Conn {
	c := &Conn{
		nc: nc, rw: rw, r: newReader(rw),
		send: make(chan struct{}, 1), sent: make(chan struct{}, 1), closed: make(chan struct{}),
	}
	c.writer.Go(c.write)
	return c
}

// RemoteAddr returns the peer's address.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// Read returns the next message. Its payload is valid until the next Read.
func (c *Conn) Read() (Message, error) {
	if _, err := c.r.Discard(c.n); err != nil {
		return Message{}, err
	}
	c.n = 0
	if c.r.Buffered() < 5 {
		if err := c.nc.SetReadDeadline(time.Now().Add(silence)); err != nil {
			return Message{}, err
		}
	}
	m, n, err := read(c.r)
	c.n = n
	return m, err
}

// Send queues messages. It never waits; a peer that takes nothing loses the
// connection.
func (c *Conn) Send(messages []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return
	}
	if len(c.queued)+len(messages) > maxQueued {
		c.fail(fmt.Errorf("the peer takes nothing; %d bytes wait for it", len(c.queued)))
		return
	}
	c.queued = append(c.queued, messages...)
	signal(c.send)
}

// SendSlowly queues messages once little else is queued. One goroutine at a time
// may call it. It returns an error when the connection is closed.
func (c *Conn) SendSlowly(messages []byte) error {
	for {
		c.mu.Lock()
		err, full := c.err, len(c.queued) > enough
		c.mu.Unlock()
		switch {
		case err != nil:
			return err
		case !full:
			c.Send(messages)
			return nil
		}
		select {
		case <-c.sent:
		case <-c.closed:
		}
	}
}

// Closed is closed with the connection.
func (c *Conn) Closed() <-chan struct{} { return c.closed }

// Close closes the connection. Nothing is waited for.
func (c *Conn) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fail(net.ErrClosed)
}

// fail closes the connection. c.mu is held.
func (c *Conn) fail(err error) {
	if c.err != nil {
		return
	}
	c.err = err
	close(c.closed)
	signal(c.send)
	c.nc.Close()
}

// Wait waits until a closed connection's own goroutine has ended.
func (c *Conn) Wait() { c.writer.Wait() }

// write sends what is queued.
func (c *Conn) write() {
	var spare []byte
	for range c.send {
		c.mu.Lock()
		if c.err != nil {
			c.mu.Unlock()
			return
		}
		batch := c.queued
		c.queued = spare[:0]
		c.mu.Unlock()
		if len(batch) > 0 {
			if err := c.writeAll(batch); err != nil {
				c.mu.Lock()
				c.fail(err)
				c.mu.Unlock()
				return
			}
		}
		if spare = batch; cap(spare) > 2*enough {
			spare = nil
		}
		signal(c.sent)
	}
}

func (c *Conn) writeAll(b []byte) error {
	if err := c.nc.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := c.rw.Write(b)
	return err
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
