package bundle

import (
	"container/list"
	"fmt"
	"io/fs"
	"strings"

	"golang.org/x/sys/unix"
)

// Everything in the rootfs is reached through an open directory and one name in
// it that is not followed if it is a symbolic link. Links are resolved here, one
// component at a time from the rootfs down, as if the rootfs were the root of
// the file system; so no path of an archive is ever resolved by the kernel.

const (
	// maxOpenDirs is how many directories are kept open. Archives list a
	// directory's content together, so a few would do.
	maxOpenDirs = 128

	// maxLinks is the most symbolic links followed in one path. The kernel
	// gives up at 40; umoci, whose outcome counts here, at 255.
	maxLinks = 255
)

// directory is an open directory of the rootfs.
type directory struct {
	path string // from the rootfs, without symbolic links; "" is the rootfs
	fd   int
	stat unix.Stat_t // as it was opened, brought up to date by what is done to it

	// Creating and removing entries changes the directory's times. A layer's
	// archive says what it changes, and a directory it doesn't list keeps its
	// times, so they are put back when the directory is closed.
	touched bool
	upper   *upperDir // its place in extractor.upper, once looked up

	pins int
	lru  *list.Element
}

// openDirs are the open directories of a rootfs by path.
type openDirs struct {
	byPath map[string]*directory
	lru    *list.List // of *directory, most recently used first
	root   *directory

	// lastName and last remember the outcome of the last lookup.
	lastName string
	last     *directory
}

func newOpenDirs(root string) (*openDirs, error) {
	fd, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: root, Err: err}
	}
	d := &openDirs{byPath: map[string]*directory{}, lru: list.New()}
	d.root, err = d.add("", fd)
	if err != nil {
		return nil, err
	}
	d.root.pins = 1
	return d, nil
}

// add takes over fd as the directory at path.
func (o *openDirs) add(path string, fd int) (*directory, error) {
	d := &directory{path: path, fd: fd}
	if err := unix.Fstat(fd, &d.stat); err != nil {
		unix.Close(fd)
		return nil, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	o.byPath[path] = d
	d.lru = o.lru.PushFront(d)
	for e := o.lru.Back(); e != nil && o.lru.Len() > maxOpenDirs; {
		old, prev := e.Value.(*directory), e.Prev()
		if old.pins == 0 && old != d {
			if err := o.close(old); err != nil {
				return nil, err
			}
		}
		e = prev
	}
	return d, nil
}

// close puts back d's times and closes it.
func (o *openDirs) close(d *directory) error {
	o.forget(d)
	defer unix.Close(d.fd)
	if !d.touched {
		return nil
	}
	times := []unix.Timespec{d.stat.Atim, d.stat.Mtim}
	if err := unix.UtimesNanoAt(d.fd, ".", times, 0); err != nil {
		return &fs.PathError{Op: "set times of", Path: d.path, Err: err}
	}
	return nil
}

func (o *openDirs) forget(d *directory) {
	delete(o.byPath, d.path)
	o.lru.Remove(d.lru)
	if o.last == d {
		o.last = nil
	}
}

// closeAll closes every directory, the rootfs too where that is wanted, and
// returns the first error.
func (o *openDirs) closeAll(root bool) (err error) {
	for e := o.lru.Front(); e != nil; {
		d, next := e.Value.(*directory), e.Next()
		if root || d != o.root {
			if cerr := o.close(d); err == nil {
				err = cerr
			}
		}
		e = next
	}
	return err
}

// dropBelow closes the directories at and below path, which is about to go.
func (o *openDirs) dropBelow(path string) {
	o.last = nil
	for p, d := range o.byPath {
		if p == path || strings.HasPrefix(p, path+"/") {
			o.forget(d)
			unix.Close(d.fd)
		}
	}
}

// child returns the directory called name in d, or the kernel's error: ENOENT,
// ENOTDIR for what is neither a directory nor a link, ELOOP for a link.
func (o *openDirs) child(d *directory, name string) (*directory, error) {
	path := join(d.path, name)
	if c := o.byPath[path]; c != nil {
		o.lru.MoveToFront(c.lru)
		return c, nil
	}
	if len(path) > maxPath {
		return nil, errPathTooLong
	}
	fd, err := unix.Openat(d.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	return o.add(path, fd)
}

// at opens the directory at path, which holds no symbolic links.
func (o *openDirs) at(path string) (*directory, error) {
	d := o.root
	for name := range strings.SplitSeq(path, "/") {
		if name == "" {
			continue
		}
		var err error
		if d, err = o.child(d, name); err != nil {
			return nil, err
		}
	}
	return d, nil
}

// resolve finds the directory that name stands for when every symbolic link on
// the way, the last one too, is followed within the rootfs. It returns the
// deepest directory there is, and the names missing below it: those that don't
// exist, and those of something that isn't a directory. As in umoci,
// ".." takes back a missing name.
func (o *openDirs) resolve(name string) (d *directory, missing []string, err error) {
	if o.last != nil && o.lastName == name {
		o.lru.MoveToFront(o.last.lru)
		return o.last, nil, nil
	}
	d = o.root
	links := 0
	for todo := name; todo != ""; {
		var comp string
		comp, todo, _ = strings.Cut(todo, "/")
		switch {
		case comp == "" || comp == ".":
			continue
		case comp == ".." && len(missing) > 0:
			missing = missing[:len(missing)-1]
			continue
		case comp == "..":
			if d, err = o.at(parentOf(d.path)); err != nil {
				return nil, nil, err
			}
			continue
		case len(missing) > 0:
			missing = append(missing, comp)
			continue
		}
		c, err := o.child(d, comp)
		if err == nil {
			d = c
			continue
		}
		target, lerr := readlink(d.fd, comp)
		switch {
		case lerr == nil:
			if links++; links > maxLinks {
				return nil, nil, fmt.Errorf("%w: more than %d symbolic links in a path", ErrInvalid, maxLinks)
			}
			if strings.HasPrefix(target, "/") {
				d = o.root
			}
			todo = target + "/" + todo
		case err == unix.ENOENT || err == unix.ENOTDIR:
			missing = append(missing, comp)
		default:
			return nil, nil, err
		}
	}
	if len(missing) == 0 {
		o.lastName, o.last = name, d
	}
	return d, missing, nil
}

// readlink returns what the link called name in the directory dirfd points to,
// EINVAL for what is no link.
func readlink(dirfd int, name string) (string, error) {
	var buf [maxPath + 1]byte
	n, err := unix.Readlinkat(dirfd, name, buf[:])
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// join appends one name to a path within the rootfs.
func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// parentOf returns the directory part of a path within the rootfs; the rootfs
// is its own parent.
func parentOf(path string) string {
	return path[:max(0, strings.LastIndexByte(path, '/'))]
}
