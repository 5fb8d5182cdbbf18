//go:build linux

package bundle_test

import (
	"archive/tar"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/bundle"
	"github.com/waybill-project/waybill/test/testimage"
)

// capability is what setcap(8) makes of cap_net_raw+ep (capabilities(7),
// revision 2).
const capability = "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// acl is an access control list (acl(5)) that gives user 1000 the rights rw.
const acl = "\x02\x00\x00\x00" +
	"\x01\x00\x06\x00\xff\xff\xff\xff" + "\x02\x00\x06\x00\xe8\x03\x00\x00" +
	"\x04\x00\x04\x00\xff\xff\xff\xff" + "\x10\x00\x06\x00\xff\xff\xff\xff" + "\x20\x00\x04\x00\xff\xff\xff\xff"

// features are the layers of an image with some of everything that a layer may
// hold.
func features(t testing.TB) [][]byte {
	at := func(sec, nsec int64) func(*tar.Header) {
		return func(h *tar.Header) { h.ModTime, h.Format = time.Unix(sec, nsec), tar.FormatPAX }
	}
	long := strings.Repeat("long-name/", 30)
	base := archive(t,
		dir("./", 0o750).owned(7, 8),
		dir("bin", 0o755), dir("etc/", 0o755), dir("tmp", 0o1777),
		dir("late", 0o700).with(at(1000, 123456789)),
		file("late/child", "made after its directory").with(at(2000, 999)),
		file("early/child", "made before its directory"),
		dir("early", 0o711).owned(3, 4),
		file("bin/su", "#!").mode(0o4755).owned(0, 0),
		file("bin/sgid", "#!").mode(0o2755).owned(0, 50),
		file("bin/both", "#!").mode(0o6711).owned(20, 50),
		file("bin/ping", "x").xattr("security.capability", capability).mode(0o755),
		file("bin/ping-other", "x").xattr("security.capability", capability).owned(9, 9),
		dir("group", 0o2775).owned(0, 100), file("group/inherits-not", "x").owned(0, 0), dir("group/sub", 0o755),
		file("readonly", "r").mode(0o444).owned(11, 12), file("none", "n").mode(0), dir("closed", 0o555), dir("shut", 0),
		file("closed/in", "x"), file("shut/in", "x"),
		file("attr", "x").xattr("user.comment", "bin\x01ary").xattr("user.empty", ""), file("acl", "x").mode(0o664).xattr("system.posix_acl_access", acl),
		dir("acl-dir", 0o775).xattr("system.posix_acl_default", acl), file("acl-dir/born-with", "x"), dir("acl-dir/sub", 0o755),
		dir("trusted", 0o755).xattr("trusted.note", "t"),
		file("host", "x").xattr("trusted.overlay.opaque", "y").xattr("security.selinux", "system_u:object_r:etc_t:s0"),
		symlink("usr-link", "etc"), symlink("absolute", "/etc/passwd"), symlink("dangling", "../../nowhere"), symlink("owned-link", "x").owned(5, 6),
		file("etc/passwd", "root:x:0:0::/root:/bin/sh\n"), file("usr-link/through", "made through a link"),
		symlink("abs-dir", "/etc/../tmp"), file("abs-dir/through-absolute", "x"),
		symlink("deep-dangling", "/made/on/demand"), file("deep-dangling/file", "x"),
		hardlink("passwd-2", "etc/passwd"), hardlink("/passwd-3", "./usr-link/passwd"), hardlink("link-of-link", "absolute"),
		device(tar.TypeFifo, "fifo", 0, 0).owned(1, 2), device(tar.TypeFifo, "fifo-666", 0, 0).mode(0o666),
		device(tar.TypeChar, "null", 1, 3).mode(0o666), device(tar.TypeBlock, "loop", 7, 300),
		file("/abs/name", "x"), file("a/../../../dotdot", "x"), file("./dot/./slash", "x"), dir("abs", 0o755), dir("dot", 0o755),
		file(long+"end", "x"), symlink("long-target", strings.Repeat("../x", 200)),
		file("ünïcode-\xff-bytes", "x").with(func(h *tar.Header) { h.Format = tar.FormatGNU }),
		file("empty", ""), file("big", strings.Repeat("0123456789abcdef", 100_000)), file("old", "x").with(at(-86400, 0)), file("epoch", "x").with(at(0, 0)),
		file("bigid", "x").owned(3_000_000_000, 2_147_483_647).with(func(h *tar.Header) { h.Format = tar.FormatPAX }),
		file("twice", "first").mode(0o600), file("twice", "second"),
		dir("was-dir", 0o755), file("was-dir/x", "x"), file("was-dir", "a file now"),
		file("was-file", "x"), dir("was-file", 0o755), file("was-file/x", "x"),
		dir("lower", 0o755), file("lower/keep", "k"), file("lower/gone", "g"), dir("lower/tree", 0o755), file("lower/tree/leaf", "l"),
		dir("opaque", 0o755), file("opaque/one", "1"), dir("opaque/two", 0o755), file("opaque/two/three", "3"),
		dir("attributed", 0o755).xattr("user.lower", "1"), dir("same", 0o700), file("same/stays", "s"),
		dir("swap", 0o755), file("swap/x", "x"), symlink("usr-merge", "lower"),
	)
	upper := archive(t,
		file("lower/.wh.gone", ""), file("lower/.wh.tree", ""), file("lower/.wh.never-was", ""), file("no/such/.wh.dir", ""),
		file("opaque/new", "n"), file("opaque/.wh..wh..opq", ""), file("opaque/newer", "n"),
		dir("attributed", 0o750).xattr("user.upper", "2"), dir("same", 0o711), file("same/added", "x"),
		file("usr-merge/.wh.keep", ""), file("usr-merge/through", "x"),
		symlink("swap", "etc"), file("swap/through-new-link", "x"),
		file("readd", "x"), file(".wh.readd", ""),
		file("passwd-2", "no more a hard link"), file(".wh..wh.plnk", ""), dir("usr-link", 0o755), file("usr-link/own", "x"),
	)
	top := archive(t,
		dir("lower/tree", 0o755), file("lower/tree/again", "x"), file(".wh.opaque", ""), dir("opaque", 0o700), file("opaque/last", "x"),
		hardlink("etc/hard", "big"), file("swap", "x"),
	)
	return [][]byte{base, upper, top}
}

// unlisted are the directories of features that no entry describes, so that
// their times are those of the unpacking.
var unlisted = append([]string{".", "made", "made/on", "made/on/demand", "a"}, func() (all []string) {
	for i := range 30 {
		all = append(all, strings.TrimSuffix(strings.Repeat("long-name/", i+1), "/"))
	}
	return all
}()...)

func TestFileForFileWhatUmociUnpacks(t *testing.T) {
	needRoot(t)
	work := t.TempDir()
	layout, ours, theirs := filepath.Join(work, "layout"), filepath.Join(work, "ours"), filepath.Join(work, "theirs")
	img := imageOf(t, features(t)...)
	writeLayout(t, layout, img)

	run(t, "umoci", "unpack", "--image", layout+":image", theirs)
	if err := bundle.Create(t.Context(), ours, img, bundle.Options{Warn: logged(t)}); err != nil {
		t.Fatal(err)
	}
	compare(t, scan(t, ours+"/rootfs", unlisted...), scan(t, theirs+"/rootfs", unlisted...))
}

func TestFileForFileWhatUmociUnpacksRootless(t *testing.T) {
	if !asOrdinaryUser(t) {
		return
	}
	work := t.TempDir()
	layout, ours, theirs := filepath.Join(work, "layout"), filepath.Join(work, "ours"), filepath.Join(work, "theirs")
	img := imageOf(t, features(t)...)
	writeLayout(t, layout, img)

	t.Cleanup(func() { run(t, "chmod", "-R", "u+rwx", work) })
	run(t, "umoci", "unpack", "--rootless", "--image", layout+":image", theirs)
	if err := bundle.Create(t.Context(), ours, img, bundle.Options{}); err != nil {
		t.Fatal(err)
	}
	open := func(root string) tree {
		// What can't be looked into is made to be, in both alike, after its mode
		// was compared.
		shut := filepath.Join(root, "shut")
		if info, err := os.Stat(shut); err != nil || info.Mode().Perm() != 0 {
			t.Errorf("%s: mode %v, want 0 (%v)", shut, info.Mode(), err)
		}
		if err := os.Chmod(shut, 0o700); err != nil {
			t.Fatal(err)
		}
		return scan(t, root, unlisted...)
	}
	got, want := open(ours+"/rootfs"), open(theirs+"/rootfs")
	// The documented difference: a file its owner can't write to keeps the
	// record of whose it would have been.
	record := regexp.MustCompile(` user\.rootlesscontainers="[^"]*"`)
	for name := range want {
		if strings.HasPrefix(want[name], "-r--") || strings.HasPrefix(want[name], "----") {
			if !record.MatchString(got[name]) && name == "readonly" {
				t.Errorf("%s: no record of its owner: %s", name, got[name])
			}
			got[name], want[name] = record.ReplaceAllString(got[name], ""), record.ReplaceAllString(want[name], "")
		}
	}
	compare(t, got, want)
}

func TestImagesOfOtherBuilders(t *testing.T) {
	needRoot(t)
	work := t.TempDir()
	builders := map[string]func(t *testing.T, layout string){
		"umoci":       buildWithUmoci,
		"buildah":     buildWithBuildah,
		"debootstrap": buildWithDebootstrap,
	}
	for name, build := range builders {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(work, name)
			layout, theirs := dir+"/layout", dir+"/theirs"
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			build(t, layout)
			run(t, "umoci", "unpack", "--image", layout+":image", theirs)
			want := scan(t, theirs+"/rootfs")

			plain := dir + "/plain"
			run(t, "skopeo", "copy", "--dest-decompress", "oci:"+layout+":image", "dir:"+plain)
			copies := map[string][]string{
				"gzip":   {"copy", "--dest-compress-format", "gzip", "dir:" + plain, "oci:" + dir + "/gzip"},
				"zstd":   {"copy", "--dest-compress-format", "zstd", "dir:" + plain, "oci:" + dir + "/zstd"},
				"docker": {"copy", "--format", "v2s2", "oci:" + layout + ":image", "dir:" + dir + "/docker"},
			}
			for format, args := range copies {
				run(t, "skopeo", args...)
				ours := dir + "/bundle-" + format
				if err := bundle.Create(t.Context(), ours, readCopy(t, dir+"/"+format), bundle.Options{Warn: refused(t)}); err != nil {
					t.Fatal(err)
				}
				compare(t, scan(t, ours+"/rootfs"), want)
			}
			if err := bundle.Create(t.Context(), dir+"/bundle-plain", readCopy(t, plain), bundle.Options{}); err != nil {
				t.Fatal(err)
			}
			compare(t, scan(t, dir+"/bundle-plain/rootfs"), want)
		})
	}
}

func buildWithUmoci(t *testing.T, layout string) {
	work := t.TempDir()
	run(t, "umoci", "init", "--layout", layout)
	run(t, "umoci", "new", "--image", layout+":image")
	steps := []string{
		"mkdir -p a/b/c && echo 1 >a/b/c/1 && echo 2 >a/2 && ln a/2 a/3 && ln -s ../a a/self && mknod zero c 1 5 && mkfifo p",
		"rm a/2 && rm -r a/b/c && chown 5:6 a && chmod 4755 a/3 && mkdir a/b/c && echo new >a/b/c/new && rm zero",
		"rm -r a && echo file >a && mkdir p2 && mv p p2",
	}
	for i, step := range steps {
		b := fmt.Sprintf("%s/%d", work, i)
		run(t, "umoci", "unpack", "--image", layout+":image", b)
		run(t, "sh", "-ec", "cd "+b+"/rootfs; "+step)
		run(t, "umoci", "repack", "--image", layout+":image", b)
	}
	run(t, "umoci", "gc", "--layout", layout)
}

func buildWithBuildah(t *testing.T, layout string) {
	work := t.TempDir()
	// Two layers by two commits, each from a directory of files.
	ctx := func(name, script string) string {
		d := filepath.Join(work, name)
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
		run(t, "sh", "-ec", "cd "+d+"; "+script)
		return d
	}
	one := ctx("one", "mkdir -p usr/bin etc; echo hello >usr/bin/tool; chmod 755 usr/bin/tool; ln -s usr/bin bin; echo x >etc/conf")
	two := ctx("two", "mkdir -p etc; echo y >etc/conf; echo z >etc/more; chmod 600 etc/more")
	buildah := func(args ...string) string {
		all := append([]string{"--root", work + "/store", "--runroot", work + "/run", "--storage-driver", "vfs"}, args...)
		cmd := exec.Command("buildah", all...)
		cmd.Env = append(os.Environ(), "BUILDAH_ISOLATION=chroot")
		return strings.TrimSpace(runCmd(t, cmd))
	}
	first := lastLine(buildah("from", "scratch"))
	buildah("copy", first, one, "/")
	base := lastLine(buildah("commit", "--quiet", first))
	second := lastLine(buildah("from", "--pull-never", base))
	buildah("copy", "--chown", "100:101", second, two, "/")
	buildah("commit", "--quiet", second, "oci:"+layout+":image")
}

func lastLine(s string) string { return s[strings.LastIndexByte(s, '\n')+1:] }

func buildWithDebootstrap(t *testing.T, layout string) {
	b := read(t, debootstrapped(t))
	img := bundle.Image{Config: configOf(t, ocispec.ImageConfig{}, b), Layers: []bundle.Layer{blobLayer(gzipLayer, gzipped(t, b))}}
	writeLayout(t, layout, img)
}

// debootstrapped returns the path of a tar archive of a small Debian system.
func debootstrapped(t testing.TB) string {
	t.Helper()
	if os.Getenv(childVariable) != "" {
		return filepath.Join(os.TempDir(), givenFile) // only root can make one
	}
	path, err := testimage.Debian(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// needRoot skips what only root can do.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can make devices and give files away")
	}
}

// logged shows warnings in the test's log.
func logged(t testing.TB) func(string) {
	return func(message string) { t.Log("warning:", message) }
}

// refused fails the test on a warning.
func refused(t testing.TB) func(string) {
	return func(message string) { t.Error("warning:", message) }
}
