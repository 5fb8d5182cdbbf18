package peer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/anacrolix/torrent/mse"
	pp "github.com/anacrolix/torrent/peer_protocol"
)

// handshakeTimeout is how long a peer may take for all of its handshake.
const handshakeTimeout = 8 * time.Second

// ErrHandshake is in the error when a peer was reached and closed the
// connection, or said something else, before the handshake was over: it may want
// obfuscation, or the torrent under its other name.
var ErrHandshake = errors.New("no handshake")

// Hello is what both sides say first (BEP 3).
type Hello struct {
	Extensions pp.PeerExtensionBits
	// Hash is the torrent's name: the v1 infohash, or the begin of the v2 one
	// (BEP 52).
	Hash [20]byte
	// ID is who says it.
	ID [20]byte
}

// helloSize is the length of a Hello in bytes.
const helloSize = len(pp.Protocol) + 8 + 20 + 20

func (h Hello) bytes() []byte {
	b := append([]byte(pp.Protocol), h.Extensions[:]...)
	return append(append(b, h.Hash[:]...), h.ID[:]...)
}

func parseHello(b []byte) (h Hello, err error) {
	b, ok := bytes.CutPrefix(b, []byte(pp.Protocol))
	if !ok {
		return h, errors.New("the peer doesn't speak BitTorrent")
	}
	copy(h.Extensions[:], b)
	copy(h.Hash[:], b[8:])
	copy(h.ID[:], b[8+20:])
	return h, nil
}

// guard makes nc fail when ctx ends or a handshake takes too long, until the
// function it returns is called.
func guard(ctx context.Context, nc net.Conn) (release func()) {
	_ = nc.SetDeadline(time.Now().Add(handshakeTimeout)) // a closed connection says so when it is read
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	return func() {
		if stop() {
			_ = nc.SetDeadline(time.Time{})
		}
	}
}

// Initiate begins the handshake on a connection that was dialled. Where it fails
// because of what the peer does, the error is ErrHandshake, and nc is closed.
func Initiate(ctx context.Context, nc net.Conn, own Hello, obfuscated bool) (*Conn, Hello, error) {
	release := guard(ctx, nc)
	var rw io.ReadWriter = nc
	var err error
	if obfuscated {
		rw, _, err = mse.InitiateHandshakeContext(ctx, nc, own.Hash[:], own.bytes(), mse.AllSupportedCrypto)
	} else {
		_, err = nc.Write(own.bytes())
	}
	var theirs Hello
	if err == nil {
		theirs, err = readHello(rw)
	}
	if err == nil && theirs.Hash != own.Hash {
		err = errors.New("the peer answers for another torrent")
	}
	release()
	if err != nil {
		nc.Close()
		if ctx.Err() != nil {
			return nil, theirs, ctx.Err()
		}
		return nil, theirs, fmt.Errorf("%w: %w", ErrHandshake, err)
	}
	return newConn(nc, rw), theirs, nil
}

func readHello(r io.Reader) (Hello, error) {
	b := make([]byte, helloSize)
	if _, err := io.ReadFull(r, b); err != nil {
		return Hello{}, unexpected(err)
	}
	return parseHello(b)
}

// Accept answers the handshake on a connection that a peer made. hashes are the
// torrents' names; answer returns what to say to a peer, or false to say
// nothing. On errors nc is closed.
func Accept(ctx context.Context, nc net.Conn, hashes [][20]byte, answer func(Hello) (Hello, bool)) (*Conn, Hello, error) {
	release := guard(ctx, nc)
	c, theirs, err := accept(ctx, nc, hashes, answer)
	release()
	if err != nil {
		nc.Close()
		return nil, theirs, err
	}
	return c, theirs, nil
}

func accept(ctx context.Context, nc net.Conn, hashes [][20]byte, answer func(Hello) (Hello, bool)) (*Conn, Hello, error) {
	first := make([]byte, len(pp.Protocol))
	if _, err := io.ReadFull(nc, first); err != nil {
		return nil, Hello{}, unexpected(err)
	}
	var rw io.ReadWriter = struct {
		io.Reader
		io.Writer
	}{io.MultiReader(bytes.NewReader(first), nc), nc}
	if string(first) != pp.Protocol {
		keys := func(yield func([]byte) bool) {
			for _, h := range hashes {
				if !yield(h[:]) {
					return
				}
			}
		}
		var err error
		if rw, _, err = mse.ReceiveHandshake(ctx, rw, keys, mse.DefaultCryptoSelector); err != nil {
			return nil, Hello{}, err
		}
	}
	theirs, err := readHello(rw)
	if err != nil {
		return nil, theirs, err
	}
	own, ok := answer(theirs)
	if !ok {
		return nil, theirs, errors.New("nothing to say to that peer")
	}
	if _, err := rw.Write(own.bytes()); err != nil {
		return nil, theirs, err
	}
	return newConn(nc, rw), theirs, nil
}
