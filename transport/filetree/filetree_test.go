package filetree_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/filetree"
)

// memory is a place whose files are in memory, and which keeps account of what
// was asked for.
type memory struct {
	mu    sync.Mutex
	files map[string]io.ReaderAt
	sizes map[string]int64
	// forbidden is what it says of files that aren't there, if not that.
	forbidden bool
	asked     []string
}

func newMemory() *memory {
	return &memory{files: map[string]io.ReaderAt{}, sizes: map[string]int64{}}
}

func (m *memory) put(name string, content io.ReaderAt, size int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.files[name], m.sizes[name] = content, size
}

func (m *memory) text(name, content string) {
	m.put(name, strings.NewReader(content), int64(len(content)))
}

func (m *memory) look(place, name string) (io.ReaderAt, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked = append(m.asked, name)
	f := m.files[name]
	if f == nil && m.forbidden {
		return nil, 0, transport.Errorf(transport.ErrUnauthorized, place, "%s: forbidden", name)
	}
	if f == nil {
		return nil, 0, transport.Errorf(transport.ErrNotFound, place, "no file %s", name)
	}
	return f, m.sizes[name], nil
}

// OpenFile implements [filetree.Files].
func (m *memory) OpenFile(ctx context.Context, place, name string, part filetree.Part) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, size, err := m.look(place, name)
	if err != nil {
		return nil, err
	}
	if part.Size >= 0 && part.Size != size {
		return nil, transport.Errorf(transport.ErrPermanent, place, "has %d bytes, want %d", size, part.Size)
	}
	if part.Length < 0 {
		part.Length = size
	}
	if part.Offset+part.Length > size {
		return nil, transport.Errorf(transport.ErrPermanent, place, "beyond the end")
	}
	return &reader{ctx, io.NewSectionReader(f, part.Offset, part.Length)}, nil
}

// FileSize implements [filetree.Files].
func (m *memory) FileSize(_ context.Context, place, name string) (int64, error) {
	_, size, err := m.look(place, name)
	return size, err
}

type reader struct {
	ctx context.Context
	*io.SectionReader
}

func (r *reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.SectionReader.Read(p)
}

func (r *reader) Close() error { return nil }

const place = "test://place"

func TestConformance(t *testing.T) {
	for form, dir := range map[string]string{"layout": "blobs/", "tree": ""} {
		t.Run(form, func(t *testing.T) {
			transporttest.Run(t, func(*testing.T) transporttest.Harness {
				m := newMemory()
				none := "the place is in memory"
				return transporttest.Harness{
					Transport: filetree.New(m),
					Put: func(_ testing.TB, b transporttest.Blob) transport.Route {
						m.put(dir+strings.Replace(string(b.Digest), ":", "/", 1), b, b.Size)
						return transport.Route{URI: place}
					},
					Impossible: map[transporttest.Fault]string{
						transporttest.Denied: none, transporttest.Throttled: none, transporttest.Temporary: none,
						transporttest.Permanent: none, transporttest.ShortBody: none,
					},
				}
			})
		})
	}
}

func read(t *testing.T, tree *filetree.Tree, d digest.Digest) (string, error) {
	t.Helper()
	r, err := tree.Open(t.Context(), transport.Route{URI: place}, ocispec.Descriptor{Digest: d, Size: -1}, 0, -1)
	if err != nil {
		return "", err
	}
	defer r.Close()
	content, err := io.ReadAll(r)
	return string(content), err
}

// Which form a place has is found by looking, once.
func TestLooksOnce(t *testing.T) {
	one, two, three := digest.FromString("one"), digest.FromString("two"), digest.FromString("three")
	m := newMemory()
	m.text("sha256/"+one.Encoded(), "one")
	m.text("sha256/"+two.Encoded(), "two")
	m.text("blobs/sha256/"+three.Encoded(), "three")
	tree := filetree.New(m)
	for _, d := range []digest.Digest{one, two, three} {
		if _, err := read(t, tree, d); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"blobs/sha256/" + one.Encoded(), "sha256/" + one.Encoded(), "sha256/" + two.Encoded(),
		"sha256/" + three.Encoded(), "blobs/sha256/" + three.Encoded()}
	if !slices.Equal(m.asked, want) {
		t.Errorf("asked for\n%s\nwant\n%s", strings.Join(m.asked, "\n"), strings.Join(want, "\n"))
	}
	if size, err := tree.Size(t.Context(), transport.Route{URI: place}, ocispec.Descriptor{Digest: two}); size != 3 || err != nil {
		t.Errorf("size %d, %v", size, err)
	}
}

// A store that says "forbidden" of what isn't there doesn't hide a bare tree,
// and what it says of a blob that is nowhere is passed on.
func TestForbidden(t *testing.T) {
	one := digest.FromString("one")
	m := newMemory()
	m.forbidden = true
	m.text("sha256/"+one.Encoded(), "one")
	tree := filetree.New(m)
	if got, err := read(t, tree, one); got != "one" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := read(t, tree, digest.FromString("two")); !errors.Is(err, transport.ErrUnauthorized) {
		t.Errorf("got %v", err)
	}
}

// A digest never becomes another path (CVE-2024-3727).
func TestInvalidDigest(t *testing.T) {
	m := newMemory()
	m.text("secret", "x")
	tree := filetree.New(m)
	for _, d := range []digest.Digest{"", "sha256:../../secret", "sha256:", "../secret:x", "md5:d41d8cd98f00b204e9800998ecf8427e"} {
		if _, err := read(t, tree, d); !errors.Is(err, transport.ErrPermanent) {
			t.Errorf("%q: %v", d, err)
		}
	}
	if len(m.asked) > 0 {
		t.Errorf("asked for %q", m.asked)
	}
}

func TestResolve(t *testing.T) {
	manifest := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}`
	d, deeper := digest.FromString(manifest), digest.FromString(manifest+"\n")
	m := newMemory()
	m.text("oci-layout", `{"imageLayoutVersion":"1.0.0"}`)
	m.text("index.json", fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":%d,"annotations":{%q:"v1"}}]}`,
		ocispec.MediaTypeImageManifest, d, len(manifest), ocispec.AnnotationRefName))
	m.text("blobs/sha256/"+d.Encoded(), manifest)
	m.text("blobs/sha256/"+deeper.Encoded(), manifest+"\n")
	tree := filetree.New(m)
	for _, tt := range []struct {
		name name.Name
		want digest.Digest
		kind error
	}{
		{name.Name{Kind: name.Place, Path: place}, d, nil},
		{name.Name{Kind: name.Place, Path: place, Ref: "v1"}, d, nil},
		{name.Name{Kind: name.Place, Path: place, Digest: d}, d, nil},
		{name.Name{Kind: name.Place, Path: place, Digest: deeper}, deeper, nil},
		{name.Name{Kind: name.Place, Path: place, Ref: "v2"}, "", transport.ErrNotFound},
		{name.Name{Kind: name.Place, Path: place, Digest: digest.FromString("none")}, "", transport.ErrNotFound},
		{name.Name{Kind: name.Layout, Path: "/x"}, "", transport.ErrPermanent},
	} {
		got, err := tree.Resolve(t.Context(), tt.name)
		if got.Digest != tt.want || !errors.Is(err, tt.kind) {
			t.Errorf("%s: %v, %v; want %s, %v", tt.name, got.Digest, err, tt.want, tt.kind)
		}
	}
	entries, err := tree.Entries(t.Context(), name.Name{Kind: name.Place, Path: place})
	if err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}

	m.text("index.json", fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":%[1]q,"digest":%[2]q,"size":%[3]d},{"mediaType":%[1]q,"digest":%[4]q,"size":%[3]d}]}`,
		ocispec.MediaTypeImageManifest, d, len(manifest), deeper))
	if _, err := tree.Resolve(t.Context(), name.Name{Kind: name.Place, Path: place}); err == nil || !strings.Contains(err.Error(), "add #REF or @DIGEST") {
		t.Errorf("several: %v", err)
	}

	for what, change := range map[string]func(*memory){
		"no marker":     func(m *memory) { delete(m.files, "oci-layout") },
		"no index":      func(m *memory) { delete(m.files, "index.json") },
		"another":       func(m *memory) { m.text("oci-layout", `{"imageLayoutVersion":"2.0.0"}`) },
		"endless":       func(m *memory) { m.put("oci-layout", bytes.NewReader(make([]byte, 5000)), 5000) },
		"too large":     func(m *memory) { m.put("index.json", zeros{}, 1<<30) },
		"no JSON":       func(m *memory) { m.text("index.json", "{") },
		"another index": func(m *memory) { m.text("index.json", "[]") },
	} {
		m := newMemory()
		m.text("oci-layout", `{"imageLayoutVersion":"1.0.0"}`)
		m.text("index.json", `{"schemaVersion":2,"manifests":[]}`)
		change(m)
		_, err := filetree.New(m).Resolve(t.Context(), name.Name{Kind: name.Place, Path: place})
		var e *transport.Error
		if !errors.As(err, &e) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// zeros is without end.
type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}
