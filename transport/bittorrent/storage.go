package bittorrent

import (
	"context"
	"errors"
	"io"

	"github.com/anacrolix/generics"
	"github.com/anacrolix/torrent/metainfo"
	"github.com/anacrolix/torrent/storage"
)

// errGone is what the library is told of a piece that isn't in memory any more.
// It then asks peers for it again, should it be wanted.
var errGone = errors.New("the piece is not in memory")

// OpenTorrent implements [storage.ClientImpl] for the one torrent. The library
// calls it with its lock held when it knows the metadata, and refuses them when
// it returns an error.
func (sw *swarm) OpenTorrent(_ context.Context, info *metainfo.Info, _ metainfo.Hash) (storage.TorrentImpl, error) {
	if err := sw.setInfo(info); err != nil {
		return storage.TorrentImpl{}, err
	}
	limit := sw.mem.limit
	// A capacity lets the library stop looking for pieces to request when it
	// has seen as many as there is room for.
	capacity := func() (int64, bool) { return limit, true }
	return storage.TorrentImpl{
		PieceWithHash: func(p metainfo.Piece, _ generics.Option[[]byte]) storage.PieceImpl {
			return stored{sw, p.Index()}
		},
		Close:    func() error { sw.mem.drop(sw); return nil },
		Capacity: &capacity,
	}, nil
}

// stored is a piece as the library sees it: [storage.PieceImpl] and
// io.WriterTo. Content that is there to be seeded shows through where no memory
// was given to the piece.
type stored struct {
	sw    *swarm
	index int
}

// WriteAt takes a block from a peer.
func (s stored) WriteAt(b []byte, off int64) (int, error) {
	m := s.sw.mem
	m.mu.Lock()
	p := s.sw.pieces[s.index]
	if p == nil || p.complete {
		m.mu.Unlock()
		return 0, errGone // it comes late; the range was closed
	}
	if p.buf == nil {
		p.buf = s.sw.buffer(p.size)
		p.blocks = make([]uint64, ceil(ceil(p.size, block), 64))
	}
	p.pins++
	m.mu.Unlock()

	n := copy(p.buf[off:], b)

	m.mu.Lock()
	defer m.mu.Unlock()
	p.pins--
	p.mark(off, int64(n))
	s.sw.progress()
	return n, nil
}

// WriteTo gives the piece to be hashed.
func (s stored) WriteTo(w io.Writer) (int64, error) {
	m := s.sw.mem
	m.mu.Lock()
	p := s.sw.pieces[s.index]
	if p == nil || !p.full() {
		seeds := p == nil && s.sw.seeds(s.index)
		m.mu.Unlock()
		if seeds {
			return s.sw.writeContent(w, s.index)
		}
		// Part of it was evicted. The error tells the library not to blame
		// anybody for the hash, and to fetch all of it.
		return 0, errGone
	}
	p.pins++
	m.mu.Unlock()

	n, err := w.Write(p.buf)

	m.mu.Lock()
	defer m.mu.Unlock()
	p.pins--
	return int64(n), err
}

// ReadAt gives a part of a piece to a peer.
func (s stored) ReadAt(b []byte, off int64) (int, error) {
	return contentPiece(s).ReadAt(b, off)
}

// MarkComplete says that the hash is right.
func (s stored) MarkComplete() error {
	m := s.sw.mem
	m.mu.Lock()
	defer m.mu.Unlock()
	s.sw.told[s.index] = true
	if p := s.sw.pieces[s.index]; p != nil && p.full() {
		if !p.complete {
			p.complete = true
			close(p.done)
		}
	} else if s.sw.seeds(s.index) {
		s.sw.verified[s.index] = true
	}
	return nil
}

// MarkNotComplete says that it is wrong.
func (s stored) MarkNotComplete() error {
	m := s.sw.mem
	m.mu.Lock()
	defer m.mu.Unlock()
	s.sw.told[s.index] = false
	delete(s.sw.verified, s.index)
	if p := s.sw.pieces[s.index]; p != nil && !p.complete {
		clear(p.blocks)
		p.got = 0
	}
	return nil
}

// Completion says whether the piece can be had here.
func (s stored) Completion() storage.Completion {
	m := s.sw.mem
	m.mu.Lock()
	defer m.mu.Unlock()
	p := s.sw.pieces[s.index]
	return storage.Completion{Ok: true, Complete: p != nil && p.complete || s.sw.verified[s.index]}
}
