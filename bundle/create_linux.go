package bundle

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// RootfsName and ConfigName are the entries of a bundle (runtime-spec
// bundle.md).
const (
	RootfsName = "rootfs"
	ConfigName = "config.json"
)

// Caps that are not for the caller to move, because the formats or the kernel
// set them.
const (
	// maxPath is the kernel's PATH_MAX less the terminating NUL: no path in
	// the rootfs may be longer, or no other program could open it.
	maxPath = 4095

	// maxXattrs is the most extended attributes one entry may carry, and
	// maxXattrValue the kernel's XATTR_SIZE_MAX.
	maxXattrs     = 1024
	maxXattrValue = 64 << 10

	// maxZstdWindow is the largest zstd window accepted: what the zstd tool
	// itself takes without being asked (RFC 8878 §3.1.1.1.2 leaves it to the
	// decoder).
	maxZstdWindow = 128 << 20

	// maxWarnings is how many of Options.Warn are passed on.
	maxWarnings = 100
)

// Create unpacks img and makes the OCI runtime bundle at dir, which must not
// exist or be an empty directory, in a parent directory that exists.
//
// The layers are unpacked as their bytes arrive, into a private directory beside
// dir. That is renamed to dir when every layer's reader confirmed its blob,
// every layer inflated to its diff_id and config.json was written; until then
// there is nothing at dir that was not there before. When Create fails, or ctx
// ends, the private directory is removed; when the process is killed, the next
// Create for the same dir removes it. Of several at once for the same dir one
// succeeds, the others fail with [ErrOccupied].
//
// The bundle is its owner's alone (mode 0700), for the rootfs of an image may
// hold programs that give whoever can reach them root's rights.
func Create(ctx context.Context, dir string, img Image, opts Options) error {
	if err := create(ctx, dir, img, opts.withDefaults()); err != nil {
		return fmt.Errorf("bundle %s: %w", dir, err)
	}
	return nil
}

func (o Options) withDefaults() Options {
	if o.MaxBytes <= 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.MaxEntries <= 0 {
		o.MaxEntries = DefaultMaxEntries
	}
	if o.MaxRestarts == 0 {
		o.MaxRestarts = DefaultMaxRestarts
	}
	o.Warn = limited(o.Warn)
	return o
}

// limited returns warn for several goroutines to call, and only so often: every
// entry of an archive can be worth a warning.
func limited(warn func(string)) func(string) {
	if warn == nil {
		return func(string) {}
	}
	var mu sync.Mutex
	count := 0
	return func(message string) {
		mu.Lock()
		defer mu.Unlock()
		switch count++; {
		case count < maxWarnings:
			warn(message)
		case count == maxWarnings:
			warn("there is more of this kind; it is not shown")
		}
	}
}

func create(ctx context.Context, dir string, img Image, opts Options) error {
	conf, err := parseConfig(img.Config)
	if err != nil {
		return err
	}
	if want, got := len(conf.RootFS.DiffIDs), len(img.Layers); want != got {
		return fmt.Errorf("%w: image has %d layers, its configuration %d diff_ids", ErrInvalid, got, want)
	}
	if os.Geteuid() != 0 {
		opts.Rootless = true
	}
	dir, err = checkTarget(dir)
	if err != nil {
		return err
	}
	priv, err := newPrivateDir(dir)
	if err != nil {
		return err
	}
	defer priv.remove()

	rootfs := filepath.Join(priv.path, RootfsName)
	if err := fillRootfs(ctx, rootfs, img, conf, opts); err != nil {
		return err
	}
	spec, err := runtimeSpec(conf, rootfs, opts)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(priv.path, ConfigName), spec, 0o644); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	return priv.publish(dir, opts.Sync)
}

// fillRootfs makes the directory rootfs and unpacks img into it, again from the
// start as often as a source asks for it.
func fillRootfs(ctx context.Context, rootfs string, img Image, conf imageConfig, opts Options) error {
	u := &unpacker{
		img: img, diffIDs: conf.RootFS.DiffIDs, opts: opts,
		free: newChunks(), copyBuf: make([]byte, chunkSize),
	}
	for restarts := 0; ; restarts++ {
		if err := makeRootfs(rootfs); err != nil {
			return err
		}
		err := u.unpack(ctx, rootfs)
		if !errors.Is(err, ErrRewound) {
			return err
		}
		if restarts >= opts.MaxRestarts {
			return fmt.Errorf("gave up after unpacking %d times (MaxRestarts): %w", restarts+1, err)
		}
		if err := removeTree(rootfs); err != nil {
			return err
		}
	}
}

// makeRootfs makes an empty rootfs with the mode it has when no archive says
// otherwise, whatever the umask.
func makeRootfs(rootfs string) error {
	if err := os.Mkdir(rootfs, 0o755); err != nil {
		return err
	}
	return os.Chmod(rootfs, 0o755)
}

// CheckTarget tells whether [Create] could put a bundle at dir, as things are
// now: before a long download, say. Its errors are those of Create.
func CheckTarget(dir string) error {
	if _, err := checkTarget(dir); err != nil {
		return fmt.Errorf("bundle %s: %w", dir, err)
	}
	return nil
}

// checkTarget returns dir as an absolute path without symbolic links, after
// making sure that a bundle may be put there.
func checkTarget(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("parent directory %s does not exist: make it first", filepath.Dir(abs))
	}
	if err != nil {
		return "", err
	}
	target := filepath.Join(parent, filepath.Base(abs))
	if resolved, err := filepath.EvalSymlinks(target); err == nil {
		target = resolved
	}
	entries, err := os.ReadDir(target)
	switch {
	case errors.Is(err, os.ErrNotExist):
		if _, err := os.Lstat(target); err == nil {
			return "", fmt.Errorf("%w: it is a dangling symbolic link", ErrOccupied)
		}
		return target, nil
	case errors.Is(err, unix.ENOTDIR):
		return "", fmt.Errorf("%w: it is not a directory", ErrOccupied)
	case err != nil:
		return "", err
	case len(entries) > 0:
		return "", fmt.Errorf("%w: it is not empty: name another, or remove it first", ErrOccupied)
	case filepath.Dir(target) == target:
		return "", fmt.Errorf("%w: it is the root directory", ErrOccupied)
	}
	return target, nil
}
