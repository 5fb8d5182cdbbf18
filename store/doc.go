// Package store keeps blobs by digest in a local directory, together with the
// names that refer to them and the parts of blobs that are still being fetched.
package store
