package bittorrent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/transport"
)

// seeded is content that a file of a torrent is served from.
type seeded struct {
	entry
	content Content
	users   int          // under the node's lock
	reading sync.RWMutex // held to close content
}

// Seed serves the blob desc to the peers of the torrent that uri names, from
// Options.Content, until ctx ends, and returns ctx's error then. Pieces that the
// blob shares with a file that isn't served by another Seed, and the files that a
// layout has beside blobs, are served once other peers have sent them.
//
// What isn't in the store is [transport.ErrNotFound], content that isn't the
// torrent's [transport.ErrPermanent], and [transport.ErrRefused] where
// Options.Seed is false.
func (t *Transport) Seed(ctx context.Context, uri string, desc ocispec.Descriptor) error {
	if !t.options.Seed || t.options.Content == nil {
		return transport.Errorf(transport.ErrRefused, uri, "seeding is not switched on")
	}
	sw, file, err := t.findBlob(ctx, uri, desc, false)
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
	if size == 0 {
		content.Close() // nobody asks for it
	} else {
		sw.serve(file, content)
		defer sw.unserve(file)
	}
	if err := sw.offerFile(ctx, uri, file); err != nil {
		return err
	}
	var tasks sync.WaitGroup
	defer tasks.Wait()
	more, cancel := context.WithCancel(ctx)
	defer cancel()
	tasks.Go(func() { sw.fetchRest(more, uri, file) })
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-sw.left:
		return transport.Errorf(transport.ErrTemporary, uri, "the transport was closed")
	}
}

// errNoHashes says that a v2 torrent's content can't be verified.
var errNoHashes = errors.New("no peer has sent the hashes of the torrent's pieces")

// serve makes content that of a file. Where it is served already, that is done
// from what there is.
func (sw *swarm) serve(file entry, content Content) {
	sw.node.mu.Lock()
	defer sw.node.mu.Unlock()
	s, again := sw.content[file.offset]
	if again {
		content.Close()
	} else {
		s = &seeded{entry: file, content: content}
		sw.content[file.offset] = s
	}
	s.users++
}

// unserve takes back a serve. Peers can't be told that a piece isn't there any
// more: they are disconnected.
func (sw *swarm) unserve(file entry) {
	sw.node.mu.Lock()
	s := sw.content[file.offset]
	s.users--
	last := s.users == 0
	if last {
		delete(sw.content, file.offset)
		for i := range sw.piecesOf(file) {
			delete(sw.verified, i)
		}
		sw.dropRest(s.entry)
		for c := range sw.conns {
			if c.up.letIn {
				c.drop("less is seeded")
			}
		}
	}
	sw.node.mu.Unlock()
	if last {
		s.reading.Lock() // peers may be being served
		defer s.reading.Unlock()
		s.content.Close()
	}
}

// offerFile hashes the pieces of a file that can be served, once, and offers
// them to peers.
func (sw *swarm) offerFile(ctx context.Context, uri string, file entry) error {
	if err := sw.awaitHashes(ctx, uri, file); err != nil {
		return err
	}
	buf := make([]byte, sw.pieceLength)
	for i := range sw.piecesOf(file) {
		if err := ctx.Err(); err != nil {
			return err
		}
		sw.node.mu.Lock()
		known := sw.verified[i] || !sw.seeds(i)
		sw.node.mu.Unlock()
		if known {
			continue
		}
		piece := buf[:sw.pieceSize(i)]
		if err := sw.offerPiece(i, piece); err != nil {
			return transport.Errorf(transport.ErrPermanent, uri, "%q: %w", file.path, err)
		}
	}
	return nil
}

// offerPiece hashes a piece in buf and offers it to peers.
func (sw *swarm) offerPiece(index int, buf []byte) error {
	n := sw.node
	n.mu.Lock()
	check := sw.checker(index)
	n.mu.Unlock()
	err := sw.readContent(int64(index)*sw.pieceLength, buf)
	right := err == nil && check(buf)
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case !sw.seeds(index):
		return nil // another file of the piece went away
	case err != nil:
		return err
	case !right:
		return errors.New("the content in the store is not the torrent's")
	}
	sw.verified[index] = true
	sw.announcePiece(index)
	return nil
}

// awaitHashes waits, of a v2 torrent, for the hashes of a file's pieces.
func (sw *swarm) awaitHashes(ctx context.Context, uri string, file entry) error {
	sw.node.mu.Lock()
	sw.needHashes(file)
	sw.node.mu.Unlock()
	ctx, cancel := context.WithTimeoutCause(ctx, sw.node.options.MetadataTimeout, errNoHashes)
	defer cancel()
	for {
		sw.node.mu.Lock()
		known := file.length == 0 || sw.hashKnown(int(file.offset/sw.pieceLength))
		sw.node.mu.Unlock()
		if known {
			return nil
		}
		if err := sleep(ctx, beat); err != nil {
			if context.Cause(ctx) == errNoHashes {
				return transport.Errorf(transport.ErrTemporary, uri, "%w; %s", errNoHashes, sw.state())
			}
			return err
		}
	}
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

// seeds reports whether all bytes of a piece are content. The node's lock is
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

// readContent reads what is seeded at an offset of the torrent. What lies
// between files, where every file begins a piece, is zeros (BEP 47).
func (sw *swarm) readContent(at int64, b []byte) error {
	if sw.readRest(at, b) {
		return nil
	}
	for len(b) > 0 {
		sw.node.mu.Lock()
		s := sw.contentAt(at)
		if s != nil {
			s.reading.RLock()
		}
		sw.node.mu.Unlock()
		if s == nil {
			return errGone
		}
		end := s.offset + s.length
		part := b[:min(int64(len(b)), end-at)]
		got, err := s.content.ReadAt(part, at-s.offset)
		s.reading.RUnlock()
		if got < len(part) {
			return fmt.Errorf("content of %q: %w", s.path, noEOF(err))
		}
		at, b = at+int64(got), b[got:]
		if gap := sw.paddingAt(at); gap > 0 {
			k := min(gap, int64(len(b)))
			clear(b[:k])
			at, b = at+k, b[k:]
		}
	}
	return nil
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// paddingAt returns how many bytes from an offset on are of no file, in torrents
// where files begin pieces.
func (sw *swarm) paddingAt(at int64) int64 {
	if !sw.info.HasV2() {
		return 0
	}
	if _, in := sw.fileAt(at); in {
		return 0
	}
	return ceil(at, sw.pieceLength)*sw.pieceLength - at
}

// contentAt returns what is served at an offset of the torrent. The node's lock
// is held.
func (sw *swarm) contentAt(at int64) *seeded {
	if f, ok := sw.fileAt(at); ok {
		return sw.content[f.offset]
	}
	return nil
}
