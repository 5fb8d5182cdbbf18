package image

// Caps on what is read from outside. An input beyond one is refused with an
// error that names it.
const (
	// MaxDocument is the largest manifest, index or config, in bytes.
	MaxDocument = 8 << 20
	// MaxJSONDepth is how deep objects and arrays may nest in a document.
	MaxJSONDepth = 64
	// MaxDescriptors is how many descriptors one document may hold.
	MaxDescriptors = 100_000
	// MaxAnnotations is how many annotations a document or descriptor may
	// carry.
	MaxAnnotations = 1000
	// MaxAnnotationBytes is the size of those annotations, keys and values.
	MaxAnnotationBytes = 1 << 20
	// MaxBlob is the largest size a descriptor may state, in bytes (1 PiB).
	MaxBlob = 1 << 50
	// MaxURLs is how many urls a descriptor may carry.
	MaxURLs = 1000
	// maxMediaType is RFC 6838's limit: two names of 127 characters and a
	// slash.
	maxMediaType = 255
)
