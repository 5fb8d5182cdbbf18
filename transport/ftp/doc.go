// Package ftp is the transport of the schemes ftp, ftpes and ftps: the files
// below a directory of an FTP server, an OCI layout or a bare tree of blobs
// (see package filetree).
//
//	ftp://[USER[:PASSWORD]@]HOST[:PORT]/DIR     no encryption, port 21
//	ftpes://…                                   TLS after AUTH TLS, port 21 (RFC 4217)
//	ftps://…                                    TLS from the first byte, port 990
//
// As RFC 1738 §3.2.2 has it, DIR is relative to the directory the login leads
// to; one from the root begins with %2F: ftp://HOST/%2Fsrv/images. Unlike there, and like
// "curl --ftp-method nocwd", a file is asked for by its whole path instead of
// by changing into one directory after the other: a connection then has no
// state that the next request would have to undo.
//
//	ftp://HOST/DIR/FILE;type=i
//
// is one file that is one blob, whatever it is called: the transfer type of RFC 1738
// tells a file from a directory.
//
// Places that somebody else's document named are for a transport of their own,
// see [Options].Public.
//
// # How a range is read
//
// SIZE, EPSV (or PASV), REST, RETR. FTP has no end of a range: the server sends
// all the rest of the file, so a range that ends before the file is cut by
// closing the data connection. The server says 426 or 226 to that. This reply
// is read when the connection is used for the next range, where it has long
// arrived, and not in Close; if it doesn't come the connection is given up.
// ABOR is never sent: servers answer it with one reply or two, and many only
// look for it between transfers, when it means something else. Reuse
// saves the five to nine round trips of a login.
//
// Connections are passive only, and the data connection always goes to the
// address of the control connection. What address PASV names is ignored: a
// server that names another one has us connect to a third party (the bounce
// attack, RFC 2577), or is behind a translator it doesn't know of.
//
// TLS protects the data as well (PROT P), and its sessions resume the one of
// their control connection, which vsftpd and others require as proof that both
// have one owner. There is no falling back to no encryption.
//
// # Why no library
//
// github.com/jlaffaye/ftp is the one Go programs use. Its Login loses the code
// of a refused USER, so that "too many users" can't be told from "no such
// user"; it reads replies of any length and number of lines; what stands in
// the buffer before AUTH TLS is answered is dropped rather than refused (the
// injection of CVE-2011-0411); and closing a response waits for the reply to a cut
// transfer. What is needed here is six commands.
package ftp
