package bittorrent

import "math/bits"

// pieceSet is the pieces that a peer has. Before the metadata are known, there
// may be any number of them, up to MaxPieces.
type pieceSet struct {
	all  bool
	bits []byte // as in a bitfield message (BEP 3)
}

func (s *pieceSet) contains(index int) bool {
	return s.all || index/8 < len(s.bits) && s.bits[index/8]&(0x80>>(index%8)) != 0
}

// add adds a piece below MaxPieces.
func (s *pieceSet) add(index int) {
	for index/8 >= len(s.bits) {
		s.bits = append(s.bits, 0)
	}
	s.bits[index/8] |= 0x80 >> (index % 8)
}

// empty reports whether there is no piece in it.
func (s *pieceSet) empty() bool {
	for _, b := range s.bits {
		if b != 0 {
			return false
		}
	}
	return !s.all
}

// fits reports whether it is one of a torrent with so many pieces.
func (s *pieceSet) fits(count int) bool {
	for i := len(s.bits) - 1; i >= 0; i-- {
		if s.bits[i] != 0 {
			return i*8+8-bits.TrailingZeros8(s.bits[i]) <= count
		}
	}
	return true
}
