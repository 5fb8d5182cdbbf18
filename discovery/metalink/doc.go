// Package metalink finds further places of a blob that lies on a web server: what
// the server says in the header of its answer (Metalink/HTTP, RFC 6249) and in
// the metalink document that the header leads to (RFC 5854).
//
//	Link: <https://mirror.example/a.tgz>; rel=duplicate; pri=1; geo=de; depth=2
//	Link: <a.tgz.meta4>; rel=describedby; type="application/metalink4+xml"
//
// [Client.Locator] wraps the locators that name the first places. It yields what
// they yield and asks the web servers among those with one HEAD each, for blobs
// large enough to be worth a request. It follows no link beyond that: places that
// a metalink named aren't asked for more.
//
// # What is believed
//
// Nothing but where to look. A metalink's file is the blob only where it states
// the digest of the descriptor, by the same algorithm, and no other size; so is an
// answer's Repr-Digest or Digest, where there is one. All places are marked as
// remote, so that they are asked in the public network only and without
// credentials; those at the very origin of the place that named them may be where
// that one is.
//
// Piece hashes (sha-256) are handed to whoever wants them. They are as good as the
// server that serves them, see spec/security.md §6.
//
// # Torrents
//
// A .torrent file that a link or metaurl leads to becomes a magnet link, if
// [Options].Torrents says so; magnet links among a metalink's metaurls are places
// as they are. Which file of a torrent the blob is, and whether its pieces are
// right, is for the transport to find.
package metalink
