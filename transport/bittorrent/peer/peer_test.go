package peer

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"strings"
	"testing"

	pp "github.com/anacrolix/torrent/peer_protocol"
)

// pair connects two sides, of which the first begins.
func pair(t *testing.T, obfuscated bool, hash, accepted [20]byte) (a, b *Conn, errA, errB error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		nc, err := l.Accept()
		if err != nil {
			errB = err
			return
		}
		b, _, errB = Accept(t.Context(), nc, [][20]byte{accepted}, func(h Hello) (Hello, bool) {
			return Hello{Hash: h.Hash, ID: [20]byte{2}}, h.Hash == accepted
		})
	}()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	a, hello, errA := Initiate(t.Context(), nc, Hello{Hash: hash, ID: [20]byte{1}}, obfuscated)
	<-done
	if errA == nil && hello.ID != [20]byte{2} {
		t.Errorf("the other's ID is %v", hello.ID)
	}
	for _, c := range []*Conn{a, b} {
		if c != nil {
			t.Cleanup(func() { c.Close(); c.Wait() })
		}
	}
	return a, b, errA, errB
}

func TestHandshake(t *testing.T) {
	hash := [20]byte{7}
	for name, obfuscated := range map[string]bool{"in the clear": false, "obfuscated": true} {
		t.Run(name, func(t *testing.T) {
			a, b, errA, errB := pair(t, obfuscated, hash, hash)
			if errA != nil || errB != nil {
				t.Fatal(errA, errB)
			}
			block := bytes.Repeat([]byte("x"), MaxBlock)
			for i := range uint32(100) {
				a.Send(Append(nil, pp.Piece, block, i, 0))
				b.Send(Append(nil, pp.Have, nil, i))
			}
			for i := range uint32(100) {
				m, err := b.Read()
				if err != nil || m.Type != pp.Piece || m.Index != i || !bytes.Equal(m.Payload, block) {
					t.Fatalf("%v, %v", m.Type, err)
				}
				if m, err := a.Read(); err != nil || m.Type != pp.Have || m.Index != i {
					t.Fatalf("%+v, %v", m, err)
				}
			}
			a.Close()
			if _, err := b.Read(); err == nil {
				t.Error("read from a connection that was closed")
			}
		})
		t.Run(name+", another torrent", func(t *testing.T) {
			_, _, errA, errB := pair(t, obfuscated, hash, [20]byte{8})
			if !errors.Is(errA, ErrHandshake) || errB == nil {
				t.Errorf("%v, %v", errA, errB)
			}
		})
	}
}

func TestMessages(t *testing.T) {
	r := HashRange{Root: [32]byte{1}, Base: 2, Index: 3, Length: 4, Proof: 5}
	long := func(length uint32, id pp.MessageType) []byte {
		return append(binary.BigEndian.AppendUint32(nil, length), byte(id))
	}
	for name, c := range map[string]struct {
		bytes []byte
		want  Message
		err   string
	}{
		"keep-alive":       {make([]byte, 4), Message{KeepAlive: true}, ""},
		"choke":            {Append(nil, pp.Choke, nil), Message{Type: pp.Choke}, ""},
		"request":          {Append(nil, pp.Request, nil, 1, 2, 3), Message{Type: pp.Request, Index: 1, Begin: 2, Length: 3}, ""},
		"piece":            {Append(nil, pp.Piece, []byte("ab"), 1, 2), Message{Type: pp.Piece, Index: 1, Begin: 2, Payload: []byte("ab")}, ""},
		"bitfield":         {Append(nil, pp.Bitfield, []byte{0x80}), Message{Type: pp.Bitfield, Payload: []byte{0x80}}, ""},
		"extension":        {AppendExtended(nil, 3, []byte("de")), Message{Type: pp.Extended, Extension: 3, Payload: []byte("de")}, ""},
		"hashes":           {AppendHashes(nil, pp.Hashes, r, [][32]byte{{9}}), Message{Type: pp.Hashes, Hashes: r, Payload: append([]byte{9}, make([]byte, 31)...)}, ""},
		"unknown":          {Append(nil, 99, []byte("abc")), Message{Type: 99, Payload: []byte("abc")}, ""},
		"choke too long":   {Append(nil, pp.Choke, []byte{1}), Message{}, "it has 1 to 1"},
		"have too short":   {Append(nil, pp.Have, []byte{1}), Message{}, "it has 5 to 5"},
		"block too long":   {long(9+MaxBlock+1, pp.Piece), Message{}, "it has 9 to 16393"},
		"bits too long":    {long(1<<15+2, pp.Bitfield), Message{}, "it has 1 to 32769"},
		"2 GiB":            {long(1<<31, pp.Piece), Message{}, "limit of 65537"},
		"ends":             {long(5, pp.Have), Message{}, "unexpected EOF"},
		"ends in the head": {make([]byte, 3), Message{}, "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			m, n, err := read(newReader(bytes.NewReader(c.bytes)))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("%v, want %q", err, c.err)
				}
				return
			}
			payload, want := m.Payload, c.want.Payload
			m.Payload, c.want.Payload = nil, nil
			if err != nil || n != len(c.bytes) || !bytes.Equal(payload, want) || m.Type != c.want.Type || m.KeepAlive != c.want.KeepAlive ||
				m.Index != c.want.Index || m.Begin != c.want.Begin || m.Length != c.want.Length || m.Extension != c.want.Extension || m.Hashes != c.want.Hashes {
				t.Errorf("%+v %q, %d, %v", m, payload, n, err)
			}
		})
	}
}

// FuzzMessages: whatever a peer sends, a message is within its limits.
func FuzzMessages(f *testing.F) {
	f.Add(Append(Append(nil, pp.Have, nil, 7), pp.Piece, make([]byte, 100), 1, 0))
	f.Add(AppendHashes(AppendExtended(nil, 1, []byte("de")), pp.Hashes, HashRange{}, make([][32]byte, 3)))
	f.Add([]byte{0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := newReader(bytes.NewReader(b))
		for total := 0; ; {
			m, n, err := read(r)
			if err != nil {
				return
			}
			if total += n; n < 4 || total > len(b) || len(m.Payload) > n || m.Type == pp.Piece && len(m.Payload) > MaxBlock {
				t.Fatalf("%+v of %d bytes, %d of %d read", m, n, total, len(b))
			}
			if _, err := r.Discard(n); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// FuzzHello: what a peer begins with is a hello, written as it was read, or an error.
func FuzzHello(f *testing.F) {
	f.Add(Hello{Hash: [20]byte{1}, ID: [20]byte{2}}.bytes())
	f.Add([]byte("\x13BitTorrent protocol"))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, err := readHello(bytes.NewReader(b))
		if err == nil && !bytes.HasPrefix(b, h.bytes()) {
			t.Errorf("%x is read as %+v", b, h)
		}
	})
}
