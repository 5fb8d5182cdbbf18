package waybill

import "github.com/waybill-project/waybill/uritmpl"

// Caps on a document (spec/waybill.md §7). Beyond one the document is refused
// with an [ErrLimit] that names it.
const (
	// MaxDocument is the largest document, in bytes.
	MaxDocument = 4 << 20
	// MaxDepth is how deep objects and arrays may nest, unknown ones too.
	MaxDepth = 16
	// MaxMembers is how many members one object may have, unknown ones too.
	MaxMembers = 1000
	// MaxConsignments is how many consignments a document may hold.
	MaxConsignments = 10_000
	// MaxCarriers is how many carriers a document may hold.
	MaxCarriers = 256
	// MaxAliases is how many aliases a consignment may have.
	MaxAliases = 16
	// MaxRoutes is how many routes a consignment, or its pieces, may have.
	MaxRoutes = 64
	// MaxURI is the longest URI, reference or template, in bytes.
	MaxURI = 4096
	// MaxToken is the longest alias kind, alias profile or carrier protocol, in
	// bytes.
	MaxToken = 64
	// MaxAlias is the longest value of an alias, in bytes.
	MaxAlias = 1024
	// MaxFile is the longest file name of an alias, in bytes of UTF-8.
	MaxFile = 1024
	// MaxRepository is the longest repository name, in bytes.
	MaxRepository = 255
	// MaxSize is the largest size of a blob, in bytes (1 PiB).
	MaxSize = 1 << 50
	// MaxSequence is the largest sequence: what every reader of JSON can hold
	// (RFC 7493 §2.2).
	MaxSequence = 1<<53 - 1
	// MaxPriority is the largest priority, which is the last to be asked
	// (RFC 5854 §4.2.16.2). The smallest is 1.
	MaxPriority = 999_999
	// MinPieceLength is the shortest piece, in bytes: the leaf of BitTorrent's
	// hash trees (BEP 52). Lengths are powers of two.
	MinPieceLength = 16 << 10
	// MaxPieceLength is the longest piece, in bytes.
	MaxPieceLength = 64 << 20
	// MaxPieces is how many pieces a blob may have. The hashes of that many
	// are 8 MiB of sha256.
	MaxPieces = 1 << 18
)

// Caps on one entry (spec/waybill.md §5). Beyond one the entry is refused with
// an [ErrRefused], the document isn't.
const (
	// MaxExpressions is how many expressions a URI template may hold.
	MaxExpressions = uritmpl.MaxExpressions
	// MaxExpanded is the longest URI after expansion and resolution, in bytes.
	MaxExpanded = uritmpl.MaxExpanded
)

// MaxSkew is how many seconds a document may be issued ahead of the reader's
// clock.
const MaxSkew = 300

// maxShown bounds how much of a document's text an error repeats, in bytes.
const maxShown = 100

// maxTime is the longest date-time: RFC 3339 with nine digits of a fraction.
const maxTime = len("2006-01-02T15:04:05.999999999+07:00")
