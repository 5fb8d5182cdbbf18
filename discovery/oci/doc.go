// Package oci speaks oci-discovery (github.com/xiekeyang/oci-discovery, 2017): it
// finds out what a host-based image name such as example.com/app#1.0 means, from
// documents that are static files on a web server or on this machine.
//
//	name, err := oci.Parse("example.com/app#1.0")
//	answer, err := oci.New(oci.Options{Docs: docs}).Resolve(ctx, name)
//	for _, c := range answer.Candidates { … c.Descriptor … c.From … }
//
// Three kinds of document are read:
//
//   - discovery documents, which name ref engines and CAS engines: this machine's
//     oci-discovery/ref-engine-discovery.json below the XDG configuration
//     directories, and https://HOST/.well-known/oci-host-ref-engines of the name's
//     host or the nearest of its DNS ancestors that has one;
//   - the indexes that ref engines (oci-index-template-v1) lead to, whose entries
//     called as the name says are the candidates;
//   - CAS engines (oci-cas-template-v1) in any of them, which a [locate.Locator]
//     is made of: [Engine.Locator]. Those in indexes from elsewhere, a registry or
//     a layout, [Within] reads.
//
// # Where the publication leaves room
//
//   - A document that isn't JSON is refused. That holds for the published examples
//     with a comma before a closing bracket and for the one with "\." in a string.
//   - The longest matching expression comes first, ties in byte order. The example
//     beside that rule says the opposite of it. Lengths are in bytes, which are
//     the characters of the POSIX locale.
//   - Expressions match anywhere in the name; who wants it whole writes ^ and $.
//   - Templates are expanded to the letter: {path} makes c%2Fd of c/d, whatever
//     the example shows. Static servers take that for c/d. Publishers should write
//     {+path}, and {+host} where the host may be an IPv6 address.
//   - Templates of CAS engines may use the name's variables too, as a published
//     example does.
//   - Entries of an index count if they are called as the fragment says, or as the
//     whole name is written.
//   - A relative template in a local file leads to a file, and is refused.
//   - $XDG_CONFIG_DIRS that are relative are passed over (XDG Base Directory
//     Specification), though a published test has one.
//
// Vectors are in spec/vectors/oci-discovery.
//
// # What documents may do
//
// Everything is bounded (the Max constants). An entry that can't be used is told
// to Options.Note and costs nothing but itself. What a document from https leads
// to is https as well. Requests that a remote document asks for go to public
// addresses only ([netclass.Public]), except to hosts that the name itself, or
// local configuration, had asked: spec/security.md §3.
package oci
