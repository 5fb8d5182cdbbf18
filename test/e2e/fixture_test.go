package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/internal/faultserver"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/test/testimage"
)

func startRegistry(t *testing.T, o realserver.RegistryOptions) *realserver.Registry {
	t.Helper()
	r, err := realserver.StartRegistry(t.Context(), t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Stop)
	return r
}

func startNginx(t *testing.T, dir string, o realserver.NginxOptions) *realserver.Nginx {
	t.Helper()
	n, err := realserver.StartNginx(t.Context(), t.TempDir(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Stop)
	return n
}

func startProxy(t *testing.T, target string, hosts map[string]string) *realserver.Proxy {
	t.Helper()
	p, err := realserver.StartProxy(target, hosts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

func startFaults(t *testing.T, o faultserver.Options) *faultserver.Server {
	t.Helper()
	s, err := faultserver.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// peer runs another program to its end and returns its stdout.
func peer(t *testing.T, name string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %v (see scripts/install-test-tools): %v\n%s%s", name, args, err, &stdout, &stderr)
	}
	return stdout.String()
}

// image is an image in a layout of its own, under the ref "app".
type image struct {
	*testimage.Layout
	desc   ocispec.Descriptor
	layers []testimage.Layer
}

// name is the image as an argument.
func (i *image) name() string { return "oci:" + i.Dir + ":app" }

// blobs are all files of the layout as the fault server serves them.
func (i *image) blobs(t *testing.T) []faultserver.Blob {
	t.Helper()
	var blobs []faultserver.Blob
	for _, d := range i.digests(t) {
		info, err := os.Stat(i.Path(d))
		if err != nil {
			t.Fatal(err)
		}
		b := faultserver.Blob{Digest: d, Content: faultserver.File(i.Path(d)), Size: info.Size()}
		if d == i.desc.Digest {
			b.MediaType = i.desc.MediaType
		}
		blobs = append(blobs, b)
	}
	return blobs
}

// digests are those of all blobs in the layout.
func (i *image) digests(t *testing.T) []digest.Digest {
	t.Helper()
	files, err := os.ReadDir(filepath.Join(i.Dir, "blobs", "sha256"))
	if err != nil {
		t.Fatal(err)
	}
	var all []digest.Digest
	for _, f := range files {
		all = append(all, digest.NewDigestFromEncoded(digest.SHA256, f.Name()))
	}
	return all
}

// size is the sum of all blobs.
func (i *image) size(t *testing.T) int64 {
	t.Helper()
	var sum int64
	for _, d := range i.digests(t) {
		info, err := os.Stat(i.Path(d))
		if err != nil {
			t.Fatal(err)
		}
		sum += info.Size()
	}
	return sum
}

// withoutLayers copies the layout, leaving all layers out: an image whose
// manifest is known and whose content must come from elsewhere.
func (i *image) withoutLayers(t *testing.T) *image {
	t.Helper()
	c := *i.Layout
	c.Dir = t.TempDir()
	copied := &image{Layout: &c, desc: i.desc, layers: i.layers}
	copyTree(t, i.Dir, c.Dir)
	for _, l := range i.layers {
		removeFile(t, copied.Path(l.Digest))
	}
	return copied
}

// layer is content for makeImage.
type layer struct {
	tar         io.Reader
	compression testimage.Compression
}

// makeImage makes an image for this machine's platform.
func makeImage(t *testing.T, layers ...layer) *image {
	t.Helper()
	return makeImageConfig(t, testimage.Config(), layers...)
}

func makeImageConfig(t *testing.T, config ocispec.Image, layers ...layer) *image {
	t.Helper()
	l, err := testimage.NewLayout(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	i := &image{Layout: l}
	for _, source := range layers {
		made, err := l.AddLayer(source.tar, source.compression)
		if err != nil {
			t.Fatal(err)
		}
		i.layers = append(i.layers, made)
	}
	if i.desc, err = l.AddImage(config, i.layers...); err != nil {
		t.Fatal(err)
	}
	if err := l.Tag(i.desc, "app"); err != nil {
		t.Fatal(err)
	}
	return i
}

// smallImage is some megabytes in layers of every compression.
func smallImage(t *testing.T) *image {
	t.Helper()
	return makeImage(t,
		layer{testimage.Text(1, 3<<20), testimage.Gzip},
		layer{testimage.Random(2, 5<<20), testimage.Stored},
		layer{testimage.Random(3, 1<<20), testimage.None},
		layer{testimage.Text(4, 100_000), testimage.Zstd},
	)
}

// randomImage is an image of random layers of those sizes.
func randomImage(t *testing.T, sizes ...int64) *image {
	t.Helper()
	var layers []layer
	for n, size := range sizes {
		layers = append(layers, layer{testimage.Random(uint64(n+1), size), testimage.None})
	}
	return makeImage(t, layers...)
}

// push copies the image, with everything it refers to, into a registry that
// listens without TLS, digests kept.
func (i *image) push(t *testing.T, to string, flags ...string) {
	t.Helper()
	args := append([]string{"copy", "--quiet", "--all", "--preserve-digests", "--insecure-policy", "--dest-tls-verify=false"}, flags...)
	peer(t, "skopeo", append(args, i.name(), "docker://"+to)...)
}

// wantStored fails the test unless the user's store holds those blobs, byte for
// byte those of the layout, and nothing in it is wrong.
func wantStored(t *testing.T, u *user, i *image, digests ...digest.Digest) {
	t.Helper()
	for _, d := range digests {
		want, err := os.ReadFile(i.Path(d))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(u.blob(d))
		if err != nil {
			t.Errorf("not stored: %v", err)
		} else if !bytes.Equal(got, want) {
			t.Errorf("stored %s differs from what was published", d)
		}
	}
	wantSound(t, u)
}

// blob is where the store keeps a blob.
func (u *user) blob(d digest.Digest) string {
	return filepath.Join(u.store, "blobs", d.Algorithm().String(), d.Encoded())
}

// stored are the digests in the store's blobs directory.
func (u *user) stored() []digest.Digest {
	u.t.Helper()
	var all []digest.Digest
	err := filepath.WalkDir(filepath.Join(u.store, "blobs"), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return ignoreMissing(err)
		}
		algorithm := digest.Algorithm(filepath.Base(filepath.Dir(path)))
		all = append(all, digest.NewDigestFromEncoded(algorithm, e.Name()))
		return nil
	})
	if err != nil {
		u.t.Fatal(err)
	}
	return all
}

func ignoreMissing(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}

// wantSound hashes every blob in the store.
func wantSound(t *testing.T, u *user) {
	t.Helper()
	for _, d := range u.stored() {
		if err := d.Validate(); err != nil {
			t.Errorf("a file among the blobs is named %s: %v", d, err)
			continue
		}
		f, err := os.Open(u.blob(d))
		if err != nil {
			t.Fatal(err)
		}
		got, err := d.Algorithm().FromReader(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		if got != d {
			t.Errorf("the store holds wrong bytes as %s: they are %s", d, got)
		}
	}
}

// wantOnlyStored fails the test unless exactly those blobs are stored.
func wantOnlyStored(t *testing.T, u *user, digests ...digest.Digest) {
	t.Helper()
	want := map[digest.Digest]bool{}
	for _, d := range digests {
		want[d] = true
	}
	for _, d := range u.stored() {
		if !want[d] {
			t.Errorf("the store also holds %s", d)
		}
		delete(want, d)
	}
	for d := range want {
		t.Errorf("the store lacks %s", d)
	}
}

func copyTree(t *testing.T, from, to string) {
	t.Helper()
	peer(t, "cp", "-a", from+"/.", to)
}

func removeFile(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

func readJSON(t *testing.T, data []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
}

// basic is the value of docker's "auth".
func basic(name, password string) string {
	return base64.StdEncoding.EncodeToString([]byte(name + ":" + password))
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// size writes a number of bytes as an argument.
func size(n int64) string { return strconv.FormatInt(n, 10) }

// links is how many names a file has.
func links(info os.FileInfo) uint64 {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0
	}
	return uint64(st.Nlink)
}

// startHTTP is a web server that gives everybody the same answer.
func startHTTP(t *testing.T, status int, body string) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}
