// Package waybill is Waybill's location document: one small, signable file that
// says where the blobs of an image may be had, and never what they are. The
// format is spec/waybill.md.
//
// A [Document] holds consignments (one blob each: its routes, its names outside
// OCI, the hashes of its pieces) and carriers (places that may hold any blob).
// [Parse] reads one strictly, [Document.Marshal] writes the canonical form.
//
//	doc, err := waybill.Parse(content)
//	err = doc.InForce(time.Now())
//	places, err := doc.Places(waybill.From{Base: "https://mirror.example/app.json"})
//	for entry, err := range places.Routes(desc) { … }
//
// Everything in a document is a hint from a place nobody vouches for. What is
// wrong with the document as a whole is an error of Parse, and the document is
// ignored; what is wrong with one entry is an error in its place among the
// routes, and only that entry is. Neither fails an image: its origin is still
// there to be asked.
//
// The package asks nobody and opens nothing. Which entry becomes a request, and
// whether the address behind it may be dialled (spec/security.md), is decided by
// those who use it.
package waybill
