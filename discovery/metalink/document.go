package metalink

import (
	"github.com/opencontainers/go-digest"
)

// The media types of documents that links lead to.
const (
	// MediaType is a metalink's (RFC 5854 §7.1).
	MediaType = "application/metalink4+xml"
	// MediaTypeTorrent is a torrent's.
	MediaTypeTorrent = "application/x-bittorrent"
)

// Namespace is that of a metalink's elements.
const Namespace = "urn:ietf:params:xml:ns:metalink"

// LeastPriority is what an entry without one has: it is asked last (RFC 5854
// §4.1.3, RFC 6249 §3.1).
const LeastPriority = 999_999

// Limits. Beyond one there is an error, or a note, that names it.
const (
	// MaxDocument is the largest metalink, in bytes.
	MaxDocument = 4 << 20
	// MaxFiles is how many files one may describe.
	MaxFiles = 1000
	// MaxURLs is how many urls and metaurls a file may have together.
	MaxURLs = 500
	// MaxDepth is how deep its elements may be nested.
	MaxDepth = 16
	// MaxAttributes is how many attributes an element may have.
	MaxAttributes = 32
	// MaxText is the longest text of an element or attribute, in bytes.
	MaxText = 8192
	// MaxLinks is how many links of one answer are looked at.
	MaxLinks = 100
	// MaxDescriptions is how many metalinks of one answer are read, and how many
	// torrents of one answer or metalink.
	MaxDescriptions = 2
	// MaxPlaces is how many places are asked for links for one blob.
	MaxPlaces = 8
	// MaxNotes is how many entries of one answer or document are told of that
	// were refused.
	MaxNotes = 50
)

// File is what a metalink says of one file.
type File struct {
	// Name is what it calls the file.
	Name string
	// Size is in bytes, -1 where it states none.
	Size int64
	// Digests are those of the whole file, by algorithms that descriptors may
	// use.
	Digests []digest.Digest
	// Pieces are the sha-256 hashes of its parts, nil where there are none.
	Pieces *Pieces
	// URLs are places of the file, and MetaURLs of documents by which it can be
	// had, each in the order of the document.
	URLs     []URL
	MetaURLs []MetaURL
}

// URL is a place of a file.
type URL struct {
	URI string
	// Priority is from 1, asked first, to [LeastPriority].
	Priority int
	// Location is a country (ISO 3166-1 alpha-2), or empty. It isn't used.
	Location string
}

// MetaURL is a place of a document by which a file can be had.
type MetaURL struct {
	URL
	// MediaType is the document's: "torrent" for a torrent, or a media type.
	MediaType string
	// Name is what the document calls the file, empty where it has one only.
	Name string
}

// Pieces are the sha-256 hashes of a blob's parts, in order. All parts have the
// same length but the last, which may be shorter.
type Pieces struct {
	// Length is that of a part, in bytes.
	Length int64
	// Hashes are of 32 bytes each.
	Hashes [][]byte
}

// Cover reports whether there is a hash for each part of a blob of the size, and
// none besides.
func (p *Pieces) Cover(size int64) bool {
	n := int64(len(p.Hashes))
	return p.Length > 0 && n > 0 && size > 0 && (size-1)/p.Length+1 == n
}
