package bundle

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

var errPathTooLong = fmt.Errorf("%w: path in the rootfs is longer than %d bytes", ErrLimit, maxPath)

// extractor applies layer archives to a rootfs (image-spec layer.md,
// "Applying Changesets"). What an entry does was taken from umoci, and differs
// only where the package comment says so.
type extractor struct {
	dirs *openDirs
	root *os.Root // the same rootfs, for removing trees
	opts Options
	buf  []byte

	rootless  bool // no file can belong to anyone but us
	inUserNS  bool // root, but only of a user namespace
	inheritsX bool // new files may be born with extended attributes (a default ACL)

	entries int   // in this layer
	left    int64 // of Options.MaxBytes, what files may still take
	upper   *upperDir

	// restricted are the modes of directories that an ordinary user could not
	// go on working in, by path; finish sets them.
	restricted map[string]restriction

	noXattrs bool // said already that the file system has none
}

func newExtractor(rootfs string, opts Options, buf []byte) (*extractor, error) {
	dirs, err := newOpenDirs(rootfs)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(rootfs)
	if err != nil {
		dirs.closeAll(true)
		return nil, err
	}
	x := &extractor{
		dirs: dirs, root: root, opts: opts, buf: buf,
		rootless: opts.Rootless, inUserNS: inUserNamespace(),
		left: opts.MaxBytes, restricted: map[string]restriction{},
	}
	names, err := xattrTarget{fd: dirs.root.fd}.list()
	if err != nil && err != unix.ENOTSUP {
		x.close()
		return nil, fmt.Errorf("list extended attributes: %w", err)
	}
	x.inheritsX = slices.Contains(names, aclDefault)
	// Many archives say nothing of the root directory, so its time is set to
	// something that does not depend on when it was unpacked.
	dirs.root.stat.Atim, dirs.root.stat.Mtim = unix.Timespec{}, unix.Timespec{}
	dirs.root.touched = true
	return x, nil
}

// startLayer prepares for the archive of the layer with the given index. Below
// the first there is nothing for a whiteout to hide, so its entries need not be
// remembered.
func (x *extractor) startLayer(index int) {
	x.entries, x.upper = 0, nil
	if index > 0 {
		x.upper = &upperDir{}
	}
	for _, d := range x.dirs.byPath {
		d.upper = nil
	}
}

// finish sets what had to wait until all layers were unpacked.
func (x *extractor) finish() error {
	if err := x.dirs.closeAll(false); err != nil {
		return err
	}
	return x.restrict()
}

func (x *extractor) close() error {
	err := x.dirs.closeAll(true)
	x.root.Close()
	return err
}

// apply unpacks the archive up to its end.
func (x *extractor) apply(ctx context.Context, tr *tar.Reader) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		hdr, err := tr.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return fmt.Errorf("archive entry %d: %w", x.entries+1, err)
		}
		if x.entries++; x.entries > x.opts.MaxEntries {
			return fmt.Errorf("%w: layer has more than %d entries (MaxEntries)", ErrLimit, x.opts.MaxEntries)
		}
		if err := x.entry(hdr, tr); err != nil {
			return fmt.Errorf("archive entry %q: %w", shorten(hdr.Name), err)
		}
	}
}

// cleanName returns name as a path within the rootfs without ".", ".." or
// doubled slashes; "" is the rootfs itself. Leading slashes and ".." that would
// leave the rootfs are dropped.
func cleanName(name string) string {
	return path.Clean("/" + name)[1:]
}

// entry applies one entry of an archive.
func (x *extractor) entry(hdr *tar.Header, r io.Reader) error {
	if hdr.Typeflag == tar.TypeXGlobalHeader {
		return nil // says something of the archive, as git archive has it, and is no file
	}
	if len(hdr.Name) > maxPath || len(hdr.Linkname) > maxPath {
		return errPathTooLong
	}
	name := cleanName(hdr.Name)
	if name == "" {
		if hdr.Typeflag != tar.TypeDir {
			return fmt.Errorf("%w: would replace the root directory", ErrInvalid)
		}
		return x.setDirectory(x.dirs.root, hdr, true)
	}
	base := name[strings.LastIndexByte(name, '/')+1:]
	if strings.HasPrefix(base, whiteoutPrefix) {
		return x.whiteout(parentOf(name), base)
	}
	d, err := x.parent(parentOf(name))
	if err != nil {
		return err
	}
	if len(d.path)+1+len(base) > maxPath {
		return errPathTooLong
	}
	d.pins++ // it stays open while other directories are
	defer func() { d.pins-- }()
	if err := x.create(d, base, hdr, r); err != nil {
		return err
	}
	x.markUpper(d, base)
	return nil
}

// parent opens the directory an entry is to be made in. Directories missing on
// the way are made, files in the way replaced by them.
func (x *extractor) parent(name string) (*directory, error) {
	d, missing, err := x.dirs.resolve(name)
	if err != nil {
		return nil, err
	}
	for _, name := range missing {
		if _, err := x.makeDirectory(d, name, 0o755); err != nil {
			return nil, err
		}
		if d, err = x.dirs.child(d, name); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// makeDirectory makes sure that name in d is a directory, and reports whether
// it was one already.
func (x *extractor) makeDirectory(d *directory, name string, mode uint32) (existed bool, err error) {
	if x.rootless {
		mode |= 0o700
	}
	err = x.replacing(d, name, true, func() error {
		return unix.Mkdirat(d.fd, name, mode&0o777)
	})
	if err == errIsDirectory {
		return true, nil
	}
	return false, err
}

// errIsDirectory says that nothing was replaced, for the caller wants a
// directory and one is there.
var errIsDirectory = errors.New("is a directory")

// replacing calls make, which makes the entry name in d and fails with EEXIST
// where there is one. In that case it is removed and make called again; unless
// it is a directory and keepDir is set, which is [errIsDirectory].
func (x *extractor) replacing(d *directory, name string, keepDir bool, make func() error) error {
	d.touched = true
	err := make()
	if err != unix.EEXIST {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	if keepDir && st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return errIsDirectory
	}
	if err := x.remove(d, name, st.Mode); err != nil {
		return err
	}
	return make()
}

// remove removes the entry name of d, a whole tree if its mode is a directory's.
func (x *extractor) remove(d *directory, name string, mode uint32) error {
	d.touched = true
	if mode&unix.S_IFMT != unix.S_IFDIR {
		x.dirs.last = nil // which may have been found through this link
		return unix.Unlinkat(d.fd, name, 0)
	}
	path := join(d.path, name)
	x.dirs.dropBelow(path)
	return x.root.RemoveAll(path)
}

// create makes the entry base of d what hdr says.
func (x *extractor) create(d *directory, base string, hdr *tar.Header, r io.Reader) error {
	switch hdr.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont: // archive/tar has turned the old TypeRegA into TypeReg
		return x.createFile(d, base, hdr, r)
	case tar.TypeDir:
		existed, err := x.makeDirectory(d, base, uint32(hdr.Mode))
		if err != nil {
			return err
		}
		c, err := x.dirs.child(d, base)
		if err != nil {
			return err
		}
		return x.setDirectory(c, hdr, existed)
	case tar.TypeLink:
		return x.createHardLink(d, base, hdr.Linkname)
	case tar.TypeSymlink:
		err := x.replacing(d, base, false, func() error {
			return unix.Symlinkat(hdr.Linkname, d.fd, base)
		})
		if err != nil {
			return err
		}
		return x.setSpecial(d, base, hdr)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		return x.createDevice(d, base, hdr)
	}
	return fmt.Errorf("%w: unknown entry type %q", ErrInvalid, hdr.Typeflag)
}

// openNew makes a regular file. The descriptor can be written to whatever mode
// says.
func (x *extractor) openNew(d *directory, base string, mode uint32) (fd int, err error) {
	err = x.replacing(d, base, false, func() (err error) {
		fd, err = unix.Openat(d.fd, base, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode&0o777)
		return err
	})
	return fd, err
}

func (x *extractor) createFile(d *directory, base string, hdr *tar.Header, r io.Reader) error {
	if x.left -= hdr.Size; x.left < 0 {
		return fmt.Errorf("%w: the files unpack to more than %d bytes (MaxBytes)", ErrLimit, x.opts.MaxBytes)
	}
	fd, err := x.openNew(d, base, uint32(hdr.Mode))
	if err != nil {
		return err
	}
	err = x.fill(fd, hdr, r)
	if err == nil {
		err = x.setFile(fd, d, base, hdr)
	}
	if cerr := unix.Close(fd); err == nil {
		err = cerr
	}
	return err
}

// fill writes an entry's content. Holes of sparse files, which archive/tar
// reads as zeros, are left holes.
func (x *extractor) fill(fd int, hdr *tar.Header, r io.Reader) error {
	buf, sparse := x.buf, isSparse(hdr)
	if sparse {
		buf = buf[:holeSize]
		if err := unix.Ftruncate(fd, hdr.Size); err != nil {
			return err
		}
	}
	var off int64
	for off < hdr.Size {
		n, err := fill(r, buf[:min(int64(len(buf)), hdr.Size-off)])
		if err != nil && !(err == io.EOF && off+int64(n) == hdr.Size) {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if !sparse || !allZero(buf[:n]) {
			if err := writeAt(fd, buf[:n], off); err != nil {
				return err
			}
		}
		off += int64(n)
	}
	return nil
}

// holeSize is the size and alignment of the zeros that are left out of a sparse
// file.
const holeSize = 64 << 10

// isSparse reports whether the archive stored the file without its holes, in
// any of GNU tar's formats.
func isSparse(hdr *tar.Header) bool {
	for _, record := range []string{"GNU.sparse.major", "GNU.sparse.map", "GNU.sparse.size"} {
		if hdr.PAXRecords[record] != "" {
			return true
		}
	}
	return hdr.Typeflag == tar.TypeGNUSparse
}

// writeAt writes all of p to fd at off.
func writeAt(fd int, p []byte, off int64) error {
	for len(p) > 0 {
		n, err := unix.Pwrite(fd, p, off)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

func allZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}

// createHardLink makes base in d another name of target, whose own links are
// resolved within the rootfs, all but the last.
func (x *extractor) createHardLink(d *directory, base, target string) error {
	name := cleanName(target)
	if name == "" {
		return fmt.Errorf("%w: hard link to the root directory", ErrInvalid)
	}
	return x.replacing(d, base, false, func() error {
		// Looked up anew when called again: what was replaced may have been on
		// the way.
		td, missing, err := x.dirs.resolve(parentOf(name))
		if err != nil {
			return err
		}
		err = unix.ENOENT
		if len(missing) == 0 {
			err = unix.Linkat(td.fd, name[strings.LastIndexByte(name, '/')+1:], d.fd, base, 0)
		}
		if err == unix.ENOENT || err == unix.EPERM || err == unix.ENOTDIR {
			return fmt.Errorf("%w: hard link to %q: %w", ErrInvalid, shorten(target), err)
		}
		return err
	})
}

// createDevice makes a device or fifo; an empty file in place of a device where
// the kernel allows no other, as umoci does.
func (x *extractor) createDevice(d *directory, base string, hdr *tar.Header) error {
	kind := map[byte]uint32{tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK, tar.TypeFifo: unix.S_IFIFO}[hdr.Typeflag]
	if kind != unix.S_IFIFO && (x.rootless || x.inUserNS) {
		x.opts.Warn(fmt.Sprintf("%q is a device, which only root may make: left an empty file instead", shorten(hdr.Name)))
		empty := *hdr
		empty.Size = 0
		return x.createFile(d, base, &empty, nil)
	}
	const most = 1<<32 - 1
	if hdr.Devmajor < 0 || hdr.Devmajor > most || hdr.Devminor < 0 || hdr.Devminor > most {
		return fmt.Errorf("%w: no such device number: %d:%d", ErrInvalid, hdr.Devmajor, hdr.Devminor)
	}
	dev := unix.Mkdev(uint32(hdr.Devmajor), uint32(hdr.Devminor))
	err := x.replacing(d, base, false, func() error {
		return unix.Mknodat(d.fd, base, kind|uint32(hdr.Mode)&0o777, int(dev))
	})
	if err != nil {
		return err
	}
	return x.setSpecial(d, base, hdr)
}
