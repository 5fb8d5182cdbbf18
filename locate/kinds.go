package locate

import (
	"iter"
	"slices"
)

// Kind is a kind of source that [From] reads. The table of kinds is what the
// help of --from, the completion of the shell and the table in the README are
// made of.
type Kind struct {
	// Schemes are those of its URIs.
	Schemes []string
	// Forms show how its URIs are written, the usual one first.
	Forms []string
	// What says what the source is.
	What string
	// Name reports whether such a URI may be an image's name too.
	Name bool
	// Page is the page about it in docs/, with the anchor where it has one.
	Page string

	parse func(uri, origin string) (Locator, error)
}

// kinds is the table. The order is that in which people are told of them.
var kinds = []Kind{
	{
		Schemes: []string{"docker"}, Forms: []string{"docker://HOST/REPO[:TAG][@DIGEST]", "HOST/REPO:TAG", "alpine"},
		What: "a registry", Name: true, Page: "sources.md#registry", parse: fromNamed,
	},
	{
		Schemes: []string{"oci"}, Forms: []string{"oci:DIR[:REF]"},
		What: "an OCI layout in a directory", Name: true, Page: "sources.md#layout", parse: fromNamed,
	},
	{
		Schemes: []string{"oci-archive"}, Forms: []string{"oci-archive:FILE[:REF]"},
		What: "a tar of one", Name: true, Page: "sources.md#archive", parse: fromNamed,
	},
	{
		Schemes: []string{"docker-archive"}, Forms: []string{"docker-archive:FILE[:REF]"},
		What: "what `docker save` writes", Name: true, Page: "sources.md#docker-save", parse: fromNamed,
	},
	{
		Schemes: []string{"https", "http"}, Forms: []string{"https://HOST/blobs/", "https://HOST/{algorithm}/{encoded}"},
		What: "a plain web server: a base that ends in `/`, or a URI template (RFC 6570)", Page: "sources.md#web-server", parse: fromHTTP,
	},
	{
		Schemes: []string{"ni"}, Forms: []string{"ni://HOST", "ni://HOST/sha-256;VALUE"},
		What: "a web server that has blobs at `/.well-known/ni/` (RFC 6920)", Page: "sources.md#web-server", parse: fromNI,
	},
	{
		Schemes: []string{"sftp", "ssh"}, Forms: []string{"sftp://[USER@]HOST[:PORT]/DIR"},
		What: "an SSH host: an OCI layout or a directory of blobs", Name: true, Page: "transport-ssh.md", parse: fromPlace,
	},
	{
		Schemes: []string{"ftp", "ftps", "ftpes"}, Forms: []string{"ftp://[USER@]HOST[:PORT]/DIR", "ftps://HOST/DIR"},
		What: "the same on an FTP server", Name: true, Page: "transport-ftp.md", parse: fromPlace,
	},
	{
		Schemes: []string{"s3"}, Forms: []string{"s3://BUCKET/PREFIX[?endpoint=URL&region=REGION]"},
		What: "the same in S3, or in what speaks its protocol", Name: true, Page: "transport-s3.md", parse: fromPlace,
	},
	{
		Schemes: []string{"gs"}, Forms: []string{"gs://BUCKET/PREFIX"},
		What: "the same in Google Cloud Storage", Name: true, Page: "transport-gcs.md", parse: fromPlace,
	},
	{
		Schemes: []string{"azblob"}, Forms: []string{"azblob://ACCOUNT/CONTAINER/PREFIX"},
		What: "the same in Azure Blob Storage", Name: true, Page: "transport-azblob.md", parse: fromPlace,
	},
	{
		Schemes: []string{"ipfs", "ipns"}, Forms: []string{"ipfs://CID[/PATH]", "ipns://NAME[/PATH]"},
		What: "the same in IPFS; or one file", Name: true, Page: "transport-ipfs.md", parse: fromPlace,
	},
	{
		Schemes: []string{"ipfs+https", "ipfs+http"}, Forms: []string{"ipfs+https://GATEWAY"},
		What: "an IPFS gateway, for blobs of one block", Page: "transport-ipfs.md", parse: fromURI,
	},
	{
		Schemes: []string{"magnet"}, Forms: []string{"magnet:?xt=…[#FILE]"},
		What: "BitTorrent: a layout, or one file", Name: true, Page: "transport-bittorrent.md", parse: fromMagnet,
	},
	{
		Schemes: []string{"torrent"}, Forms: []string{"torrent:FILE[#FILE]"},
		What: "BitTorrent, by a `.torrent` file", Name: true, Page: "transport-bittorrent.md", parse: fromTorrent,
	},
	{
		Schemes: []string{"file"}, Forms: []string{"file:///DIR"},
		What: "a directory of blobs", Page: "sources.md#directory", parse: fromFile,
	},
}

// anyScheme is the kind of every other URI.
var anyScheme = Kind{
	Forms: []string{"SCHEME://…"}, What: "whatever a program `waybill-transport-SCHEME` on the PATH can read",
	Page: "transport-exec.md", parse: fromURI,
}

// Kinds yields the kinds of sources there are. The last one, without Schemes,
// is for every other scheme.
func Kinds() iter.Seq[Kind] {
	return func(yield func(Kind) bool) {
		for _, k := range kinds {
			if !yield(k) {
				return
			}
		}
		yield(anyScheme)
	}
}

// kindOf returns the kind of URIs of a scheme.
func kindOf(scheme string) (Kind, bool) {
	i := slices.IndexFunc(kinds, func(k Kind) bool { return slices.Contains(k.Schemes, scheme) })
	if i < 0 {
		return Kind{}, false
	}
	return kinds[i], true
}
