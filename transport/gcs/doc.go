// Package gcs reads files from Google Cloud Storage: the scheme gs, as in
//
//	gs://BUCKET/PREFIX[?endpoint=URL&anonymous=true]
//
// PREFIX holds an OCI layout or a bare tree of blobs (see package filetree).
// Objects are read with plain HTTP from the XML API (elsewhere than at Google
// from the JSON API, where that alone has them), one GET for each range,
// with the answer semantics of package httprange; no Google client library
// stands between.
//
// # Credentials
//
// Application Default Credentials, looked for when first needed: the file that
// GOOGLE_APPLICATION_CREDENTIALS names, the file of "gcloud auth
// application-default login", the metadata server of a machine at Google. The
// last is given two seconds to show that it is there. Where there are none, or
// with anonymous=true, buckets are asked anonymously.
//
// A token opens everything its owner may read, so it is sent to Google
// (https://*.googleapis.com) and to the endpoint the program was configured
// with ([Options]), never to one that only a URI names, and never to an
// emulator (STORAGE_EMULATOR_HOST).
//
// # Objects stored with Content-Encoding
//
// Google decompresses an object whose metadata say "Content-Encoding: gzip" on
// the way to whoever doesn't ask for gzip, ignores ranges then, and states no
// length. What arrives is not what is stored, and not what can be read in
// parts. We ask for identity, as everywhere, and such an object is
// [transport.ErrPermanent] with an error that says what to do: a blob's bytes are
// those that were stored, and no coding is ever decoded.
package gcs
