package bittorrent

import (
	"context"
	"io"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

const (
	// maxRest is how many bytes of the rest of a torrent are kept; see fetchRest.
	maxRest = 16 << 20
	// restAfter is how long after a blob is seeded the rest is asked for, since
	// other blobs may be seeded, too; restAgain is when what nobody sent is asked
	// for again.
	restAfter, restAgain = time.Second, 30 * time.Second
)

// fetchRest has peers send what is missing beside a file that is seeded: the
// pieces that it shares with files that aren't, and those of the files that a
// layout has beside blobs. Without them nobody who downloads the torrent from
// this peer would ever be done. They are kept in memory. It returns when all of
// them are here, or ctx ends.
func (sw *swarm) fetchRest(ctx context.Context, uri string, file entry) {
	for wait := restAfter; sleep(ctx, wait) == nil; wait = restAgain {
		missing := sw.restOf(file)
		for _, i := range missing {
			if err := sw.fetchPiece(ctx, uri, i); err != nil {
				sw.node.options.Log.Debug("seeding", "piece", i, "error", err)
				break
			}
		}
		if len(missing) == 0 {
			return
		}
	}
}

// restOf returns the pieces that fetchRest is to get, as far as there is room.
func (sw *swarm) restOf(file entry) (missing []int) {
	sw.node.mu.Lock()
	defer sw.node.mu.Unlock()
	room := min(maxRest, sw.mem.limit/4)
	for _, b := range sw.rest {
		room -= int64(len(b))
	}
	add := func(f entry) {
		for i := range sw.piecesOf(f) {
			if size := sw.pieceSize(i); !sw.verified[i] && !sw.seeds(i) && size <= room {
				missing = append(missing, i)
				room -= size
			}
		}
	}
	add(file)
	for _, f := range sw.files {
		if f.path == ocispec.ImageIndexFile || f.path == ocispec.ImageLayoutFile {
			add(f)
		}
	}
	return missing
}

// fetchPiece reads a piece, and offers it to peers.
func (sw *swarm) fetchPiece(ctx context.Context, uri string, index int) error {
	sw.node.mu.Lock()
	_, here := sw.rest[index] // for another file
	sw.node.mu.Unlock()
	if here {
		return nil
	}
	sw.want()
	piece := entry{extent: extent{int64(index) * sw.pieceLength, sw.pieceSize(index)}}
	file := piece
	if sw.info.HasV2() { // whose files share no pieces, and have hashes of their own
		file, _ = sw.fileAt(piece.offset)
	}
	sw.use()
	b := sw.open(ctx, uri, file, piece.offset-file.offset, piece.length)
	defer b.Close()
	content := make([]byte, piece.length)
	if _, err := io.ReadFull(b, content); err != nil {
		return err
	}
	sw.node.mu.Lock()
	defer sw.node.mu.Unlock()
	sw.rest[index] = content
	sw.verified[index] = true
	sw.announcePiece(index)
	return nil
}

// readRest reads from a piece that is kept, if it is. What follows it within its
// length is padding.
func (sw *swarm) readRest(at int64, b []byte) bool {
	sw.node.mu.Lock()
	content, here := sw.rest[int(at/sw.pieceLength)]
	sw.node.mu.Unlock()
	if here {
		n := copy(b, content[min(at%sw.pieceLength, int64(len(content))):])
		clear(b[n:])
	}
	return here
}

// dropRest forgets what was kept beside a file, or, where nothing is seeded any
// more, all of it. The node's lock is held.
func (sw *swarm) dropRest(file entry) {
	for i := range sw.piecesOf(file) {
		delete(sw.rest, i)
	}
	if len(sw.content) == 0 {
		for i := range sw.rest {
			delete(sw.verified, i)
		}
		clear(sw.rest)
	}
}
