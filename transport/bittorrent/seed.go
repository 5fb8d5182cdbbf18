package bittorrent

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/transport"
)

// seeded is content that a file of a torrent is served from.
type seeded struct {
	entry
	content Content
	users   int          // under the memory's lock
	reading sync.RWMutex // held to close content
}

// Seed serves the blob desc to the peers of the torrent that uri names, from
// Options.Content, until ctx ends, and returns ctx's error then. Pieces that the
// blob shares with a file that isn't served by another Seed are not served.
//
// What isn't in the store is [transport.ErrNotFound], content that isn't the
// torrent's [transport.ErrPermanent], and [transport.ErrRefused] where
// Options.Seed is false.
func (t *Transport) Seed(ctx context.Context, uri string, desc ocispec.Descriptor) error {
	if !t.options.Seed || t.options.Content == nil {
		return transport.Errorf(transport.ErrRefused, uri, "seeding is not switched on")
	}
	sw, file, err := t.find(ctx, uri, desc)
	if err != nil {
		return err
	}
	defer sw.unuse()
	content, size, ok := t.options.Content(desc.Digest)
	if !ok {
		return transport.Errorf(transport.ErrNotFound, uri, "nothing to seed: %s is not in the store", desc.Digest)
	}
	if size != file.length {
		content.Close()
		return transport.Errorf(transport.ErrPermanent, uri, "%q is %d bytes in the torrent and %s %d in the store", file.path, file.length, desc.Digest, size)
	}
	sw.serve(file, content)
	defer sw.unserve(file)
	if err := sw.verify(ctx, uri, file); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-sw.left:
		return transport.Errorf(transport.ErrTemporary, uri, "the transport was closed")
	}
}

// serve makes content that of a file. Where it is served already, that is done
// from what there is.
func (sw *swarm) serve(file entry, content Content) {
	sw.mem.mu.Lock()
	defer sw.mem.mu.Unlock()
	s, again := sw.content[file.offset]
	if again {
		content.Close()
	} else {
		s = &seeded{entry: file, content: content}
		sw.content[file.offset] = s
	}
	s.users++
}

// unserve takes back a serve.
func (sw *swarm) unserve(file entry) {
	sw.mem.mu.Lock()
	s := sw.content[file.offset]
	s.users--
	last := s.users == 0
	var gone []int
	if last {
		delete(sw.content, file.offset)
		for i := range sw.piecesOf(file) {
			if sw.verified[i] {
				delete(sw.verified, i)
				gone = append(gone, i)
			}
		}
	}
	sw.mem.mu.Unlock()
	if !last {
		return
	}
	for _, i := range gone {
		sw.t.Piece(i).UpdateCompletion()
	}
	s.reading.Lock() // peers may be being served
	defer s.reading.Unlock()
	s.content.Close()
}

// hashTries is how often a piece is hashed before its content is found wrong.
const hashTries = 3

// verify hashes the pieces of a file that can be served, once, and makes the
// library offer them.
func (sw *swarm) verify(ctx context.Context, uri string, file entry) error {
	for i := range sw.piecesOf(file) {
		sw.mem.mu.Lock()
		hash := !sw.verified[i] && sw.seeds(i)
		sw.mem.mu.Unlock()
		if !hash {
			continue
		}
		right := false
		// The library may be hashing the piece already, for an earlier reason and
		// with an earlier answer: it is asked once more.
		for try := 0; try < hashTries && !right; try++ {
			if err := sw.t.Piece(i).VerifyDataContext(ctx); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				return transport.Errorf(transport.ErrTemporary, uri, "%w", err)
			}
			sw.mem.mu.Lock()
			right = sw.verified[i] || !sw.seeds(i)
			sw.mem.mu.Unlock()
		}
		if err := ctx.Err(); !right && err != nil {
			return err
		}
		if !right {
			return transport.Errorf(transport.ErrPermanent, uri, "the content of %q in the store is not the torrent's", file.path)
		}
	}
	sw.t.AllowDataUpload()
	return nil
}

// piecesOf yields the indices of the pieces that hold bytes of a file.
func (sw *swarm) piecesOf(file entry) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for at := file.offset / sw.pieceLength; at*sw.pieceLength < file.offset+file.length; at++ {
			if !yield(int(at)) {
				return
			}
		}
	}
}

// seeds reports whether all bytes of a piece are content. The memory's lock is
// held.
func (sw *swarm) seeds(index int) bool {
	at := int64(index) * sw.pieceLength
	left := sw.pieceSize(index)
	for _, f := range sw.files {
		lo, hi := max(at, f.offset), min(at+sw.pieceSize(index), f.offset+f.length)
		if lo < hi {
			if sw.content[f.offset] == nil {
				return false
			}
			left -= hi - lo
		}
	}
	return left == 0 // else there is padding, which only v1 torrents count
}

// writeContent writes a piece that is content.
func (sw *swarm) writeContent(w io.Writer, index int) (int64, error) {
	r := io.NewSectionReader(contentPiece{sw, index}, 0, sw.pieceSize(index))
	return io.Copy(w, r)
}

// contentPiece is a piece that is content.
type contentPiece struct {
	sw    *swarm
	index int
}

// ReadAt implements io.ReaderAt.
func (c contentPiece) ReadAt(b []byte, off int64) (int, error) {
	sw := c.sw
	at := int64(c.index)*sw.pieceLength + off
	want := min(int64(len(b)), sw.pieceSize(c.index)-off)
	var n int64
	for n < want {
		sw.mem.mu.Lock()
		s := sw.contentAt(at + n)
		if s != nil {
			s.reading.RLock()
		}
		sw.mem.mu.Unlock()
		if s == nil {
			return int(n), errGone
		}
		part := b[n:min(want, n+s.offset+s.length-(at+n))]
		got, err := s.content.ReadAt(part, at+n-s.offset)
		s.reading.RUnlock()
		n += int64(got)
		if got < len(part) {
			return int(n), fmt.Errorf("content of %q: %w", s.path, err)
		}
	}
	if int(n) < len(b) {
		return int(n), io.EOF
	}
	return int(n), nil
}

// contentAt returns what is served at an offset of the torrent. The memory's
// lock is held.
func (sw *swarm) contentAt(at int64) *seeded {
	for _, s := range sw.content {
		if s.offset <= at && at < s.offset+s.length {
			return s
		}
	}
	return nil
}

// Stats are counts over all torrents joined.
type Stats struct {
	// Torrents joined and Peers connected now.
	Torrents, Peers int
	// Downloaded and Uploaded are bytes of content received from and sent to
	// peers since the torrents were joined; Wasted are those received twice or
	// not asked for any more.
	Downloaded, Uploaded, Wasted int64
	// Memory is the bytes of pieces kept.
	Memory int64
	// Banned are the addresses of peers that sent wrong pieces.
	Banned []string
}

// banned returns the addresses of peers that sent wrong pieces.
func (n *node) banned() []string {
	var all []string
	for _, ip := range n.client.BadPeerIPs() {
		// The library bans IPv4 addresses in either form.
		if addr, err := netip.ParseAddr(ip); err == nil {
			all = append(all, addr.Unmap().String())
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Stats returns counts for people to look at.
func (t *Transport) Stats() Stats {
	t.mu.Lock()
	defer t.mu.Unlock()
	var s Stats
	if t.node == nil {
		return s
	}
	for _, sw := range t.node.swarms {
		ts := sw.t.Stats()
		s.Torrents++
		s.Peers += ts.ActivePeers
		s.Downloaded += ts.BytesReadUsefulData.Int64()
		s.Uploaded += ts.BytesWrittenData.Int64()
		s.Wasted += ts.BytesReadData.Int64() - ts.BytesReadUsefulData.Int64()
	}
	s.Banned = t.node.banned()
	t.node.mem.mu.Lock()
	s.Memory = t.node.mem.used
	t.node.mem.mu.Unlock()
	return s
}
