package bittorrent_test

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
)

// hostile is a peer whose messages are crafted. Whatever it sends, this program
// must go on: the library alone ends at a size of 62 bits, at negative pieces,
// and at metadata that are nested deep enough.
type hostile struct {
	size     string // of the metadata, as it says
	metadata []byte // what it sends
	extra    string // in its extended handshake
	first    []string
	delay    time.Duration // of each piece of metadata
}

// metadataID is what it wants the messages of ut_metadata to be numbered.
const metadataID = 3

// listen has the peer take every connection, and returns where.
func (h hostile) listen(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go h.serve(conn)
		}
	}()
	return l.Addr().String()
}

// serve serves one connection.
func (h hostile) serve(conn net.Conn) error {
	defer conn.Close()
	r := bufio.NewReader(conn)
	hello := make([]byte, 68)
	if _, err := io.ReadFull(r, hello); err != nil {
		return err
	}
	copy(hello[48:], "-XX0000-123456789012")
	clear(hello[20:28])
	hello[25] = 0x10 // extensions (BEP 10)
	if _, err := conn.Write(hello); err != nil {
		return err
	}
	send := func(id byte, payload string) error {
		m := binary.BigEndian.AppendUint32(nil, uint32(2+len(payload)))
		_, err := conn.Write(append(append(m, 20, id), payload...))
		return err
	}
	if err := send(0, fmt.Sprintf("d1:md11:ut_metadatai%dee13:metadata_sizei%se%se", metadataID, h.size, h.extra)); err != nil {
		return err
	}
	theirs := byte(0) // what they number ut_metadata
	for {
		var length uint32
		if err := binary.Read(r, binary.BigEndian, &length); err != nil {
			return err
		}
		message := make([]byte, length)
		if _, err := io.ReadFull(r, message); err != nil {
			return err
		}
		if length < 2 || message[0] != 20 {
			continue
		}
		var piece int
		if message[1] == 0 {
			_, after, _ := bytes.Cut(message, []byte("11:ut_metadatai"))
			if _, err := fmt.Sscanf(string(after), "%de", &theirs); err != nil {
				return err
			}
			for _, payload := range h.first {
				if err := send(theirs, payload); err != nil {
					return err
				}
			}
		} else if _, err := fmt.Sscanf(string(message[2:]), "d8:msg_typei0e5:piecei%dee", &piece); err == nil && message[1] == metadataID {
			time.Sleep(h.delay)
			part := h.metadata[piece<<14 : min(len(h.metadata), (piece+1)<<14)]
			if err := send(theirs, fmt.Sprintf("d8:msg_typei1e5:piecei%de10:total_sizei%see%s", piece, h.size, part)); err != nil {
				return err
			}
		}
	}
}

// TestEndlessMetadata: a peer whose metadata don't end delays those of others by
// its turn only.
func TestEndlessMetadata(t *testing.T) {
	t.Parallel()
	b := transporttest.NewBlob(42, 1<<20)
	dir := t.TempDir()
	f := create(t, blobFile(t, dir, b), realserver.TorrentOptions{})
	honest := libtorrent(t, realserver.LibtorrentOptions{})
	serve(t, honest, f, dir)
	h := hostile{size: fmt.Sprint(16 << 20), metadata: make([]byte, 16<<20), delay: time.Second}
	pull(t, newTransport(t, loopback()), magnet(t, f, h.listen(t), honest.Peer), b)
}

func TestHostilePeer(t *testing.T) {
	t.Parallel()
	nested := []byte("d1:x" + strings.Repeat("l", 6<<20) + strings.Repeat("e", 6<<20+1))
	for _, c := range []struct {
		name string
		hostile
		hash [20]byte
		kind error
		says string
	}{
		{"nested metadata", hostile{size: fmt.Sprint(len(nested)), metadata: nested}, sha1.Sum(nested), transport.ErrPermanent, "limit of 200 deep"},
		{"nested metadata that aren't the torrent's", hostile{size: fmt.Sprint(len(nested)), metadata: nested}, [20]byte{1}, transport.ErrTemporary, "no peer has sent the metadata"},
		{"a size of 62 bits", hostile{size: "4611686018427387909"}, [20]byte{2}, transport.ErrTemporary, "no peer has sent the metadata"},
		{"a negative size", hostile{size: "-5"}, [20]byte{3}, transport.ErrTemporary, "no peer has sent the metadata"},
		{"negative pieces", hostile{size: "20", metadata: make([]byte, 20), first: []string{
			"d8:msg_typei0e5:piecei-1ee", "d8:msg_typei1e5:piecei-1e10:total_sizei20ee" + strings.Repeat("x", 20),
		}}, [20]byte{4}, transport.ErrTemporary, "no peer has sent the metadata"},
		{"nested handshake", hostile{size: "20", metadata: make([]byte, 20), extra: "1:x" + strings.Repeat("l", 30_000) + strings.Repeat("e", 30_000)}, [20]byte{5}, transport.ErrTemporary, "no peer has sent the metadata"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := loopback()
			if o.MetadataTimeout = 3 * time.Second; c.kind == transport.ErrPermanent {
				o.MetadataTimeout = time.Minute // it ends with what is sent, not with time
			}
			tr := newTransport(t, o)
			uri := "magnet:?xt=urn:btih:" + hex.EncodeToString(c.hash[:]) + "&x.pe=" + c.listen(t)
			err := pullRange(t.Context(), tr, uri, transporttest.NewBlob(1, 10), 0, 10)
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v; want %v that says %q", err, c.kind, c.says)
			}
		})
	}
}
