package bundle

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Whiteouts of image-spec layer.md: ".wh.NAME" hides NAME of the layers below,
// ".wh..wh..opq" all there is in its directory. Neither touches what the same
// layer put there, wherever in the archive they stand.
const (
	whiteoutPrefix = ".wh."
	whiteoutMeta   = ".wh..wh."
	whiteoutOpaque = ".wh..wh..opq"
)

// upperDir holds the names that the layer being applied has put in a directory,
// those of directories with what is in them.
type upperDir struct {
	names map[string]*upperDir
}

// markUpper remembers that this layer made the entry base of d.
func (x *extractor) markUpper(d *directory, base string) {
	if x.upper == nil {
		return
	}
	if d.upper == nil {
		d.upper = x.upper.find(d.path, true)
	}
	d.upper.sub(base, true)
}

// find returns what is known of path, making it known where wanted.
func (u *upperDir) find(path string, make bool) *upperDir {
	for name := range strings.SplitSeq(path, "/") {
		if name != "" && u != nil {
			u = u.sub(name, make)
		}
	}
	return u
}

func (u *upperDir) sub(name string, make bool) *upperDir {
	s := u.names[name]
	if s == nil && make {
		if u.names == nil {
			u.names = map[string]*upperDir{}
		}
		s = &upperDir{}
		u.names[strings.Clone(name)] = s
	}
	return s
}

// whiteout applies the whiteout called base in the directory called name.
func (x *extractor) whiteout(name, base string) error {
	hidden := strings.TrimPrefix(base, whiteoutPrefix)
	switch hidden {
	case "", ".", "..":
		return fmt.Errorf("%w: whiteout of no file", ErrInvalid)
	}
	if strings.HasPrefix(base, whiteoutMeta) && base != whiteoutOpaque {
		return nil // bookkeeping of AUFS, reserved
	}
	d, missing, err := x.dirs.resolve(name)
	if err != nil || len(missing) > 0 || x.upper == nil {
		return err // nothing there to hide
	}
	upper := x.upper.find(d.path, false)
	if base == whiteoutOpaque {
		return x.hideAll(d, upper)
	}
	return x.hide(d, upper, hidden)
}

// hide removes the entry name of d, except what of it is in upper.
func (x *extractor) hide(d *directory, upper *upperDir, name string) error {
	var st unix.Stat_t
	err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return err
	}
	var mine *upperDir
	if upper != nil {
		mine = upper.names[name]
	}
	if mine == nil {
		return x.remove(d, name, st.Mode)
	}
	if st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return nil
	}
	c, err := x.dirs.child(d, name)
	if err != nil {
		return err
	}
	return x.hideAll(c, mine)
}

// hideAll removes everything in d except what of it is in upper.
func (x *extractor) hideAll(d *directory, upper *upperDir) error {
	d.pins++
	defer func() { d.pins-- }()
	names, err := x.names(d)
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := x.hide(d, upper, name); err != nil {
			return err
		}
	}
	return nil
}

// names lists d.
func (x *extractor) names(d *directory) ([]string, error) {
	fd, err := unix.Openat(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), d.path)
	defer f.Close()
	d.touched = true // reading it changes its access time
	return f.Readdirnames(-1)
}
