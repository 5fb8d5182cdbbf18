package oci

// Caps. Beyond one there is an error or a note that names it.
const (
	// MaxName is the longest name, in bytes.
	MaxName = 2048
	// MaxDocument is the largest discovery document, in bytes.
	MaxDocument = 1 << 20
	// MaxIndex is the largest index that a ref engine leads to, in bytes.
	MaxIndex = 8 << 20
	// MaxDepth is how deep objects and arrays may nest in a document.
	MaxDepth = 64
	// MaxEntries is how many ref engines, or CAS engines, one list may have.
	MaxEntries = 100
	// MaxMembers is how many members an object may have, and so how many
	// expressions a document.
	MaxMembers = 1000
	// MaxExpression is the longest regular expression, in bytes.
	MaxExpression = 512
	// MaxExpressionSize is how large an expression may get, in states, when
	// its repetitions are written out.
	MaxExpressionSize = 1000
	// MaxExpressionsSize is the same for all expressions that are tried for
	// one name.
	MaxExpressionsSize = 50_000
	// MaxConfigDirs is how many directories $XDG_CONFIG_DIRS may list.
	MaxConfigDirs = 32
	// MaxAncestors is how many of a host's DNS ancestors are asked.
	MaxAncestors = 8
	// MaxIndexes is how many indexes are asked for, for one name.
	MaxIndexes = 32
	// MaxCandidates is how many answers there may be for one name.
	MaxCandidates = 1000
	// MaxEngines is how many unlike CAS engines are kept for one name.
	MaxEngines = 1000
	// MaxNotes is how many notes are made about one document.
	MaxNotes = 100
)

// atOnce is how many indexes are asked for at the same time. Each may take some
// tens of megabytes while it is read.
const atOnce = 4
