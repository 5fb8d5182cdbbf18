// Package exec is the transport of every scheme that nothing here knows of: a
// program on the PATH called waybill-transport-SCHEME reads the ranges, and is
// asked for them over its standard input and output. The protocol is specified
// in spec/transport-exec.md; docs/transport-exec.md has a program of forty
// lines.
//
//	t := exec.New("demo", exec.Options{})
//	defer t.Close()
//	body, err := t.Open(ctx, transport.Route{URI: "demo:///srv/images"}, desc, 0, desc.Size)
//
// A process answers one request at a time, and many one after the other. As
// many run as there are ranges open, up to a limit; those with nothing to do
// are kept for a while. A process is killed, with everything it started, where
// a range isn't read to its end, where its context is cancelled, and where it
// says anything that isn't in the protocol: whatever state it is in then is
// nothing to build on.
//
// The program is the user's own, as trusted as any other on the PATH: it runs
// with the user's rights and environment. What it sends is not trusted; it is
// verified like the bytes of any other place.
package exec
