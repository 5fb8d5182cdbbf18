package bittorrent_test

import (
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anacrolix/torrent/metainfo"
	pp "github.com/anacrolix/torrent/peer_protocol"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/bittorrent/peer"
)

// rogue is a peer that has a blob and breaks the rules as told.
type rogue struct {
	hash    [20]byte
	blob    transporttest.Blob
	length  int64 // of a piece
	have    []byte
	hello   []byte // what it sends after what it has
	mute    bool   // it sends no blocks
	chokes  bool   // it lets nobody in
	rejects bool
	wrong   func(index int) bool
	last    int // after how many blocks it hangs up; 0 for never
	size    int // of what it sends for a block, where not 0
	pause   time.Duration
	// forgets says which requests it never answers; cancels counts what it is told
	// not to send.
	forgets func(m peer.Message) bool
	cancels *atomic.Int32
}

// start makes it listen at an address of its own, and returns where.
func (r rogue) start(t *testing.T, host string) string {
	t.Helper()
	l, err := net.Listen("tcp", host+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go r.serve(t, nc)
		}
	}()
	return l.Addr().String()
}

func (r rogue) serve(t *testing.T, nc net.Conn) {
	hello := peer.Hello{Hash: r.hash, Extensions: pp.NewPeerExtensionBytes(pp.ExtensionBitFast)}
	copy(hello.ID[:], "-XX0000-"+nc.LocalAddr().String())
	c, _, err := peer.Accept(t.Context(), nc, nil, func(peer.Hello) (peer.Hello, bool) { return hello, true })
	if err != nil {
		return
	}
	defer c.Close()
	have := r.have
	if have == nil {
		have = peer.Append(nil, pp.HaveAll, nil)
	}
	c.Send(append(have, r.hello...))
	if !r.chokes {
		c.Send(peer.Append(nil, pp.Unchoke, nil))
	}
	for sent := 0; ; {
		m, err := c.Read()
		if err != nil {
			return
		}
		if r.cancels != nil && m.Type == pp.Cancel && !m.KeepAlive {
			r.cancels.Add(1)
		}
		if m.KeepAlive || m.Type != pp.Request || r.mute || r.forgets != nil && r.forgets(m) {
			continue
		}
		time.Sleep(r.pause)
		if r.rejects {
			c.Send(peer.Append(nil, pp.Reject, nil, m.Index, m.Begin, m.Length))
			continue
		}
		block := make([]byte, m.Length)
		_, _ = r.blob.ReadAt(block, int64(m.Index)*r.length+int64(m.Begin))
		if r.wrong != nil && r.wrong(int(m.Index)) {
			block[0] ^= 1
		}
		if r.size != 0 {
			block = make([]byte, r.size)
		}
		if err := c.SendSlowly(peer.Append(nil, pp.Piece, block, m.Index, m.Begin)); err != nil {
			return
		}
		if sent++; sent == r.last {
			time.Sleep(5 * time.Millisecond) // or what was sent is lost
			return
		}
	}
}

// TestForgottenRequest: a request that a peer forgets while it answers later ones
// is made again; nobody waits until the peer has nothing else to send.
func TestForgottenRequest(t *testing.T) {
	t.Parallel()
	const length = 64 << 10
	b := transporttest.NewBlob(42, 256*length)
	f := create(t, blobFile(t, t.TempDir(), b), realserver.TorrentOptions{PieceSize: length >> 10})
	mi, err := metainfo.LoadFromFile(f)
	if err != nil {
		t.Fatal(err)
	}
	var forgotten, cancels atomic.Int32
	at := rogue{
		hash: mi.HashInfoBytes(), blob: b, length: length, cancels: &cancels, pause: 5 * time.Millisecond,
		forgets: func(m peer.Message) bool { return m.Index == 1 && m.Begin == 0 && forgotten.Add(1) == 1 },
	}.start(t, "127.0.0.15")
	tr := newTransport(t, loopback())
	if err := pullRange(t.Context(), tr, "torrent:"+f, b, 0, 0); err != nil { // the peer comes later
		t.Fatal(err)
	}
	pull(t, tr, magnet(t, f, at), b)
	if forgotten.Load() < 2 || cancels.Load() > 0 {
		t.Errorf("asked %d times, %d cancelled: it was asked again when it had nothing else to send", forgotten.Load(), cancels.Load())
	}
}

// TestRogues: peers that break the rules delay nobody for long, and are no
// reason for a wrong byte.
func TestRogues(t *testing.T) {
	t.Parallel()
	const length = 64 << 10
	b := transporttest.NewBlob(41, 40*length+5)
	dir := t.TempDir()
	f := create(t, blobFile(t, dir, b), realserver.TorrentOptions{PieceSize: length >> 10})
	mi, err := metainfo.LoadFromFile(f)
	if err != nil {
		t.Fatal(err)
	}
	honest := libtorrent(t, realserver.LibtorrentOptions{Host: "127.0.0.14"})
	serve(t, honest, f, dir)
	huge := binary.BigEndian.AppendUint32(nil, 1<<31)
	for _, c := range []struct {
		name string
		rogue
		alone  string // what the error says when there is nobody else, who may just be connected again; empty where it is enough
		banned bool
	}{
		{"honest", rogue{}, "", false},
		{"a message of 2 GiB", rogue{hello: huge}, "1 peers known", false},
		{"a message without an end", rogue{hello: append(binary.BigEndian.AppendUint32(nil, 60_000), 20, 0), mute: true}, "1 connected", false},
		{"a bitfield too long", rogue{have: peer.Append(nil, pp.Bitfield, slices.Repeat([]byte{0xff}, 30_000))}, "1 peers known", false},
		{"a bitfield too short", rogue{have: peer.Append(nil, pp.Bitfield, []byte{0xff})}, "1 peers known", false},
		{"a piece there isn't", rogue{hello: peer.Append(nil, pp.Have, nil, 1<<17)}, "1 peers known", false},
		{"never lets in", rogue{chokes: true}, "1 of them let this one wait", false},
		{"says nothing", rogue{mute: true}, "1 connected", false},
		{"rejects everything", rogue{rejects: true}, "1 connected", false},
		{"only wrong pieces", rogue{wrong: func(int) bool { return true }}, "1 banned", true},
		{"one wrong piece", rogue{wrong: func(i int) bool { return i == 20 }}, "1 banned", true},
		{"hangs up after each block", rogue{last: 1}, "-", false},
		{"hangs up after ten blocks", rogue{last: 10}, "-", false},
		{"short blocks", rogue{size: 100}, "1 peers known", false},
		{"long blocks", rogue{size: 16<<10 + 1}, "1 peers known", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.hash, c.blob, c.length = mi.HashInfoBytes(), b, length
			o := loopback()
			o.StallTimeout = 3 * time.Second
			host := o.Listen.String() // on another port
			tr := newTransport(t, o)
			at := c.start(t, host)
			err := pullRange(t.Context(), tr, "torrent:"+f, b, 0, 0) // the peers come later
			if err != nil {
				t.Fatal(err)
			}
			uri := magnet(t, f, at)
			if c.alone != "-" {
				err := pullRange(t.Context(), tr, uri, b, 0, b.Size)
				if c.alone == "" && err != nil || c.alone != "" && (!errors.Is(err, transport.ErrTemporary) || !strings.Contains(err.Error(), c.alone)) {
					t.Errorf("alone: %v; want %q", err, c.alone)
				}
			}
			began := time.Now()
			pull(t, tr, magnet(t, f, at, honest.Peer), b)
			t.Logf("%v with an honest peer; %+v", time.Since(began), tr.Stats())
			if banned := slices.Contains(tr.Stats().Banned, host); banned != c.banned {
				t.Errorf("banned are %v", tr.Stats().Banned)
			}
		})
	}
}
