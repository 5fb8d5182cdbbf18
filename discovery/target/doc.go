// Package target reads the URIs that discovery documents hold: what each leads
// to, and whether a document from elsewhere may send anybody there at all
// (spec/security.md §2). It asks nobody.
//
//	t, err := target.Parse("docker://quay.io/coreos/etcd:1.0.0")
//
// An error says why a URI is refused, for the one line that tells about it; a
// document goes on being read without it.
//
// Which address is dialled in the end is judged where it is dialled: a Target
// with Remote set is a place named by somebody else.
package target
