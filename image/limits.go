package image

// Caps on what is read from outside. An input beyond one is refused with an
// error that names it.
const (
	// MaxDocument is the largest manifest or index, in bytes: one of as many
	// descriptors as there may be, each with a platform and an annotation.
	MaxDocument = 32 << 20
	// MaxConfig is the largest config, in bytes.
	MaxConfig = 8 << 20
	// MaxJSONDepth is how deep objects and arrays may nest in a document.
	MaxJSONDepth = 64
	// MaxMembers is how many members one object of a manifest or index may have.
	MaxMembers = 4096
	// MaxDescriptors is how many descriptors a list of a document may hold.
	MaxDescriptors = 100_000
	// MaxBlobs is how many descriptors an image may have altogether.
	MaxBlobs = 4 * MaxDescriptors
	// MaxAnnotations is how many annotations a document or descriptor may
	// carry.
	MaxAnnotations = 1000
	// MaxAnnotationBytes is the size of those annotations, keys and values.
	MaxAnnotationBytes = 1 << 20
	// MaxBlob is the largest size a descriptor may state, in bytes (1 PiB).
	MaxBlob = 1 << 50
	// MaxURLs is how many urls of a descriptor anybody looks at.
	MaxURLs = 1000
	// maxMediaType is RFC 6838's limit: two names of 127 characters and a
	// slash.
	maxMediaType = 255
)
