package bundle

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/moby/sys/user"
	specs "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// maxAccountsSize is the largest /etc/passwd or /etc/group read, in bytes.
const maxAccountsSize = 4 << 20

// account is who an image's process runs as.
type account struct {
	specs.User
	home string
}

// lookUpUser finds the user that an image configuration names as user, uid,
// user:group, uid:gid, uid:group or user:gid, in the account files of rootfs.
func lookUpUser(name, rootfs string) (account, error) {
	dirs, err := newOpenDirs(rootfs)
	if err != nil {
		return account{}, err
	}
	defer dirs.closeAll(true)
	passwd, err := dirs.readFile("etc/passwd")
	if err != nil {
		return account{}, err
	}
	group, err := dirs.readFile("etc/group")
	if err != nil {
		return account{}, err
	}
	u, err := user.GetExecUser(name, nil, bytes.NewReader(passwd), bytes.NewReader(group))
	if err != nil {
		return account{}, fmt.Errorf("%w: image configuration: user %q: %w", ErrInvalid, shorten(name), err)
	}
	a := account{User: specs.User{UID: uint32(u.Uid), GID: uint32(u.Gid)}, home: u.Home}
	// image-spec conversion.md: a user given by number, or with a group,
	// has no additional ones.
	who, _, withGroup := strings.Cut(name, ":")
	if _, err := strconv.Atoi(who); err != nil && !withGroup {
		for _, gid := range u.Sgids {
			a.AdditionalGids = append(a.AdditionalGids, uint32(gid))
		}
	}
	return a, nil
}

// readFile returns the content of a regular file, links on the way followed
// within the rootfs; nothing where there is no such file.
func (o *openDirs) readFile(name string) ([]byte, error) {
	fail := func(err error) ([]byte, error) {
		return nil, &os.PathError{Op: "read the image's", Path: name, Err: err}
	}
	for path, links := name, 0; ; links++ {
		d, missing, err := o.resolve(parentOf(path))
		if err != nil {
			return fail(err)
		}
		base := path[strings.LastIndexByte(path, '/')+1:]
		if len(missing) > 0 || base == "" || base == "." || base == ".." {
			return nil, nil
		}
		var st unix.Stat_t
		if err := unix.Fstatat(d.fd, base, &st, unix.AT_SYMLINK_NOFOLLOW); err == unix.ENOENT {
			return nil, nil
		} else if err != nil {
			return fail(err)
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			return readCapped(d, base, name)
		case unix.S_IFLNK:
			if links >= maxLinks {
				return nil, fmt.Errorf("%w: the image's %s is a loop of symbolic links", ErrInvalid, name)
			}
			target, err := readlink(d.fd, base)
			if err != nil {
				return fail(err)
			}
			if path = target; !strings.HasPrefix(target, "/") {
				path = d.path + "/" + target
			}
		default: // opening it could do anything
			return nil, fmt.Errorf("%w: the image's %s is not a regular file", ErrInvalid, name)
		}
	}
}

// readCapped reads the regular file base of d, called name in errors.
func readCapped(d *directory, base, name string) ([]byte, error) {
	fd, err := unix.Openat(d.fd, base, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open the image's", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxAccountsSize+1))
	if len(b) > maxAccountsSize {
		return nil, fmt.Errorf("%w: the image's %s is larger than %d bytes", ErrLimit, name, maxAccountsSize)
	}
	return b, err
}
