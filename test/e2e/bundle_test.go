package e2e

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"syscall"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	runspec "github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/test/testimage"
)

// entries makes a layer of tar entries.
func entries(t *testing.T, c testimage.Compression, list ...testimage.Entry) layer {
	t.Helper()
	r, err := testimage.Tar(list...)
	if err != nil {
		t.Fatal(err)
	}
	return layer{r, c}
}

func dir(name string) testimage.Entry {
	return testimage.Entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: name}}
}

func file(name, content string) testimage.Entry {
	return testimage.Entry{Header: tar.Header{Name: name}, Content: content}
}

func link(kind byte, name, to string) testimage.Entry {
	return testimage.Entry{Header: tar.Header{Typeflag: kind, Name: name, Linkname: to}}
}

// debianImage is a real root file system below two layers that do everything a
// layer may do to what lies beneath.
func debianImage(t *testing.T) *image {
	t.Helper()
	rootfs, err := testimage.Debian(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	base, err := os.Open(rootfs)
	if err != nil {
		t.Fatal(err)
	}
	defer base.Close()
	owned := file("srv/owned", "by somebody else")
	owned.Uid, owned.Gid, owned.Mode = 1234, 4321, 0o4755
	attributes := file("srv/attributes", "with extended attributes")
	attributes.PAXRecords = map[string]string{
		"SCHILY.xattr.user.waybill":        "yes",
		"SCHILY.xattr.security.capability": "\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
	}
	sticky := dir("srv/sticky/")
	sticky.Mode = 0o1777
	device := testimage.Entry{Header: tar.Header{Typeflag: tar.TypeChar, Name: "srv/null", Mode: 0o666, Devmajor: 1, Devminor: 3}}
	fifo := testimage.Entry{Header: tar.Header{Typeflag: tar.TypeFifo, Name: "srv/fifo", Mode: 0o600}}
	config := testimage.Config()
	config.Config = ocispec.ImageConfig{
		Cmd:        []string{"/bin/cat", "/etc/os-release"},
		Env:        []string{"PATH=/usr/bin:/bin", "COLOUR=blue"},
		WorkingDir: "/srv",
		StopSignal: "SIGTERM",
	}
	return makeImageConfig(t, config,
		layer{base, testimage.Gzip},
		entries(t, testimage.Gzip,
			dir("srv/"), owned, attributes, sticky, device, fifo,
			file("srv/first", "one file"),
			link(tar.TypeLink, "srv/second", "srv/first"),
			link(tar.TypeSymlink, "srv/dangling", "/no/such/file"),
			link(tar.TypeSymlink, "srv/up", "../etc"),
			file("srv/"+strings.Repeat("long-", 45)+"name", "long"),
			file("srv/ünï-字", "unicode"),
			dir("srv/opaque/"), file("srv/opaque/below", "goes"), dir("srv/opaque/kept/"),
			dir("srv/gone/"), file("srv/gone/file", "goes"),
			file("srv/turns", "from a file into a directory"),
		),
		entries(t, testimage.Gzip,
			dir("srv/"), dir("srv/opaque/"), file("srv/opaque/.wh..wh..opq", ""), file("srv/opaque/above", "stays"),
			file("srv/.wh.gone", ""), file("usr/share/.wh.doc", ""), file("etc/.wh.motd", ""),
			dir("srv/turns/"), file("srv/turns/now", "a directory"),
			link(tar.TypeLink, "srv/third", "srv/first"),
			file("etc/hostname", "waybill\n"),
		),
	)
}

// TestBundleRuns starts a Debian with the runtimes people use.
func TestBundleRuns(t *testing.T) {
	i := debianImage(t)
	registry := startRegistry(t, realserver.RegistryOptions{})
	i.push(t, registry.Host+"/debian:1")
	u := newUser(t)
	bundle := filepath.Join(u.home, "bundle")
	u.run("bundle", registry.Host+"/debian:1", bundle).exits(0)

	want, err := os.ReadFile(filepath.Join(bundle, "rootfs", "usr", "lib", "os-release"))
	if err != nil {
		t.Fatal(err)
	}
	for _, runtime := range []string{"runc", "crun"} {
		t.Run(runtime, func(t *testing.T) {
			id := fmt.Sprintf("waybill-test-%d", os.Getpid())
			args := []string{"--root", t.TempDir(), "run", "--bundle", bundle, id}
			cmd := exec.CommandContext(t.Context(), runtime, args...)
			if _, err := os.Stat("/sys/fs/cgroup/unified/cgroup.procs"); err == nil && runtime == "crun" {
				// crun refuses a machine whose cgroups are v1 with v2 mounted beside
				// them; in a mount namespace without the latter it runs.
				cmd = exec.CommandContext(t.Context(), "unshare", append([]string{"--mount", "sh", "-c",
					`umount /sys/fs/cgroup/unified && exec "$0" "$@"`, runtime}, args...)...)
			}
			var stdout, stderr bytes.Buffer
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := cmd.Run(); err != nil {
				t.Fatalf("%s: %v\n%s%s", runtime, err, &stdout, &stderr)
			}
			if stdout.String() != string(want) || !strings.Contains(stdout.String(), "Debian") {
				t.Errorf("the container printed %q, want its /etc/os-release", &stdout)
			}
		})
	}
}

// TestBundleLikeUmoci compares the root file system, file for file, with what
// umoci unpacks of a copy that skopeo made.
func TestBundleLikeUmoci(t *testing.T) {
	i := debianImage(t)
	registry := startRegistry(t, realserver.RegistryOptions{})
	i.push(t, registry.Host+"/debian:1")
	theirs := t.TempDir()
	peer(t, "skopeo", "copy", "--quiet", "--insecure-policy", "--src-tls-verify=false",
		"docker://"+registry.Host+"/debian:1", "oci:"+theirs+"/layout:app")
	peer(t, "umoci", "unpack", "--image", theirs+"/layout:app", theirs+"/bundle")

	u := newUser(t)
	ours := filepath.Join(u.home, "bundle")
	u.run("bundle", registry.Host+"/debian:1", ours).exits(0)
	want, got := tree(t, theirs+"/bundle/rootfs"), tree(t, ours+"/rootfs")
	if len(want) < 5000 {
		t.Fatalf("umoci unpacked only %d files: this is no Debian", len(want))
	}
	differences := 0
	for _, path := range allKeys(want, got) {
		if want[path] != got[path] {
			if differences++; differences <= 20 {
				t.Errorf("%s\n  umoci:   %s\n  waybill: %s", path, orMissing(want[path]), orMissing(got[path]))
			}
		}
	}
	if differences > 20 {
		t.Errorf("… and %d more files differ", differences-20)
	}
}

func orMissing(s string) string {
	if s == "" {
		return "(not there)"
	}
	return s
}

func allKeys(a, b map[string]string) []string {
	var keys []string
	for k := range a {
		keys = append(keys, k)
	}
	for k := range b {
		if _, ok := a[k]; !ok {
			keys = append(keys, k)
		}
	}
	sort.Strings(keys)
	return keys
}

// tree describes every file below root: all that an archive can say of it.
func tree(t *testing.T, root string) map[string]string {
	t.Helper()
	files := map[string]string{}
	links := map[uint64]string{} // inode → first path
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		var st syscall.Stat_t
		if err := syscall.Lstat(path, &st); err != nil {
			return err
		}
		d := fmt.Sprintf("mode %o owner %d:%d time %d.%09d", st.Mode, st.Uid, st.Gid, st.Mtim.Sec, st.Mtim.Nsec)
		switch st.Mode & syscall.S_IFMT {
		case syscall.S_IFREG:
			sum, err := hashFile(path)
			if err != nil {
				return err
			}
			d += fmt.Sprintf(" size %d sha256 %s", st.Size, sum)
		case syscall.S_IFLNK:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			d += " -> " + to
		case syscall.S_IFCHR, syscall.S_IFBLK:
			d += fmt.Sprintf(" device %d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))
		}
		if st.Nlink > 1 && !e.IsDir() {
			if first, ok := links[st.Ino]; ok {
				d += " same as " + first
			} else {
				links[st.Ino] = name
				d += fmt.Sprintf(" %d links", st.Nlink)
			}
		}
		xattrs, err := attributes(path)
		if err != nil {
			return err
		}
		files[name] = d + xattrs
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func hashFile(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// attributes lists the extended attributes of a file, sorted.
func attributes(path string) (string, error) {
	buf := make([]byte, 64<<10)
	n, err := unix.Llistxattr(path, buf)
	if err != nil {
		return "", fmt.Errorf("attributes of %s: %w", path, err)
	}
	names := strings.FieldsFunc(string(buf[:n]), func(r rune) bool { return r == 0 })
	sort.Strings(names)
	var all strings.Builder
	for _, name := range names {
		n, err := unix.Lgetxattr(path, name, buf)
		if err != nil {
			return "", fmt.Errorf("attribute %s of %s: %w", name, path, err)
		}
		fmt.Fprintf(&all, " %s=%q", name, buf[:n])
	}
	return all.String(), nil
}

// TestBundleConfig looks at what the runtime is told.
func TestBundleConfig(t *testing.T) {
	config := testimage.Config()
	config.Config = ocispec.ImageConfig{
		Entrypoint: []string{"/bin/entry", "--flag"},
		Cmd:        []string{"argument"},
		Env:        []string{"A=b", "PATH=/bin"},
		WorkingDir: "/work",
		User:       "app:staff",
		Volumes:    map[string]struct{}{"/data": {}},
		Labels:     map[string]string{"colour": "blue"},
		StopSignal: "SIGINT",
	}
	i := makeImageConfig(t, config, entries(t, testimage.Gzip,
		dir("etc/"), file("etc/passwd", "root:x:0:0::/root:/bin/sh\napp:x:1001:1002::/home/app:/bin/sh\n"),
		file("etc/group", "root:x:0:\nstaff:x:50:app\nextra:x:77:app\n"), dir("work/"),
	))
	u := newUser(t)
	bundle := filepath.Join(u.home, "bundle")
	u.run("bundle", i.name(), bundle).exits(0)
	data, err := os.ReadFile(filepath.Join(bundle, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var spec runspec.Spec
	if err := json.Unmarshal(data, &spec); err != nil {
		t.Fatal(err)
	}
	p := spec.Process
	if got := strings.Join(p.Args, " "); got != "/bin/entry --flag argument" {
		t.Errorf("args: %s", got)
	}
	if p.Cwd != "/work" || p.User.UID != 1001 || p.User.GID != 50 {
		t.Errorf("cwd %s, user %+v", p.Cwd, p.User)
	}
	env := strings.Join(p.Env, " ")
	if !strings.Contains(env, "A=b") || !strings.Contains(env, "PATH=/bin") {
		t.Errorf("env: %s", env)
	}
	if spec.Annotations["colour"] != "blue" || spec.Annotations["org.opencontainers.image.stopSignal"] != "SIGINT" {
		t.Errorf("annotations: %v", spec.Annotations)
	}
	volume := false
	for _, m := range spec.Mounts {
		volume = volume || m.Destination == "/data"
	}
	if !volume {
		t.Errorf("no mount for the volume /data: %+v", spec.Mounts)
	}
}

// TestBundleNeverHalf leaves no rootfs when a layer can't be had, isn't what the
// configuration says, or the place is taken.
func TestBundleNeverHalf(t *testing.T) {
	i := smallImage(t)
	partial := i.withoutLayers(t)
	u := newUser(t)
	bundle := filepath.Join(u.home, "bundle")
	u.run("bundle", partial.name(), bundle).exits(3)
	if _, err := os.Lstat(filepath.Join(bundle, "rootfs")); err == nil {
		t.Error("a rootfs was left though a layer is nowhere")
	}

	wrong := makeImage(t, layer{testimage.Text(1, 1000), testimage.Gzip})
	other := makeImage(t, layer{testimage.Text(2, 1000), testimage.Gzip})
	lying := wrong.layers[0]
	lying.DiffID = other.layers[0].DiffID
	desc, err := wrong.AddImage(testimage.Config(), lying)
	if err != nil {
		t.Fatal(err)
	}
	if err := wrong.Tag(desc, "lying"); err != nil {
		t.Fatal(err)
	}
	o := u.run("bundle", "oci:"+wrong.Dir+":lying", bundle)
	if o.code != 4 {
		t.Errorf("%s\nwant exit code 4: the layer is not the one the configuration names", o)
	}
	o.says(lying.DiffID.String())
	if _, err := os.Lstat(filepath.Join(bundle, "rootfs")); err == nil {
		t.Error("a rootfs was left though a layer's diffID is wrong")
	}

	u.file("taken/rootfs/precious", "precious")
	o = u.run("bundle", i.name(), filepath.Join(u.home, "taken"))
	if o.code == 0 {
		t.Errorf("%s\nmust not unpack over what is there", o)
	}
	if data, err := os.ReadFile(filepath.Join(u.home, "taken", "rootfs", "precious")); err != nil || string(data) != "precious" {
		t.Errorf("what was there is now %q, %v", data, err)
	}
}
