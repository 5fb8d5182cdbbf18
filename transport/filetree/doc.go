// Package filetree makes a source of any place that keeps files under names: an
// SSH host, an FTP server, a bucket, an IPFS directory. It finds by looking
// whether the place is an OCI layout (blobs/ALGORITHM/HEX) or a bare tree
// (ALGORITHM/HEX), and reads the names a layout holds.
//
// A transport of such a place implements [Files] and wraps itself in a [Tree].
package filetree
