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

// unchoked joins the swarm (BEP 3) and returns when transmission let it in.
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
	const unchoke, interested, haveNone = 1, 2, 15
	if _, err := conn.Write(append(hello, 0, 0, 0, 1, haveNone, 0, 0, 0, 1, interested)); err != nil {
		return none, err
	}
	r := bufio.NewReader(conn)
	if _, err := r.Discard(len(hello)); err != nil {
		return none, err
	}
	for {
		var length uint32
		if err := binary.Read(r, binary.BigEndian, &length); err != nil {
			return none, err
		}
		if length == 0 {
			continue // it keeps the connection alive
		}
		kind, err := r.ReadByte()
		if err != nil {
			return none, err
		}
		if kind == unchoke {
			return time.Now(), nil
		}
		if _, err := io.CopyN(io.Discard, r, int64(length)-1); err != nil {
			return none, err
		}
	}
}
