package bundle

import (
	"context"
	"errors"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// What may be wrong with an image or its destination. Test with errors.Is.
var (
	// ErrRewound is what a layer's reader fails with when bytes it handed out
	// earlier turned out to be wrong and have been replaced. Whoever makes
	// [Layer.Open] readers returns it (wrapped or not); [Create] then starts
	// over from an empty rootfs and returns it only after doing so
	// [Options.MaxRestarts] times in vain.
	ErrRewound = errors.New("earlier bytes of the blob were replaced")

	// ErrInvalid: the image is not what the specification says it must be: its
	// configuration does not parse, a layer is not a tar archive, an entry
	// tries to leave the rootfs.
	ErrInvalid = errors.New("invalid image")

	// ErrDiffID: a layer's bytes are right, by the blob's digest, but what
	// they inflate to is not what the image configuration names.
	ErrDiffID = errors.New("uncompressed layer does not match its diff_id")

	// ErrLimit: the image needs more than a cap of [Options] allows. The
	// message names the cap.
	ErrLimit = errors.New("limit exceeded")

	// ErrOccupied: the bundle's directory can't be made where it was asked
	// for, because something is there already.
	ErrOccupied = errors.New("directory is in use")
)

// Layer is one layer of an image.
type Layer struct {
	// Descriptor names the layer blob. Its media type says how it is
	// compressed, its size is the most that is read of it.
	Descriptor ocispec.Descriptor

	// Open starts reading the blob from its first byte. It is called once for
	// every attempt to unpack the image, and ctx ends before the attempt does.
	// Layers are opened one after the other, each when those below it are
	// unpacked; whoever fetches them side by side starts that before.
	//
	// The reader may hand out bytes that nobody has verified yet. It returns
	// io.EOF only after the whole blob was seen to match Descriptor.Digest,
	// any other error if that can't be had, and [ErrRewound] when bytes it
	// handed out before were wrong. Reads must end soon after ctx does.
	Open func(ctx context.Context) (io.ReadCloser, error)
}

// Image is what a bundle is made of.
type Image struct {
	// Config is the image configuration blob, verified by the caller
	// (image-spec config.md; Docker's own configuration is a superset). Its
	// rootfs.diff_ids say what the layers inflate to.
	Config []byte

	// Layers are the image's layers, the lowest first, as many as there are
	// diff_ids.
	Layers []Layer
}

// Options are the limits and habits of [Create]. The zero value is fit for
// images of unknown origin.
type Options struct {
	// MaxBytes is the most that all layers together may unpack to, in bytes,
	// counting holes of sparse files as if they were data. Zero means
	// [DefaultMaxBytes]. It is also what stops a decompression bomb.
	MaxBytes int64

	// MaxEntries is the most entries one layer's archive may have. Zero means
	// [DefaultMaxEntries]. To apply whiteouts rightly, the names in a layer are
	// remembered while it is unpacked (not those of the lowest, which has
	// nothing to hide): some 100 bytes for each.
	MaxEntries int

	// MaxRestarts is how often unpacking may start over after [ErrRewound].
	// Zero means [DefaultMaxRestarts], a negative value not at all.
	MaxRestarts int

	// Rootless makes the bundle as an ordinary user must even when the caller
	// is root. For anyone else it is always on.
	Rootless bool

	// Sync writes the bundle to stable storage before it appears, so that it
	// is whole after a power failure too. Without it a bundle is as durable
	// as any file freshly copied; it can always be made again.
	Sync bool

	// Warn is told, a line for each, what was left out or put up with and did
	// not stop the bundle from being made; of many the first hundred. It is
	// never called twice at once. Nil means nobody is told.
	Warn func(message string)
}

// Defaults of [Options].
const (
	DefaultMaxBytes    = 64 << 30
	DefaultMaxEntries  = 4 << 20
	DefaultMaxRestarts = 16
)

// MaxConfigSize is the largest image configuration read, in bytes.
const MaxConfigSize = 8 << 20
