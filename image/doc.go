// Package image understands the documents images are made of: OCI manifests
// and indexes (image-spec manifest.md, image-index.md), Docker's schema 2
// manifests and manifest lists, and image configurations. It parses them
// strictly, picks platforms, and walks from a root descriptor to every blob
// below it.
//
// It reads documents that come from anywhere, so each of its inputs has a cap,
// and a document that two readers could understand differently is refused: one
// that is both a manifest and an index or states another media type than it was
// served with (CVE-2021-41190), one with duplicate keys, or with keys that
// differ from known ones in case only.
//
// It doesn't check digests; bytes are verified where they are stored.
package image
