// Package local is what the transports of bytes on this machine share: opening
// regular files that can't lead out of their directory, and reading ranges of
// them as the contract of package transport wants it.
//
// # Symbolic links
//
// A link is followed as long as it stays within the directory. One that leads
// out is refused: a layout that was unpacked from somewhere must not make us
// read other files of this machine. Devices, sockets and named pipes are
// refused too, without waiting for a writer.
package local
