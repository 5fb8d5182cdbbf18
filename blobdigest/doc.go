// Package blobdigest reads and computes the digests that name blobs: the
// algorithms registered by the OCI image specification (descriptor.md,
// "Registered Algorithms"): sha256, sha512 and blake3.
//
// It uses the types of github.com/opencontainers/go-digest, whose own
// validation is not enough here: it doesn't know blake3, accepts sha384, which
// OCI doesn't register, and panics when asked for the hash of an algorithm it
// lacks. A digest that came out of [Parse] or passed [Validate] is safe to use
// as a path: it holds one colon and nothing but lower-case letters and digits.
package blobdigest
