// Package peer is one connection to a BitTorrent peer: the handshake (BEP 3), in
// the clear or obfuscated (message stream encryption), and the messages after
// it, each with a limit of its own. What they are about is the caller's.
package peer
