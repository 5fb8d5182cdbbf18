package waybill

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
)

// MediaType is the type of the document, of the layer that holds it and of the
// artifact around it.
const MediaType = "application/vnd.waybill.v1+json"

// Document is a waybill. The order of its lists means nothing: priorities do.
type Document struct {
	// Issued is when the document was made; it is not in force earlier.
	Issued time.Time
	// Expires is when it ceases to be in force.
	Expires time.Time
	// Sequence orders the documents of one signer about one image: the
	// highest counts. From 0 to [MaxSequence].
	Sequence int64
	// Consignments say where single blobs are, one for each digest.
	Consignments []Consignment
	// Carriers are places that may hold any of the image's blobs.
	Carriers []Carrier
}

// Consignment is what is said of one blob.
type Consignment struct {
	// Digest is the blob's, of a registered algorithm.
	Digest digest.Digest
	// Size is the blob's, in bytes.
	Size int64
	// Aliases are what the blob is called elsewhere.
	Aliases []Alias
	// Pieces are the hashes of its parts; nil where there are none.
	Pieces *Pieces
	// Routes are places it is said to be.
	Routes []Route
}

// Alias is a name of a blob outside OCI. It is a hint: whatever is had by it is
// checked against the digest, like anything else.
type Alias struct {
	// Kind says what sort of name it is: [KindCID], [KindBTIH], [KindBTMH],
	// or another one.
	Kind string
	// Value is the name itself.
	Value string
	// Profile says how the name was made, such as "unixfs-v1-2025" for a CID;
	// may be empty.
	Profile string
	// File is which file of a torrent or directory the blob is, a relative
	// path with slashes; may be empty.
	File string
}

// The kinds of alias this package knows (spec/waybill.md §4.2).
const (
	// KindCID is an IPFS content identifier.
	KindCID = "cid"
	// KindBTIH is a BitTorrent v1 infohash: 40 hex digits.
	KindBTIH = "btih"
	// KindBTMH is a BitTorrent v2 infohash: the multihash 1220 and 64 hex
	// digits.
	KindBTMH = "btmh"
)

// Route is one place a blob is said to be.
type Route struct {
	// URI is the place, possibly relative to where the document came from.
	URI string
	// Priority is from 1, asked first, to [MaxPriority].
	Priority int
	// Geo is the country the place is in: two lower-case letters of ISO
	// 3166-1; may be empty.
	Geo string
}

// Carrier is a place that may hold any blob.
type Carrier struct {
	// Protocol says how URI is read: [ProtocolCASTemplate] and the others, or
	// one this package doesn't know.
	Protocol string
	// URI is the place or a template for its blobs, possibly relative to
	// where the document came from.
	URI string
	// Repository is the name within a registry; empty for other protocols.
	Repository string
	// Priority is as in [Route]; 0 means that none is stated, which counts as
	// [MaxPriority].
	Priority int
}

// The carrier protocols this package knows (spec/waybill.md §4.4).
const (
	// ProtocolCASTemplate is a URI template over digest, algorithm and
	// encoded (oci-discovery; spec/cas-over-http.md).
	ProtocolCASTemplate = "oci-cas-template-v1"
	// ProtocolDistribution is a registry (OCI distribution-spec).
	ProtocolDistribution = "oci-distribution-v1"
	// ProtocolIPFSGateway is a trustless IPFS gateway.
	ProtocolIPFSGateway = "ipfs-gateway-v1"
	// ProtocolSSHLayout is an OCI layout or a bare tree of blobs on an SSH
	// host.
	ProtocolSSHLayout = "ssh-layout-v1"
)

// Sort puts the lists into the canonical order (spec/waybill.md §6).
func (d *Document) Sort() {
	slices.SortStableFunc(d.Consignments, func(a, b Consignment) int { return cmp.Compare(a.Digest, b.Digest) })
	for _, c := range d.Consignments {
		slices.SortFunc(c.Aliases, compareAliases)
		slices.SortFunc(c.Routes, compareRoutes)
		if c.Pieces != nil {
			slices.SortFunc(c.Pieces.Routes, compareRoutes)
		}
	}
	slices.SortFunc(d.Carriers, compareCarriers)
}

func compareAliases(a, b Alias) int {
	return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Value, b.Value),
		strings.Compare(a.Profile, b.Profile), strings.Compare(a.File, b.File))
}

func compareRoutes(a, b Route) int {
	return cmp.Or(cmp.Compare(a.Priority, b.Priority), strings.Compare(a.URI, b.URI), strings.Compare(a.Geo, b.Geo))
}

func compareCarriers(a, b Carrier) int {
	return cmp.Or(cmp.Compare(a.effectivePriority(), b.effectivePriority()), strings.Compare(a.Protocol, b.Protocol),
		strings.Compare(a.URI, b.URI), strings.Compare(a.Repository, b.Repository), cmp.Compare(a.Priority, b.Priority))
}

func (c Carrier) effectivePriority() int {
	if c.Priority == 0 {
		return MaxPriority
	}
	return c.Priority
}
