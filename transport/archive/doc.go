// Package archive is the transport of schemes "oci-archive", a tar of an OCI
// image layout, and "docker-archive", a tar as "docker save" writes it. Its
// routes are written oci-archive:FILE and docker-archive:FILE, in the grammar of
// package name; a ref behind FILE has no meaning for blobs.
//
// An archive is read through once to learn where each member lies; after that
// any range of a blob is read straight from its place in the file. What was
// learnt is kept in memory until the file changes. An archive that is compressed
// as a whole (gzip or zstd) is unpacked once into an unlinked temporary file.
//
// # The manifest of a docker-archive
//
// Such an archive holds a config and uncompressed layers but no manifest. One
// is made from them, always the same for the same archive, and byte for byte
// the one that skopeo and podman make (Docker schema 2, each layer under its
// diff_id), so that the image has the same digest everywhere. As there, the
// layers' media type says gzip although they are plain tars: readers of
// layers have to look at the first bytes. A member that is in fact gzipped is
// described by the digest of its own bytes.
//
// Archives written by Docker 25 and later are OCI layouts as well. Read them
// as oci-archive to get the manifests as they were pulled or built.
package archive
