// Package parcel reads what a host publishes by the draft "OCI Parcel
// Extension" (github.com/cyphar/parcel, 2017): where the index of an image is,
// and where its blobs are, as URI templates in static files.
//
//	c := parcel.New(parcel.Options{Docs: docs})
//	n, err := parcel.Parse("example.com/opensuse")
//	img, err := c.Resolve(ctx, n)          // the index, and who said so
//	from := img.Distribution.Locator()     // routes for its blobs
//
// A walk has three stages. https://AUTHORITY/.well-known/x-parcel lists
// versions; x-parcel.VERSION is a template descriptor, which leads, perhaps by
// way of others, to a plain distribution; that holds the templates of the index
// and of the blobs.
//
// Nothing of it is believed further than that: an index is what the host says a
// name means, as with every resolver, and blobs are verified by their digests.
// Documents, which aren't, are only read over https. Everything a document
// names is remote-supplied (spec/security.md §2), except at the host and port
// that the name itself has, which the user typed.
//
// The draft contradicts itself in places. What is done about it is in
// docs/earlier-proposals.md, and in spec/vectors/parcel.
package parcel
