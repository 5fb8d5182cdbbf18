// Package bittorrent is the transport of the schemes magnet and torrent: blobs
// that are files of a torrent, of BitTorrent v1 (BEP 3), v2 (BEP 52) or both.
//
//	magnet:?xt=urn:btih:HASH&tr=TRACKER&x.pe=HOST:PORT#PATH
//	torrent:FILE#PATH
//
// The swarm is found through trackers, the DHT, peer exchange, local service
// discovery (BEP 14), and the peers that the URI names. Web seeds are not asked:
// the library's way to do so can end the program. The BitTorrent protocol itself
// is github.com/anacrolix/torrent's.
//
// Which file of the torrent a blob is: the one #PATH names; else the one named
// after the digest (an OCI layout or a bare tree shared as a torrent); else the
// one whose v2 pieces root is the digest; else the only one, if it has the
// blob's size.
//
// Metadata that peers send are checked here, hash first, before they are decoded:
// the library alone could be ended by a peer (see the type metadata).
//
// Nothing is written to disk. Only the pieces of open ranges are requested, and
// some beyond the last while ranges follow each other; they are kept in memory,
// no more than [Options].Memory of them, from their first block until whoever
// reads the range has taken them. A piece is handed on when its hash is right,
// so that a peer that lies costs that peer and not the source.
//
// Nothing is uploaded unless [Options].Seed says so.
package bittorrent
