// Package waybills finds and reads waybills (spec/waybill.md) and has them asked
// where an image's blobs are, and for the hashes of their pieces.
//
//	client := waybills.New(waybills.Options{Docs: docs})
//	bill, err := client.Given("app.waybill.json") // a file or URL the user named
//	about := bill.About(image)
//	for route, err := range about.Locate(ctx, desc) { … }
//
//	// looked for where the image's name leads, once, when first asked
//	search := client.Search(ctx, image, client.Referrers(registry, uri), client.WellKnown(host))
//	for route, err := range search.Locate(ctx, desc) { … }
//
// A waybill is a hint. One that is expired, superseded, about another image, or
// garbage is ignored, with a note that says so; so is each entry that may not
// be used. Neither fails an image, and nobody has to wait for a search.
//
// None of them is signed yet, as far as this package knows. So a document from
// the network, or from a layout, leads only to its own origin and to those that
// local policy allows already (spec/waybill.md §9); a file the user named is
// trusted as if what is in it were typed.
package waybills
