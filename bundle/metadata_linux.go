package bundle

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	paxXattr   = "SCHILY.xattr."
	aclDefault = "system.posix_acl_default"

	// ownerXattr records the owner that an ordinary user could not give a file
	// (rootlesscontain.rs), as umoci and PRoot understand it.
	ownerXattr = "user.rootlesscontainers"
)

// hostXattrs say something of the machine a file is on, and are neither set
// from an archive nor removed. The list is umoci's.
var hostXattrs = map[string]bool{
	"security.selinux":         true,
	"system.nfs4_acl":          true,
	"trusted.overlay.opaque":   true,
	"trusted.overlay.redirect": true,
	"trusted.overlay.origin":   true,
	"trusted.overlay.impure":   true,
	"trusted.overlay.nlink":    true,
	"trusted.overlay.upper":    true,
	"trusted.overlay.metacopy": true,
}

// owner is who a file belongs to; noOwner where that stays as it is.
type owner struct{ uid, gid int }

var noOwner = owner{-1, -1}

// ownerOf returns the owner an entry is to have. The answer for a file that
// has it already is noOwner, which saves the call.
func (x *extractor) ownerOf(hdr *tar.Header, st *unix.Stat_t) (owner, error) {
	const most = math.MaxUint32 - 1 // the last value means "unchanged" to chown(2)
	if hdr.Uid < 0 || hdr.Gid < 0 || int64(hdr.Uid) > most || int64(hdr.Gid) > most {
		return noOwner, fmt.Errorf("%w: no such owner: %d:%d", ErrInvalid, hdr.Uid, hdr.Gid)
	}
	if x.rootless || (st.Uid == uint32(hdr.Uid) && st.Gid == uint32(hdr.Gid)) {
		return noOwner, nil
	}
	return owner{hdr.Uid, hdr.Gid}, nil
}

// chownError adds what to do about an owner that a user namespace doesn't map.
func (x *extractor) chownError(err error, o owner) error {
	if err == unix.EINVAL && x.inUserNS {
		return fmt.Errorf("give it to %d:%d: not mapped in this user namespace: map more IDs (/etc/subuid, /etc/subgid)", o.uid, o.gid)
	}
	if err != nil {
		return fmt.Errorf("give it to %d:%d: %w", o.uid, o.gid, err)
	}
	return nil
}

func modeOf(hdr *tar.Header) uint32 { return uint32(hdr.Mode) & 0o7777 }

// timesOf returns an entry's access and modification time; the latter stands in
// for the former where the archive has none.
func timesOf(hdr *tar.Header) (times [2]unix.Timespec, err error) {
	for i, t := range []time.Time{hdr.AccessTime, hdr.ModTime} {
		if t.IsZero() {
			t = hdr.ModTime
		}
		if times[i], err = unix.TimeToTimespec(t); err != nil {
			return times, fmt.Errorf("%w: no such time: %v", ErrInvalid, t)
		}
	}
	return times, nil
}

// setFile gives the new regular file fd, which is base in d, its owner, mode,
// attributes and times, in this order: changing the owner drops the set-user-ID
// bits and capabilities.
func (x *extractor) setFile(fd int, d *directory, base string, hdr *tar.Header) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	o, err := x.ownerOf(hdr, &st)
	if err != nil {
		return err
	}
	if o != noOwner {
		if err := x.chownError(unix.Fchown(fd, o.uid, o.gid), o); err != nil {
			return err
		}
	}
	mode := modeOf(hdr)
	writable := mode
	if x.rootless {
		writable |= 0o200 // without which its owner may not set attributes
	}
	if st.Mode&0o7777 != writable {
		if err := unix.Fchmod(fd, writable); err != nil {
			return err
		}
	}
	if err := x.setXattrs(xattrTarget{fd: fd}, hdr, x.inheritsX, true); err != nil {
		return err
	}
	if mode != writable {
		if err := unix.Fchmod(fd, mode); err != nil {
			return err
		}
	}
	return setTimes(d, base, hdr)
}

// setDirectory gives c what hdr says. Its times follow when it is closed.
func (x *extractor) setDirectory(c *directory, hdr *tar.Header, existed bool) error {
	o, err := x.ownerOf(hdr, &c.stat)
	if err != nil {
		return err
	}
	if o != noOwner {
		if err := x.chownError(unix.Fchown(c.fd, o.uid, o.gid), o); err != nil {
			return err
		}
		c.stat.Uid, c.stat.Gid = uint32(o.uid), uint32(o.gid)
	}
	mode := modeOf(hdr)
	if x.rootless {
		delete(x.restricted, c.path)
		if mode&0o700 != 0o700 {
			x.restricted[c.path] = restriction{inode: c.stat.Ino, mode: mode}
			mode |= 0o700
		}
	}
	if c.stat.Mode&0o7777 != mode {
		if err := unix.Fchmod(c.fd, mode); err != nil {
			return err
		}
		c.stat.Mode = c.stat.Mode&^0o7777 | mode
	}
	if err := x.setXattrs(xattrTarget{fd: c.fd}, hdr, existed || x.inheritsX, true); err != nil {
		return err
	}
	times, err := timesOf(hdr)
	if err != nil {
		return err
	}
	c.stat.Atim, c.stat.Mtim = times[0], times[1]
	c.touched = true
	return nil
}

// restriction is the mode that the directory with the given inode number gets
// at last.
type restriction struct {
	inode uint64
	mode  uint32
}

// restrict takes from directories what only their owner's work needed, deepest
// first. One that was replaced or removed since is left alone.
func (x *extractor) restrict() error {
	paths := make([]string, 0, len(x.restricted))
	for path := range x.restricted {
		paths = append(paths, path)
	}
	slices.Sort(paths)
	for _, path := range slices.Backward(paths) {
		c, err := x.dirs.at(path)
		switch err {
		case nil:
		case unix.ENOENT, unix.ENOTDIR, unix.ELOOP:
			continue
		default:
			return &os.PathError{Op: "open", Path: path, Err: err}
		}
		r := x.restricted[path]
		if c.stat.Ino != r.inode {
			continue
		}
		if err := unix.Fchmod(c.fd, r.mode); err != nil {
			return &os.PathError{Op: "chmod", Path: path, Err: err}
		}
	}
	return nil
}

// setSpecial gives the new link, device or fifo base in d what hdr says. None
// of these is ever opened.
func (x *extractor) setSpecial(d *directory, base string, hdr *tar.Header) error {
	var st unix.Stat_t
	if err := unix.Fstatat(d.fd, base, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	o, err := x.ownerOf(hdr, &st)
	if err != nil {
		return err
	}
	if o != noOwner {
		err := unix.Fchownat(d.fd, base, o.uid, o.gid, unix.AT_SYMLINK_NOFOLLOW)
		if err := x.chownError(err, o); err != nil {
			return err
		}
	}
	if mode := modeOf(hdr); hdr.Typeflag != tar.TypeSymlink && st.Mode&0o7777 != mode {
		if err := unix.Fchmodat(d.fd, base, mode, 0); err != nil {
			return err
		}
	}
	target := xattrTarget{fd: -1, path: fmt.Sprintf("/proc/self/fd/%d/%s", d.fd, base)}
	if err := x.setXattrs(target, hdr, x.inheritsX, false); err != nil {
		return err
	}
	return setTimes(d, base, hdr)
}

func setTimes(d *directory, base string, hdr *tar.Header) error {
	times, err := timesOf(hdr)
	if err != nil {
		return err
	}
	return unix.UtimesNanoAt(d.fd, base, times[:], unix.AT_SYMLINK_NOFOLLOW)
}

// setXattrs gives t the extended attributes hdr says, after removing those it
// has where clear is set. takesUser says that t is a file or directory: the
// kernel allows nothing else to have attributes of the class user.
func (x *extractor) setXattrs(t xattrTarget, hdr *tar.Header, clear, takesUser bool) error {
	if clear {
		if err := t.clear(); err != nil && err != unix.ENOTSUP {
			return fmt.Errorf("remove extended attributes: %w", err)
		}
	}
	if x.rootless && takesUser && (hdr.Uid != 0 || hdr.Gid != 0) {
		if err := x.setXattr(t, ownerXattr, ownerRecord(hdr.Uid, hdr.Gid)); err != nil {
			return err
		}
	}
	count := 0
	// An empty value takes a record back (pax, "pax Extended Header").
	for record, value := range hdr.PAXRecords {
		name, ok := strings.CutPrefix(record, paxXattr)
		if !ok || value == "" || hostXattrs[name] || (x.rootless && name == ownerXattr) {
			continue
		}
		if count++; count > maxXattrs || len(value) > maxXattrValue {
			return fmt.Errorf("%w: more than %d extended attributes, or one of more than %d bytes", ErrLimit, maxXattrs, maxXattrValue)
		}
		if !takesUser && strings.HasPrefix(name, "user.") {
			x.opts.Warn(fmt.Sprintf("%q can't have the extended attribute %q; left out", shorten(hdr.Name), name))
			continue
		}
		if err := x.setXattr(t, name, []byte(value)); err != nil {
			return err
		}
		x.inheritsX = x.inheritsX || name == aclDefault
	}
	return nil
}

// setXattr sets one attribute, or says why it was left out.
func (x *extractor) setXattr(t xattrTarget, name string, value []byte) error {
	err := t.set(name, value)
	switch {
	case err == unix.ENOTSUP:
		if !x.noXattrs {
			x.noXattrs = true
			x.opts.Warn(fmt.Sprintf("the file system does not take extended attributes like %q; such were left out", name))
		}
		return nil
	case errors.Is(err, os.ErrPermission) && (x.rootless || x.inUserNS):
		x.opts.Warn(fmt.Sprintf("extended attribute %q is root's to set; left out", name))
		return nil
	case err != nil:
		return fmt.Errorf("set extended attribute %q: %w", name, err)
	}
	return nil
}

// ownerRecord encodes rootlesscontain.rs's protobuf message Resource: field 1
// is the user, field 2 the group, and all ones means root there.
func ownerRecord(uid, gid int) []byte {
	id := func(id int) uint64 {
		if id == 0 {
			return math.MaxUint32
		}
		return uint64(id)
	}
	b := binary.AppendUvarint([]byte{1 << 3}, id(uid))
	return binary.AppendUvarint(append(b, 2<<3), id(gid))
}

// xattrTarget is a file whose extended attributes are of interest: an open one,
// or, where fd is -1, the one at path, which is not followed if it is a link.
type xattrTarget struct {
	fd   int
	path string
}

func (t xattrTarget) set(name string, value []byte) error {
	if t.fd < 0 {
		return unix.Lsetxattr(t.path, name, value, 0)
	}
	return unix.Fsetxattr(t.fd, name, value, 0)
}

func (t xattrTarget) list() ([]string, error) {
	list := func(buf []byte) (int, error) {
		if t.fd < 0 {
			return unix.Llistxattr(t.path, buf)
		}
		return unix.Flistxattr(t.fd, buf)
	}
	n, err := list(nil)
	if err != nil || n == 0 {
		return nil, err
	}
	buf := make([]byte, n)
	if n, err = list(buf); err != nil {
		return nil, err
	}
	var names []string
	for name := range bytes.SplitSeq(buf[:n], []byte{0}) {
		if len(name) > 0 {
			names = append(names, string(name))
		}
	}
	return names, nil
}

// clear removes all attributes but those of the machine, and those that may
// not be removed.
func (t xattrTarget) clear() error {
	names, err := t.list()
	if err != nil {
		return err
	}
	for _, name := range names {
		if hostXattrs[name] {
			continue
		}
		if t.fd < 0 {
			err = unix.Lremovexattr(t.path, name)
		} else {
			err = unix.Fremovexattr(t.fd, name)
		}
		if err != nil && !errors.Is(err, os.ErrPermission) {
			return err
		}
	}
	return nil
}

// inUserNamespace reports whether this process is in a user namespace that does
// not have all IDs (user_namespaces(7)).
func inUserNamespace() bool {
	b, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(b)), " ") != "0 0 4294967295"
}
