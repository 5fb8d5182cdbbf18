package bundle

import (
	"context"
	"io"
	"io/fs"
	"time"
)

// TreeEntry is a file, directory or symbolic link of a bundle that is kept
// somewhere as it is, not as layers.
type TreeEntry struct {
	// Path is where in the bundle: clean, relative, with slashes. A directory
	// comes before what is in it, and all that is in it follows before
	// anything else.
	Path string
	// Type is fs.ModeDir, fs.ModeSymlink, or 0 for a file.
	Type fs.FileMode
	// Mode is the permission bits with setuid, setgid and sticky, where
	// HasMode. Otherwise a directory is 0755, and a file 0644, or 0755 where it
	// begins as programs do: with ELF's mark, or with #!.
	Mode    fs.FileMode
	HasMode bool
	// ModTime is the zero time where nobody knows it.
	ModTime time.Time
	// Size is a file's size in bytes, or -1 where nobody knows it yet. A file
	// of another size is [ErrInvalid].
	Size int64
	// Target is what a symbolic link leads to. It is written down, and never
	// followed.
	Target string
	// Open reads a file. What the reader yields was verified by whoever made
	// it. Reads must end soon after ctx does.
	Open func(ctx context.Context) (io.ReadCloser, error)
}

// TreeOptions are the limits and habits of [CreateTree]. The zero value is fit
// for bundles of unknown origin.
type TreeOptions struct {
	// MaxBytes is the most that all files together may have. Zero means
	// [DefaultMaxBytes].
	MaxBytes int64
	// MaxEntries is the most entries there may be. Zero means
	// [DefaultMaxEntries].
	MaxEntries int
	// AllowHooks accepts a config.json with hooks, which are programs that the
	// runtime runs outside of the container, with its own rights. Without it
	// such a bundle is [ErrInvalid].
	AllowHooks bool
	// Sync writes the bundle to stable storage before it appears.
	Sync bool
	// Warn is told, a line for each, what in config.json reaches out of the
	// container. Nil means nobody is told.
	Warn func(message string)
}

// treeFiles is how many files are fetched at a time.
const treeFiles = 8
