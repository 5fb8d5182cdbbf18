//go:build linux

package bundle_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/bundle"
)

const gzipLayer = ocispec.MediaTypeImageLayerGzip

// stamp is the time of every entry that doesn't say otherwise.
var stamp = time.Unix(1234567890, 0)

// entry is a tar entry by its essentials.
type entry struct {
	tar.Header
	content string
}

func dir(name string, mode int64) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeDir, Name: name, Mode: mode}}
}

func file(name, content string) entry {
	return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content))}, content}
}

func symlink(name, target string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}}
}

func hardlink(name, target string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}}
}

func device(kind byte, name string, major, minor int64) entry {
	return entry{Header: tar.Header{Typeflag: kind, Name: name, Mode: 0o620, Devmajor: major, Devminor: minor}}
}

// with returns e changed by f.
func (e entry) with(f func(*tar.Header)) entry {
	f(&e.Header)
	return e
}

func (e entry) xattr(name, value string) entry {
	records := map[string]string{"SCHILY.xattr." + name: value}
	for k, v := range e.PAXRecords {
		records[k] = v
	}
	e.PAXRecords = records
	return e
}

func (e entry) owned(uid, gid int64) entry { e.Uid, e.Gid = int(uid), int(gid); return e }
func (e entry) mode(mode int64) entry      { e.Mode = mode; return e }

// archive returns the entries as a tar archive.
func archive(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		if e.ModTime.IsZero() {
			e.ModTime = stamp
		}
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatalf("%s: %v", e.Name, err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// blobLayer is a layer whose blob is b.
func blobLayer(mediaType string, b []byte) bundle.Layer {
	return bundle.Layer{
		Descriptor: ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))},
		Open:       func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil },
	}
}

// configOf returns an image configuration for layers that inflate to tars.
func configOf(t testing.TB, c ocispec.ImageConfig, tars ...[]byte) []byte {
	t.Helper()
	img := ocispec.Image{Config: c}
	img.OS, img.Architecture = "linux", "amd64"
	img.RootFS.Type = "layers"
	for _, b := range tars {
		img.RootFS.DiffIDs = append(img.RootFS.DiffIDs, digest.FromBytes(b))
	}
	raw, err := json.Marshal(img)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// imageOf returns an image of gzip layers.
func imageOf(t testing.TB, tars ...[]byte) bundle.Image {
	t.Helper()
	img := bundle.Image{Config: configOf(t, ocispec.ImageConfig{}, tars...)}
	for _, b := range tars {
		img.Layers = append(img.Layers, blobLayer(gzipLayer, gzipped(t, b)))
	}
	return img
}

// readCopy returns the only image of an OCI layout or of a directory in the form
// of skopeo's "dir:".
func readCopy(t testing.TB, root string) bundle.Image {
	t.Helper()
	decode := func(path string, v any) {
		if err := json.Unmarshal(read(t, path), v); err != nil {
			t.Fatal(err)
		}
	}
	blob := func(d ocispec.Descriptor) string { return filepath.Join(root, d.Digest.Encoded()) }
	manifest := filepath.Join(root, "manifest.json")
	if _, err := os.Stat(manifest); err != nil {
		blob = func(d ocispec.Descriptor) string {
			return filepath.Join(root, "blobs", d.Digest.Algorithm().String(), d.Digest.Encoded())
		}
		var index ocispec.Index
		decode(filepath.Join(root, "index.json"), &index)
		if len(index.Manifests) != 1 {
			t.Fatalf("%s holds %d images, not one", root, len(index.Manifests))
		}
		manifest = blob(index.Manifests[0])
	}
	var m ocispec.Manifest
	decode(manifest, &m)
	img := bundle.Image{Config: read(t, blob(m.Config))}
	for _, d := range m.Layers {
		open := func(context.Context) (io.ReadCloser, error) { return os.Open(blob(d)) }
		img.Layers = append(img.Layers, bundle.Layer{Descriptor: d, Open: open})
	}
	return img
}

// writeLayout writes img as an OCI layout with the tag "image".
func writeLayout(t testing.TB, layout string, img bundle.Image) {
	t.Helper()
	blobs := filepath.Join(layout, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		t.Fatal(err)
	}
	put := func(mediaType string, b []byte) ocispec.Descriptor {
		d := ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(b), Size: int64(len(b))}
		write(t, filepath.Join(blobs, d.Digest.Encoded()), b)
		return d
	}
	marshal := func(v any) []byte {
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	m.Config = put(ocispec.MediaTypeImageConfig, img.Config)
	for _, l := range img.Layers {
		r, err := l.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		m.Layers = append(m.Layers, put(l.Descriptor.MediaType, b))
	}
	d := put(ocispec.MediaTypeImageManifest, marshal(m))
	d.Annotations = map[string]string{ocispec.AnnotationRefName: "image"}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: []ocispec.Descriptor{d}}
	write(t, filepath.Join(layout, "index.json"), marshal(index))
	write(t, filepath.Join(layout, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`))
}

func read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t testing.TB, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// run runs a program that must succeed and returns what it wrote.
func run(t testing.TB, name string, args ...string) string {
	t.Helper()
	return runCmd(t, exec.Command(name, args...))
}

// packages says where programs that tests call come from.
var packages = map[string]string{
	"umoci": "umoci", "skopeo": "skopeo", "buildah": "buildah", "runc": "runc", "crun": "crun",
	"tar": "tar", "setpriv": "util-linux", "unshare": "util-linux",
}

func runCmd(t testing.TB, cmd *exec.Cmd) string {
	t.Helper()
	if cmd.Err != nil {
		t.Fatalf("%v: apt-get install %s", cmd.Err, packages[filepath.Base(cmd.Path)])
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, out)
	}
	return string(out)
}

// ordinaryUser is who tests become that are not about root.
const ordinaryUser = 12345

const (
	childVariable = "WAYBILL_BUNDLE_TEST_CHILD"
	givenFile     = "given"
)

// asOrdinaryUser runs the calling test again in a process of an ordinary user,
// and returns false; in that process, or where there is no root to begin with,
// it returns true. A file given is there called givenFile in the directory for
// temporary files.
func asOrdinaryUser(t *testing.T, given ...string) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		return true
	}
	work := openTempDir(t)
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(work, "test")
	if err := os.WriteFile(program, read(t, exe), 0o755); err != nil {
		t.Fatal(err)
	}
	tmp := filepath.Join(work, "tmp")
	if err := os.Mkdir(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(tmp, ordinaryUser, ordinaryUser); err != nil {
		t.Fatal(err)
	}
	for _, path := range given {
		run(t, "cp", path, filepath.Join(tmp, givenFile))
		run(t, "chmod", "644", filepath.Join(tmp, givenFile))
	}
	uid := strconv.Itoa(ordinaryUser)
	argv := outsideHybridCgroups("setpriv", "--reuid", uid, "--regid", uid, "--clear-groups", program, "-test.run=^"+strings.ReplaceAll(t.Name(), "/", "$/^")+"$", "-test.v")
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = tmp
	cmd.Env = []string{"TMPDIR=" + tmp, "HOME=" + tmp, "XDG_RUNTIME_DIR=" + tmp, "PATH=" + os.Getenv("PATH"), childVariable + "=1"}
	if out := runCmd(t, cmd); !strings.Contains(out, "--- PASS: "+t.Name()) {
		t.Fatalf("the test did not run as an ordinary user:\n%s", out)
	}
	return false
}

// outsideHybridCgroups returns the command line to run argv by where the
// cgroups of this machine are not of both versions at once, which crun refuses
// to work with whatever its bundle says. It needs root; the mounts of this
// process stay as they are.
func outsideHybridCgroups(argv ...string) []string {
	const second = "/sys/fs/cgroup/unified"
	if _, err := os.Stat(second); err != nil || os.Geteuid() != 0 {
		return argv
	}
	return append([]string{"unshare", "--mount", "sh", "-ec", "umount " + second + `; exec "$@"`, "sh"}, argv...)
}

// openTempDir is t.TempDir, but others may look into it.
func openTempDir(t testing.TB) string {
	t.Helper()
	d, err := os.MkdirTemp("", "waybill-bundle-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { run(t, "rm", "-rf", d) })
	if err := os.Chmod(d, 0o755); err != nil {
		t.Fatal(err)
	}
	return d
}

// asBoth runs test as root, where that is who runs the tests, and as an
// ordinary user.
func asBoth(t *testing.T, test func(t *testing.T)) {
	if os.Getenv(childVariable) == "" {
		t.Run("caller", test)
	}
	t.Run("ordinary user", func(t *testing.T) {
		if asOrdinaryUser(t) {
			test(t)
		}
	})
}
