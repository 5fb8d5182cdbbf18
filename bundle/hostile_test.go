//go:build linux

package bundle_test

import (
	"archive/tar"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/bundle"
)

// hostile are images that try to reach what is outside the rootfs, or to upset
// whoever unpacks them. CANARY stands for the absolute path of a directory that
// must stay as it is; it lies beside the bundle, two levels above the rootfs.
var hostile = []struct {
	name   string
	layers [][]entry
	err    error    // what Create fails with; nil if it doesn't
	want   []string // what is then in the rootfs; "!path" what is not
}{
	{"dotdot in a name",
		[][]entry{{file("../../canary/file", "evil"), file("x/../../../canary/new", "evil")}},
		nil, []string{"canary/file", "canary/new"}},
	{"absolute name", [][]entry{{file("CANARY/file", "evil")}}, nil, []string{"CANARY/file"}},
	{"absolute link as parent",
		[][]entry{{symlink("out", "CANARY"), file("out/file", "evil"), dir("out/sub", 0o777)}},
		nil, []string{"CANARY/file", "CANARY/sub"}},
	{"relative link as parent",
		[][]entry{{symlink("out", "../../canary"), file("out/file", "evil")}},
		nil, []string{"canary/file"}},
	{"many dotdots in a link",
		[][]entry{{symlink("out", strings.Repeat("../", 50)+"CANARY"), file("out/file", "evil")}},
		nil, []string{"CANARY/file"}},
	{"link of an earlier layer as parent",
		[][]entry{{symlink("out", "CANARY")}, {file("out/file", "evil")}},
		nil, []string{"CANARY/file"}},
	{"link to a link as parent",
		[][]entry{{symlink("a", "CANARY"), symlink("b", "a"), symlink("c", "/b/sub/.."), file("c/file", "evil")}},
		nil, []string{"CANARY/file"}},
	{"link through proc",
		[][]entry{{symlink("root", "/proc/self/root"), file("root/CANARY/file", "evil"), symlink("cwd", "/proc/self/cwd"), file("cwd/evil", "evil")}},
		nil, []string{"proc/self/root/CANARY/file", "proc/self/cwd/evil"}},
	{"file over a link to outside",
		[][]entry{{symlink("x", "CANARY/file"), file("x", "evil")}}, nil, []string{"x"}},
	{"directory over a link to outside",
		[][]entry{{symlink("x", "CANARY"), dir("x", 0o777), file("x/file", "evil")}}, nil, []string{"x/file"}},
	{"directory over a link to outside, of an earlier layer",
		[][]entry{{symlink("x", "CANARY")}, {dir("x", 0o700), file("x/file", "evil")}}, nil, []string{"x/file"}},
	{"attributes and mode over a link to outside",
		[][]entry{{symlink("x", "CANARY/file")}, {symlink("x", "CANARY/file").mode(0o777).owned(66, 66).xattr("user.evil", "1")}}, nil, nil},
	{"directory swapped for a link after it was opened",
		[][]entry{{dir("d", 0o755), file("d/a", "x"), symlink("d", "CANARY"), file("d/file", "evil")}},
		nil, []string{"CANARY/file"}},
	{"directory swapped for a link below an open directory",
		[][]entry{{dir("d/e", 0o755), file("d/e/a", "x"), symlink("d", "CANARY"), file("d/e/file", "evil")}},
		nil, []string{"CANARY/e/file"}},
	{"link swapped for another",
		[][]entry{{dir("in", 0o755), symlink("l", "in"), file("l/a", "x"), symlink("l", "CANARY"), file("l/file", "evil")}},
		nil, []string{"in/a", "CANARY/file", "!in/file"}},
	{"link swapped for another through itself",
		[][]entry{{symlink("l", "."), file("l/a", "x"), symlink("l/l", "CANARY"), file("l/file", "evil")}},
		nil, []string{"a", "CANARY/file", "!file"}},
	{"hard link to outside", [][]entry{{hardlink("x", "CANARY/file")}}, bundle.ErrInvalid, nil},
	{"hard link to outside by dotdots", [][]entry{{hardlink("x", "../../canary/file")}}, bundle.ErrInvalid, nil},
	{"hard link through a link to outside",
		[][]entry{{symlink("out", "CANARY"), hardlink("x", "out/file")}}, bundle.ErrInvalid, nil},
	{"hard link to a link to outside, then written to",
		[][]entry{{symlink("l", "CANARY/file"), hardlink("x", "l"), file("x", "evil")}}, nil, []string{"x"}},
	{"hard link to itself", [][]entry{{file("x", "x"), hardlink("x", "x")}}, bundle.ErrInvalid, nil},
	{"hard link over the directory of its target",
		[][]entry{{file("x/f", "x"), hardlink("x", "x/f")}}, bundle.ErrInvalid, nil},
	{"hard link to a directory", [][]entry{{dir("d", 0o755), hardlink("x", "d")}}, bundle.ErrInvalid, nil},
	{"hard link to the root", [][]entry{{hardlink("x", "/")}}, bundle.ErrInvalid, nil},
	{"hard link to nothing", [][]entry{{hardlink("x", "")}}, bundle.ErrInvalid, nil},
	{"whiteout of what is outside",
		[][]entry{{symlink("out", "CANARY"), dir("d", 0o755)}, {file("out/.wh.file", ""), file("../../canary/.wh.file", ""), file("CANARY/.wh.sub", "")}},
		nil, []string{"d"}},
	{"opaque directory outside",
		[][]entry{{symlink("out", "CANARY")}, {file("out/.wh..wh..opq", "")}}, nil, []string{"out"}},
	{"whiteout of a link to outside",
		[][]entry{{symlink("out", "CANARY"), dir("d", 0o755), symlink("d/out", "CANARY")}, {file(".wh.out", ""), file(".wh.d", "")}},
		nil, []string{"!out", "!d"}},
	{"opaque directory with a link to outside in it",
		[][]entry{{dir("d", 0o755), symlink("d/out", "CANARY")}, {file("d/mine", "x"), file("d/.wh..wh..opq", "")}},
		nil, []string{"d/mine", "!d/out"}},
	{"whiteout of the parent", [][]entry{{file("f", "x")}, {file(".wh...", "")}}, bundle.ErrInvalid, nil},
	{"whiteout of the directory itself", [][]entry{{file("f", "x")}, {file("d/.wh..", "")}}, bundle.ErrInvalid, nil},
	{"whiteout without a name", [][]entry{{file("f", "x")}, {file(".wh.", "")}}, bundle.ErrInvalid, nil},
	{"symlink loop as parent",
		[][]entry{{symlink("a", "b"), symlink("b", "a"), file("a/x", "evil")}}, bundle.ErrInvalid, nil},
	{"link to itself as parent", [][]entry{{symlink("a", "a/a"), file("a/x", "evil")}}, bundle.ErrInvalid, nil},
	{"root replaced by a link", [][]entry{{symlink("./", "CANARY"), file("file", "evil")}}, bundle.ErrInvalid, nil},
	{"root replaced by a file", [][]entry{{file("a/..", "evil")}}, bundle.ErrInvalid, nil},
	{"root replaced by a hard link", [][]entry{{hardlink(".", "x")}}, bundle.ErrInvalid, nil},
	{"name of slashes only", [][]entry{{dir("///", 0o711), file("x", "x")}}, nil, []string{"x"}},
	{"duplicates of every kind",
		[][]entry{{file("x", "1"), dir("x", 0o755), symlink("x", "CANARY/file"), device(tar.TypeFifo, "x", 0, 0), file("x", "2")}},
		nil, []string{"x"}},
	{"file in the way of a directory", [][]entry{{file("f", "x")}, {file("f/g", "x")}}, nil, []string{"f/g"}},
	{"component too long", [][]entry{{file(strings.Repeat("n", 256), "x")}}, bundle.ErrInvalid, nil},
	{"name too long", [][]entry{{file(strings.Repeat("n/", 2100)+"n", "x")}}, bundle.ErrLimit, nil},
	{"depth grown through links",
		[][]entry{{symlink("l", strings.Repeat("d/", 1500)+"d"), dir("l/x", 0o755), symlink("m", "/l/x/"+strings.Repeat("e/", 1500)), file("m/f", "x")}},
		bundle.ErrLimit, nil},
	{"link target too long", [][]entry{{symlink("l", strings.Repeat("t", 4096))}}, bundle.ErrLimit, nil},
	{"owner out of range",
		[][]entry{{file("x", "x").owned(1<<32-1, 0).with(func(h *tar.Header) { h.Format = tar.FormatGNU })}}, bundle.ErrInvalid, nil},
	{"unknown entry type", [][]entry{{file("x", "").with(func(h *tar.Header) { h.Typeflag = 'Z' })}}, bundle.ErrInvalid, nil},
}

func TestHostileImages(t *testing.T) {
	asBoth(t, func(t *testing.T) {
		for _, test := range hostile {
			t.Run(test.name, func(t *testing.T) {
				work := t.TempDir()
				t.Cleanup(func() { run(t, "chmod", "-R", "u+rwX", work) })
				canary := makeCanary(t, work)
				inside := func(s string) string { return strings.ReplaceAll(s, "CANARY", canary) }
				before := scan(t, work)

				var tars [][]byte
				for _, layer := range test.layers {
					var entries []entry
					for _, e := range layer {
						e.Name, e.Linkname = inside(e.Name), inside(e.Linkname)
						entries = append(entries, e)
					}
					tars = append(tars, archive(t, entries...))
				}
				// One level deeper than the canary, with a file for each to hit.
				target := filepath.Join(work, "bundles", "b")
				err := bundle.Create(t.Context(), target, imageOf(t, tars...), bundle.Options{})
				if !errors.Is(err, test.err) {
					t.Fatalf("Create = %v, want %v", err, test.err)
				}
				if err != nil && strings.ContainsRune(err.Error(), '\n') {
					t.Errorf("error is more than one line: %q", err)
				}
				for _, want := range test.want {
					path, absent := strings.CutPrefix(inside(want), "!")
					_, err := os.Lstat(filepath.Join(target, "rootfs", path))
					if os.IsNotExist(err) != absent {
						t.Errorf("%s in the rootfs: %v", path, err)
					}
				}
				if err := os.RemoveAll(target); err != nil {
					t.Fatal(err)
				}
				compare(t, scan(t, work, "bundles"), withoutTime(before, "bundles", scan(t, work, "bundles")))
			})
		}
	})
}

// makeCanary fills work with things that must not change, and returns the
// directory among them that hostile images know.
func makeCanary(t testing.TB, work string) string {
	t.Helper()
	canary := filepath.Join(work, "canary")
	for _, d := range []string{canary, canary + "/sub", canary + "/e", work + "/bundles", work + "/bundles/canary"} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range []string{canary + "/file", canary + "/sub/file", work + "/bundles/canary/file", work + "/evil"} {
		write(t, f, []byte("untouched"))
	}
	return canary
}

// withoutTime returns before with the line of path, whose time is that of the
// test itself, as it is in after.
func withoutTime(before tree, path string, after tree) tree {
	before[path] = after[path]
	return before
}

func TestLimits(t *testing.T) {
	zeros := strings.Repeat("\x00", 8<<20) // compresses a thousand times
	var many []entry
	for range 20 {
		many = append(many, dir("d", 0o755))
	}
	sparse := archive(t, file("sparse", "x")) // made a terabyte below
	copy(sparse[156:], "S")
	copy(sparse[482:], "\x00")
	copy(sparse[483:], "00000000000\x00")
	copy(sparse[483:], "\x80\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00") // real size, base 256
	copy(sparse[257:], "ustar  \x00")
	copy(sparse[386:], "\x80\x00\x00\x00\x00\xff\xff\xff\xff\xff\xff\xff") // its one byte is the last
	copy(sparse[398:], "00000000001\x00")
	checksum(sparse)

	tests := []struct {
		name string
		tar  []byte
		opts bundle.Options
		says string
	}{
		{"file too large", archive(t, file("f", zeros)), bundle.Options{MaxBytes: 1 << 20}, "MaxBytes"},
		{"padding too large", append(archive(t), make([]byte, 8<<20)...), bundle.Options{MaxBytes: 1 << 20}, "MaxBytes"},
		{"several files too large", archive(t, file("f", zeros[:1<<20]), file("f", zeros[:1<<20])), bundle.Options{MaxBytes: 3 << 19}, "MaxBytes"},
		{"huge sparse file", sparse, bundle.Options{}, "MaxBytes"},
		{"too many entries", archive(t, many...), bundle.Options{MaxEntries: 19}, "MaxEntries"},
		{"large attribute", archive(t, file("f", "").xattr("user.big", strings.Repeat("x", 65<<10))), bundle.Options{}, "attribute"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			work := t.TempDir()
			err := bundle.Create(t.Context(), work+"/b", imageOf(t, test.tar), test.opts)
			if !errors.Is(err, bundle.ErrLimit) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("Create = %v, want ErrLimit naming %s", err, test.says)
			}
			empty(t, work)
		})
	}
	t.Run("limits are met, not undercut", func(t *testing.T) {
		img := imageOf(t, archive(t, many...), archive(t, many...))
		if err := bundle.Create(t.Context(), t.TempDir()+"/b", img, bundle.Options{MaxEntries: 20}); err != nil {
			t.Error(err)
		}
	})
}

// checksum corrects the checksum of the header that b begins with.
func checksum(b []byte) {
	copy(b[148:156], "        ")
	sum := 0
	for _, c := range b[:512] {
		sum += int(c)
	}
	for i := range 6 {
		b[153-i] = byte('0' + sum>>(3*i)&7)
	}
	b[154], b[155] = 0, ' '
}

// empty fails the test if anything is left in dir.
func empty(t testing.TB, dir string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		t.Errorf("%s was left behind", e.Name())
	}
}

// TestSparse checks that holes stay holes and read as zeros.
func TestSparse(t *testing.T) {
	work := t.TempDir()
	run(t, "sh", "-ec", "cd "+work+" && truncate -s 64M f && printf middle | dd of=f bs=1 seek=20000000 conv=notrunc status=none && printf end | dd of=f bs=1 seek=67108861 conv=notrunc status=none")
	for _, format := range []string{"gnu", "posix"} {
		run(t, "tar", "-C", work, "--sparse", "--format="+format, "-cf", work+"/"+format+".tar", "f")
		if err := bundle.Create(t.Context(), work+"/"+format, imageOf(t, read(t, work+"/"+format+".tar")), bundle.Options{}); err != nil {
			t.Fatal(err)
		}
		got := work + "/" + format + "/rootfs/f"
		run(t, "cmp", work+"/f", got)
		if blocks := strings.TrimSpace(run(t, "stat", "-c", "%b", got)); len(blocks) > 3 { // of 512 bytes
			t.Errorf("%s: sparse file of 9 bytes takes %s blocks", format, blocks)
		}
	}
}
