//go:build linux

package bundle_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// tree describes everything in a directory: a line for each path.
type tree map[string]string

// scan describes all there is at and below root: type, mode, owner, times,
// extended attributes, device numbers, link target, names of the same file,
// content. Times of the paths in anyTime are left out.
func scan(t testing.TB, root string, anyTime ...string) tree {
	t.Helper()
	out, links := tree{}, map[uint64][]string{}
	inodes := map[string]uint64{}
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		line := fmt.Sprintf("%v uid=%d gid=%d", info.Mode(), st.Uid, st.Gid)
		if !slices.Contains(anyTime, name) {
			line += " mtime=" + info.ModTime().UTC().Format(time.RFC3339Nano)
		}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			line += " -> " + target
		case info.Mode()&fs.ModeDevice != 0:
			line += fmt.Sprintf(" dev=%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		case info.Mode().IsRegular():
			line += fmt.Sprintf(" size=%d sha256=%x", info.Size(), sha256.Sum256(readAny(t, path, info.Mode())))
		}
		out[name] = line + xattrs(t, path)
		if !info.IsDir() && st.Nlink > 1 {
			links[st.Ino] = append(links[st.Ino], name)
			inodes[name] = st.Ino
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, ino := range inodes {
		out[name] += " links=" + strings.Join(slices.Sorted(slices.Values(links[ino])), ",")
	}
	return out
}

// readAny reads a file that its owner may have no right to.
func readAny(t testing.TB, path string, mode fs.FileMode) []byte {
	b, err := os.ReadFile(path)
	if os.IsPermission(err) {
		if err := os.Chmod(path, 0o600); err != nil {
			t.Fatal(err)
		}
		b = read(t, path)
		err = os.Chmod(path, mode)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// xattrs lists the extended attributes of path, those of the machine aside.
func xattrs(t testing.TB, path string) string {
	buf := make([]byte, 1<<16)
	n, err := unix.Llistxattr(path, buf)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	names := strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00")
	slices.Sort(names)
	out := ""
	for _, name := range names {
		if name == "" || name == "security.selinux" {
			continue
		}
		n, err := unix.Lgetxattr(path, name, buf)
		if err != nil {
			t.Fatalf("%s: %s: %v", path, name, err)
		}
		out += fmt.Sprintf(" %s=%q", name, buf[:n])
	}
	return out
}

// compare fails the test for every path in which got is not want.
func compare(t testing.TB, got, want tree) {
	t.Helper()
	paths := maps.Clone(got)
	maps.Copy(paths, want)
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		if got[path] != want[path] {
			t.Errorf("%s:\n got %s\nwant %s", path, got[path], want[path])
		}
	}
}
