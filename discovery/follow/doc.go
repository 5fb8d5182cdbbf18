// Package follow goes where the documents of discovery protocols lead (package
// target) and finds out which image is there: the step from a place to a digest.
//
//	f := follow.New(follow.Options{Docs: docs, Registry: registry, Local: locals})
//	resolution, err := f.Resolve(ctx, t, follow.Request{Origin: "abd https://…"})
//
// What each kind of target means:
//
//   - a registry reference: what the registry says its tag is. The registry is
//     asked without credentials, within the public network.
//   - an index: the document itself is the image, by the digest of its bytes;
//     where its entries have refs it is a layout's index.json, and the image one
//     of them. Blobs of an index.json are looked for beside it, in
//     blobs/ALGORITHM/ENCODED.
//   - an archive, a layout, a place: the image that is in the layout there.
//
// With a digest in the request only that image will do. Of several targets that a
// document names, [Client.First] takes the first that gives the image.
//
// The locators it returns mark their routes as Remote where somebody else named
// the place (spec/security.md §3).
package follow
