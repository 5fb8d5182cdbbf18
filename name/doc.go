// Package name reads what people call an image: a reference in a registry, an
// image in a local layout or archive, or a bare digest. It says what is meant
// and opens nothing; no file or host is looked at.
//
// # Grammar
//
//	name     := registry / local / place / host / parcel / abd / appc / digest
//	registry := ["docker://"] [HOST[":"PORT] "/"] REPOSITORY [":" TAG] ["@" digest]
//	local    := scheme ":" path [":" ref] ["@" digest]
//	scheme   := "oci" / "oci-archive" / "docker-archive"
//	place    := URI ["#" ref] ["@" digest]
//	host     := HOST "/" PATH "#" [fragment] ["@" digest]
//	parcel   := "parcel:" HOST "/" PATH ["@" digest]
//	abd      := "abd:" IDENTIFIER *("," LABEL "=" VALUE) ["@" digest]
//	appc     := "appc:" NAME [":" VERSION] *("," LABEL "=" VALUE) ["@" digest]
//	digest   := "sha256:" 64hex / "sha512:" 128hex / "blake3:" 64hex
//
// A registry reference is read with the grammar and the short names of
// github.com/distribution/reference: "alpine" is
// "docker.io/library/alpine:latest".
//
// # Paths and colons
//
// As in containers-transports(5), the path of a local name ends at its first
// colon and all that follows is the ref, which may hold colons of its own
// ("docker-archive:all.tar:docker.io/library/alpine:3.20"). A path that holds a
// colon itself is written with "%3A" for it ("oci:/srv/a%3Ab"), and with "%25"
// for a percent sign that stands before "3A" or "25"; any other percent sign
// stands for itself.
//
// # Places
//
// A place is an OCI layout somewhere else: sftp://HOST/DIR, s3://BUCKET/PREFIX,
// ipfs://CID, magnet:?xt=… and their like. The URI is kept as it is written; its fragment,
// percent-decoded, is the ref. In torrent:FILE, FILE is a path without escapes.
//
// # Published names
//
// A host-based name (oci-discovery) is told from a registry's by its "#", which
// may stand at the end. What of it is valid is for package discovery/oci to
// say. Names of parcel, abd and appc have "parcel:", "abd:" or "appc:" before
// them; what may follow is for the packages of those protocols to say.
//
// The ref "@N" is the N-th image of the layout or archive, counting from 0.
package name
