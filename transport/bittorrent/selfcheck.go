package bittorrent

import (
	"sync/atomic"
	_ "unsafe" // for go:linkname
)

// selfCheck counts the library's checks of itself: each is done when calls
// reaches two to the power of shift. One of them is wrong, and ends the program,
// for v2 torrents while the hashes of pieces aren't known yet: it holds the
// pieces pending against those in the order of requests, and pieces without a
// hash are in the former only (anacrolix/torrent v1.61.0,
// Torrent.updatePendingPieces, checkPendingPiecesMatchesRequestOrder). There is
// no other way to switch it off. TestVersions fails should it move.
//
//go:linkname selfCheck github.com/anacrolix/torrent/internal/amortize.global
var selfCheck struct {
	calls atomic.Int64
	shift atomic.Int32
}

// skipSelfCheck puts the next check off for ever.
func skipSelfCheck() { selfCheck.shift.Store(62) }
