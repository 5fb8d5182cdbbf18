// Package bittorrent is the transport of the schemes magnet and torrent: blobs
// that are files of a torrent, of BitTorrent v1 (BEP 3), v2 (BEP 52) or both.
//
//	magnet:?xt=urn:btih:HASH&tr=TRACKER&x.pe=HOST:PORT&ws=WEBSEED#PATH
//	torrent:FILE#PATH
//
// The swarm is found through trackers, the DHT, peer exchange, local service
// discovery (BEP 14), and the peers that the URI names; web seeds (BEP 19) supply
// blocks as peers do. The protocol of peers is spoken here, for what is needed
// here: ranges that move over blobs. Of github.com/anacrolix/torrent, the codecs,
// the encryption and the DHT are used.
//
// Which file of the torrent a blob is: the one #PATH names; else the one named
// after the digest (an OCI layout or a bare tree shared as a torrent); else the
// one whose v2 pieces root is the digest; else the only one, if it has the
// blob's size. A torrent of an OCI layout resolves names, too.
//
// Metadata that peers send are checked, hash first, before they are decoded.
//
// Nothing is written to disk. Only the pieces of open ranges are requested, and
// some beyond the last while ranges follow each other; they are kept in memory,
// no more than [Options].Memory of them, from when they are wanted until whoever
// reads the range has taken them. Every block of a wanted piece is here, or
// requested at a supplier that is there, or free to be requested: see the type
// piece. A piece is handed on when its hash is right, so that a peer that lies
// costs that peer and not the source.
//
// Nothing is uploaded unless [Options].Seed says so.
package bittorrent
