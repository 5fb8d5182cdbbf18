package realserver

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"time"
)

// turn is how often transmission decides which peers may download; whoever
// comes in between waits (RECHOKE_PERIOD_MSEC of its peer-mgr.c).
const turn = 10 * time.Second

// Turn returns shortly before transmission lets in new peers, lead before that:
// it joins as a peer to see when it does. The infohash is in hexadecimal.
func (t *Transmission) Turn(ctx context.Context, infohash string, lead time.Duration) error {
	at, err := t.unchoked(ctx, infohash)
	for began := time.Now(); err != nil && time.Since(began) < startTimeout; {
		time.Sleep(turn / 20) // for seconds after a torrent was added it takes no peers
		at, err = t.unchoked(ctx, infohash)
	}
	if err != nil {
		return fmt.Errorf("wait for transmission's turn: %w", err)
	}
	select {
	case <-time.After(time.Until(at.Add(turn - lead))):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// unchoked joins the swarm (BEP 3) and returns when transmission let it in. The
// word of that takes up to a second to leave; but what it is asked for before it
// rejects (BEP 6), and says so first. So it is asked all the time.
func (t *Transmission) unchoked(ctx context.Context, infohash string) (time.Time, error) {
	none := time.Time{}
	hash, err := hex.DecodeString(infohash)
	if err != nil {
		return none, err
	}
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", t.Peer)
	if err != nil {
		return none, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(3 * turn)); err != nil {
		return none, err
	}
	const protocol = "\x13BitTorrent protocol"
	hello := append([]byte(protocol), 0, 0, 0, 0, 0, 0, 0, 4) // the fast extension (BEP 6)
	hello = append(hello, hash...)
	hello = append(hello, "-WB0000-"+rand.Text()[:12]...)
	if _, err := conn.Write(append(hello, 0, 0, 0, 1, haveNone, 0, 0, 0, 1, interested)); err != nil {
		return none, err
	}
	r := bufio.NewReader(conn)
	if _, err := r.Discard(len(hello)); err != nil {
		return none, err
	}
	asking := make(chan struct{})
	defer close(asking)
	asked := make(chan time.Time, 10_000)
	go askAll(conn, asked, asking)
	last := time.Now() // when the last request was made that it rejected
	for {
		kind, err := readMessage(r)
		switch {
		case err != nil:
			return none, err
		case kind == rejected:
			last = <-asked
		case kind == unchoke:
			return last, nil
		}
	}
}

// Types of messages (BEP 3, BEP 6).
const (
	unchoke    = 1
	interested = 2
	request    = 6
	haveNone   = 15
	rejected   = 16
)

// askEvery is how often askAll asks.
const askEvery = 25 * time.Millisecond

// askAll asks for a byte again and again until done, and says when.
func askAll(conn net.Conn, asked chan<- time.Time, done <-chan struct{}) {
	message := append([]byte{0, 0, 0, 13, request}, make([]byte, 12)...)
	message[len(message)-1] = 1
	for {
		select {
		case <-done:
			return
		case <-time.After(askEvery):
		}
		select {
		case asked <- time.Now():
		default: // it is not going to say any more
		}
		if _, err := conn.Write(message); err != nil {
			return
		}
	}
}

// readMessage reads a message and returns its type; 0 for what keeps the connection
// alive.
func readMessage(r *bufio.Reader) (kind byte, err error) {
	var length uint32
	if err := binary.Read(r, binary.BigEndian, &length); err != nil || length == 0 {
		return 0, err
	}
	if kind, err = r.ReadByte(); err != nil {
		return 0, err
	}
	_, err = io.CopyN(io.Discard, r, int64(length)-1)
	return kind, err
}
