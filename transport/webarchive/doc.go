// Package webarchive reads tars of OCI layouts where they lie, on web servers:
// routes are oci-archive+https://HOST/FILE.tar and oci-archive+http://…. The
// headers of the tar are read once, each with a small range; from then on any
// range of a blob is a range of the archive, so that one archive serves many
// readers at once and nothing is kept on disk.
//
//	t := webarchive.New(https.New(client))
//
// The server has to know ranges (RFC 9110 §14). An archive that is compressed as
// a whole has no ranges that mean anything, and is refused: layers are compressed
// already. What is in an archive is looked up as package filetree does it.
//
// An archive that changes its size while it is being read is read anew; any other
// change is found by the digests.
package webarchive
