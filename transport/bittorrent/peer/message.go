package peer

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"

	pp "github.com/anacrolix/torrent/peer_protocol"
)

// Limits of what a message may hold, in bytes.
const (
	// MaxBlock is the largest block that is asked for and taken (BEP 3, BEP
	// 52).
	MaxBlock = 16 << 10
	// MaxExtended is the largest extension message (BEP 10): a piece of
	// metadata is 16 KiB and little more.
	MaxExtended = 64 << 10
	// MaxBitfield is that of 262 144 pieces.
	MaxBitfield = 1 << 15
	// MaxHashes is how many hashes one message may hold (BEP 52).
	MaxHashes = 1024

	maxMessage = 1 + MaxExtended
	// hashFields is the length of what all messages about hashes begin with.
	hashFields = 32 + 4*4
)

// Message is what a peer sent.
type Message struct {
	// KeepAlive is a message of nothing; the other fields are zero.
	KeepAlive bool
	Type      pp.MessageType

	// Index is a piece; Begin and Length are a part of it. Length is set for
	// requests, cancels and rejects only.
	Index, Begin, Length uint32
	// Extension is the number of an extension message (BEP 10).
	Extension byte
	// Hashes says which hashes a message is about (BEP 52).
	Hashes HashRange
	// Payload is what follows: a block, a bitfield, the content of an extension
	// message, hashes. It is valid until the next message is read.
	Payload []byte
}

// HashRange are hashes of a file's Merkle tree, as a hash request names them
// (BEP 52).
type HashRange struct {
	Root                       [32]byte
	Base, Index, Length, Proof uint32
}

// limits are the shortest and longest messages of each type, in bytes, with the
// type. Of the others, the content is skipped.
var limits = map[pp.MessageType]struct{ min, max int }{
	pp.Choke: {1, 1}, pp.Unchoke: {1, 1}, pp.Interested: {1, 1}, pp.NotInterested: {1, 1},
	pp.HaveAll: {1, 1}, pp.HaveNone: {1, 1},
	pp.Have: {5, 5}, pp.Suggest: {5, 5}, pp.AllowedFast: {5, 5},
	pp.Request: {13, 13}, pp.Cancel: {13, 13}, pp.Reject: {13, 13},
	pp.Port: {3, 3}, pp.Bitfield: {1, 1 + MaxBitfield}, pp.Piece: {9, 9 + MaxBlock},
	pp.Extended:    {2, 1 + MaxExtended},
	pp.HashRequest: {1 + hashFields, 1 + hashFields}, pp.HashReject: {1 + hashFields, 1 + hashFields},
	pp.Hashes: {1 + hashFields, 1 + hashFields + 32*MaxHashes},
}

// newReader returns a buffer that holds every message [read] takes.
func newReader(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, 2*maxMessage) }

// read reads a message, whose payload lies in r's buffer; the next read begins
// by discarding the first n bytes. Nothing is allocated for what a peer only
// says it will send.
func read(r *bufio.Reader) (m Message, n int, err error) {
	head, err := r.Peek(4)
	if err != nil {
		return m, 0, err
	}
	length := binary.BigEndian.Uint32(head)
	if length == 0 {
		return Message{KeepAlive: true}, 4, nil
	}
	if length > maxMessage {
		return m, 0, fmt.Errorf("a message of %d bytes, more than the limit of %d", length, maxMessage)
	}
	if head, err = r.Peek(5); err != nil {
		return m, 0, unexpected(err)
	}
	m.Type = pp.MessageType(head[4])
	if l, known := limits[m.Type]; known && (int(length) < l.min || int(length) > l.max) {
		return m, 0, fmt.Errorf("a message %v of %d bytes; it has %d to %d", m.Type, length, l.min, l.max)
	}
	whole, err := r.Peek(4 + int(length))
	if err != nil {
		return m, 0, unexpected(err)
	}
	m.parse(whole[5:])
	return m, len(whole), nil
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// parse takes the content of a message whose length was checked.
func (m *Message) parse(b []byte) {
	field := func() uint32 {
		v := binary.BigEndian.Uint32(b)
		b = b[4:]
		return v
	}
	switch m.Type {
	case pp.Have, pp.Suggest, pp.AllowedFast:
		m.Index = field()
	case pp.Request, pp.Cancel, pp.Reject:
		m.Index, m.Begin, m.Length = field(), field(), field()
	case pp.Piece:
		m.Index, m.Begin = field(), field()
	case pp.Extended:
		m.Extension, b = b[0], b[1:]
	case pp.HashRequest, pp.HashReject, pp.Hashes:
		b = b[copy(m.Hashes.Root[:], b):]
		m.Hashes.Base, m.Hashes.Index, m.Hashes.Length, m.Hashes.Proof = field(), field(), field(), field()
	}
	m.Payload = b
}

// Append appends a message with numbers and a payload to b.
func Append(b []byte, t pp.MessageType, payload []byte, numbers ...uint32) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(1+4*len(numbers)+len(payload)))
	b = append(b, byte(t))
	for _, n := range numbers {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	return append(b, payload...)
}

// AppendExtended appends an extension message (BEP 10).
func AppendExtended(b []byte, number byte, payload []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(2+len(payload)))
	return append(append(b, byte(pp.Extended), number), payload...)
}

// AppendHashes appends a message about hashes (BEP 52).
func AppendHashes(b []byte, t pp.MessageType, h HashRange, hashes [][32]byte) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(1+hashFields+32*len(hashes)))
	b = append(append(b, byte(t)), h.Root[:]...)
	for _, n := range []uint32{h.Base, h.Index, h.Length, h.Proof} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	for _, one := range hashes {
		b = append(b, one[:]...)
	}
	return b
}
