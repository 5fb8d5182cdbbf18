// Package sftp is the transport of schemes "sftp" and "ssh", which mean the
// same: an OCI layout or a bare tree of blobs on a host that is reached by SSH.
//
//	sftp://[USER[:PASSWORD]@]HOST[:PORT]/DIR     an absolute DIR
//	sftp://[USER[:PASSWORD]@]HOST[:PORT]/~/DIR   below the user's home directory
//
// HOST may be an alias of ~/.ssh/config; package openssh says what is read
// there, how a host key comes to be trusted and which keys are offered.
//
// # Speed
//
// A file is read with many requests under way at once: few at first, then up to
// 4 MiB, so that a long way doesn't slow it down and a short range doesn't cost
// more than itself. No more is requested than was asked for.
//
// The few messages of SFTP that this takes are written and read here, not by
// package github.com/pkg/sftp: content goes from the connection into the buffer
// that was waiting for it, where the package allocates one for every answer and
// copies it, and what is requested while a message is being sent goes in one.
//
// One connection is one core of deciphering here and one of enciphering there,
// so up to four are opened to a host when several ranges are read at once;
// more ranges share them. A connection serves the next range, is dropped when
// the server is silent for half a minute, and is closed after a minute without
// use. BenchmarkRead compares with sftp(1) and scp(1).
package sftp
