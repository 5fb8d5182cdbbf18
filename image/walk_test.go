package image_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/image"
)

// content is blobs with names, so that walks can be written down.
type content struct {
	t       *testing.T
	blobs   map[digest.Digest][]byte
	names   map[digest.Digest]string
	fetched []string
	open    int // of what was fetched
}

// closing notes that content is closed.
type closing struct {
	image.Content
	c *content
}

func (c closing) Close() error {
	c.c.open--
	return nil
}

func newContent(t *testing.T) *content {
	return &content{t: t, blobs: map[digest.Digest][]byte{}, names: map[digest.Digest]string{}}
}

func (c *content) add(name, mediaType string, blob []byte) ocispec.Descriptor {
	d := digest.FromBytes(blob)
	c.blobs[d] = blob
	if _, ok := c.names[d]; !ok {
		c.names[d] = name
	}
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(blob))}
}

func (c *content) json(name, mediaType string, v any) ocispec.Descriptor {
	b, err := json.Marshal(v)
	if err != nil {
		c.t.Fatal(err)
	}
	return c.add(name, mediaType, b)
}

func (c *content) layer(name string) ocispec.Descriptor {
	return c.add(name, ocispec.MediaTypeImageLayerGzip, []byte("layer "+name))
}

func (c *content) config(name, platform string) ocispec.Descriptor {
	return c.json(name, ocispec.MediaTypeImageConfig, ocispec.Image{Author: name, Platform: *platformOf(platform)})
}

func (c *content) manifest(name string, config ocispec.Descriptor, layers ...ocispec.Descriptor) ocispec.Descriptor {
	return c.json(name, ocispec.MediaTypeImageManifest, ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2}, Config: config, Layers: append([]ocispec.Descriptor{}, layers...),
	})
}

func (c *content) index(name string, manifests ...ocispec.Descriptor) ocispec.Descriptor {
	return c.json(name, ocispec.MediaTypeImageIndex, ocispec.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: append([]ocispec.Descriptor{}, manifests...),
		Annotations: map[string]string{"name": name},
	})
}

// image adds a manifest with a config and one layer of its own.
func (c *content) image(name, platform string) ocispec.Descriptor {
	return c.manifest(name, c.config(name+".config", platform), c.layer(name+".layer"))
}

func (c *content) fetch(_ context.Context, n image.Node) (image.Content, error) {
	desc := n.Descriptor
	b, ok := c.blobs[desc.Digest]
	if !ok {
		return nil, fmt.Errorf("%s: no such blob", desc.Digest)
	}
	c.fetched = append(c.fetched, c.names[desc.Digest])
	c.open++
	return closing{image.Bytes(b), c}, nil
}

// walk returns what a walk yields as "role name" lines.
func (c *content) walk(root ocispec.Descriptor, opts image.WalkOptions) ([]string, error) {
	var got []string
	defer func() {
		if c.open != 0 {
			c.t.Errorf("%d documents left open", c.open)
		}
	}()
	for n, err := range image.Walk(c.t.Context(), root, c.fetch, opts) {
		if err != nil {
			return got, err
		}
		got = append(got, n.Role.String()+" "+c.names[n.Descriptor.Digest])
	}
	return got, nil
}

func platformOf(s string) *ocispec.Platform {
	part := append(strings.Split(s, "/"), "", "")
	return &ocispec.Platform{OS: part[0], Architecture: part[1], Variant: part[2]}
}

func stating(d ocispec.Descriptor, platform string) ocispec.Descriptor {
	d.Platform = platformOf(platform)
	return d
}

func filter(t *testing.T, s string) image.PlatformFilter {
	t.Helper()
	f, err := image.ParsePlatform(s)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestWalk(t *testing.T) {
	artifact := func(c *content, name string) ocispec.Descriptor {
		empty := c.add("empty", ocispec.MediaTypeEmptyJSON, []byte("{}"))
		return c.manifest(name, empty, empty)
	}
	tests := []struct {
		name, platform string
		build          func(*content) ocispec.Descriptor
		want           []string
		says           string // of the error, if there is to be one
	}{
		{"manifest", "linux/amd64", func(c *content) ocispec.Descriptor {
			return c.manifest("m", c.config("c", "linux/amd64"), c.layer("1"), c.layer("2"), c.layer("1"))
		}, []string{"manifest m", "config c", "layer 1", "layer 2"}, ""},
		{"manifest for another platform than asked for", "linux/arm64", func(c *content) ocispec.Descriptor {
			return c.image("m", "linux/amd64")
		}, nil, "it is for linux/amd64 only"},
		{"manifest whose descriptor states another platform", "linux/arm64", func(c *content) ocispec.Descriptor {
			return stating(c.image("m", "linux/arm64"), "linux/amd64")
		}, nil, "it is for linux/amd64 only"},
		{"manifest for another platform, without asking", "", func(c *content) ocispec.Descriptor {
			return c.image("m", "plan9/mips")
		}, []string{"manifest m", "config m.config", "layer m.layer"}, ""},
		{"artifact, whatever the platform", "linux/arm64", func(c *content) ocispec.Descriptor {
			return artifact(c, "a")
		}, []string{"manifest a", "config empty"}, ""},
		{"root of unknown type", "linux/amd64", func(c *content) ocispec.Descriptor {
			d := c.image("m", "linux/amd64")
			d.MediaType = ""
			return d
		}, []string{"manifest m", "config m.config", "layer m.layer"}, ""},
		{"root that is a layer", "linux/amd64", func(c *content) ocispec.Descriptor {
			return c.layer("l")
		}, []string{"other l"}, ""},

		{"index", "linux/arm64", func(c *content) ocispec.Descriptor {
			return c.index("i", stating(c.image("x", "linux/amd64"), "linux/amd64"), stating(c.image("a", "linux/arm64"), "linux/arm64/v8"))
		}, []string{"index i", "manifest a", "config a.config", "layer a.layer"}, ""},
		{"index, all", "all", func(c *content) ocispec.Descriptor {
			return c.index("i", stating(c.image("x", "linux/amd64"), "linux/amd64"), stating(c.image("a", "linux/arm64"), "linux/arm64"),
				stating(artifact(c, "att"), "unknown/unknown"), c.layer("odd"))
		}, []string{
			"index i", "manifest x", "config x.config", "layer x.layer", "manifest a", "config a.config", "layer a.layer",
			"manifest att", "config empty", "other odd",
		}, ""},
		{"nothing fits", "linux/s390x", func(c *content) ocispec.Descriptor {
			return c.index("i", stating(c.image("x", "linux/amd64"), "linux/amd64"), stating(artifact(c, "att"), "unknown/unknown"))
		}, nil, "not available for this platform (linux/s390x): there is linux/amd64; choose"},
		{"nothing but an attestation", "linux/amd64", func(c *content) ocispec.Descriptor {
			return c.index("i", stating(artifact(c, "att"), "unknown/unknown"))
		}, nil, "names no platform"},
		{"empty index", "linux/amd64", func(c *content) ocispec.Descriptor { return c.index("i") }, nil, "names no platform"},

		{"platform stated on a nested index", "linux/arm64", func(c *content) ocispec.Descriptor {
			return c.index("i", stating(c.index("n1", stating(c.image("x", "linux/amd64"), "linux/amd64")), "linux/amd64"),
				stating(c.index("n2", stating(c.image("a", "linux/arm64"), "linux/arm64")), "linux/arm64"))
		}, []string{"index i", "index n2", "manifest a", "config a.config", "layer a.layer"}, ""},
		{"platform stated in nested indexes only", "linux/arm/v7", func(c *content) ocispec.Descriptor {
			return c.index("i", c.index("n1", stating(c.image("v6", "linux/arm/v6"), "linux/arm/v6")),
				c.index("n2", c.index("n3", stating(c.image("v7", "linux/arm/v7"), "linux/arm/v7"))))
		}, []string{"index i", "index n2", "index n3", "manifest v7", "config v7.config", "layer v7.layer"}, ""},
		{"nothing fits in nested indexes", "linux/s390x", func(c *content) ocispec.Descriptor {
			return c.index("i", stating(c.image("x", "linux/amd64"), "linux/amd64"), c.index("n", stating(c.image("a", "linux/arm64"), "linux/arm64")))
		}, nil, "there is linux/amd64, linux/arm64"},
		{"platform in the configs only", "linux/arm64", func(c *content) ocispec.Descriptor {
			return c.index("i", artifact(c, "sbom"), c.image("x", "linux/amd64"), c.image("a", "linux/arm64"))
		}, []string{"index i", "manifest a", "config a.config", "layer a.layer"}, ""},
		{"platform in no config", "linux/s390x", func(c *content) ocispec.Descriptor {
			return c.index("i", c.image("x", "linux/amd64"), c.image("a", "linux/arm64"))
		}, nil, "there is linux/amd64, linux/arm64"},
		{"a lone manifest without a platform", "", func(c *content) ocispec.Descriptor {
			return c.index("i", c.image("x", "plan9/mips"))
		}, []string{"index i", "manifest x", "config x.config", "layer x.layer"}, ""},
		{"a lone manifest without a platform that doesn't fit", "linux/amd64", func(c *content) ocispec.Descriptor {
			return c.index("i", c.image("x", "plan9/mips"))
		}, nil, "it is for plan9/mips only"},
		{"a lone artifact in an index", "linux/amd64", func(c *content) ocispec.Descriptor {
			return c.index("i", artifact(c, "a"))
		}, []string{"index i", "manifest a", "config empty"}, ""},
		{"what is in the index is no manifest", "linux/amd64", func(c *content) ocispec.Descriptor {
			return c.index("i", c.layer("l"))
		}, nil, "names no platform"},

		{"shared parts come once", "all", func(c *content) ocispec.Descriptor {
			shared, config := c.layer("shared"), c.config("c", "linux/amd64")
			m1, m2 := c.manifest("m1", config, shared), c.manifest("m2", config, shared, c.layer("own"))
			return c.index("i", m1, c.index("n", m1, m2))
		}, []string{"index i", "manifest m1", "config c", "layer shared", "index n", "manifest m2", "layer own"}, ""},
		{"a manifest that was a layer before", "all", func(c *content) ocispec.Descriptor {
			m := c.image("m", "linux/amd64")
			return c.index("i", c.manifest("wrap", c.config("c", "linux/amd64"), m), m)
		}, []string{"index i", "manifest wrap", "config c", "layer m", "manifest m", "config m.config", "layer m.layer"}, ""},
		{"two sizes for one digest", "all", func(c *content) ocispec.Descriptor {
			l := c.layer("l")
			m1 := c.manifest("m1", c.config("c", "linux/amd64"), l)
			l.Size++
			return c.index("i", m1, c.manifest("m2", c.config("c", "linux/amd64"), l))
		}, []string{"index i", "manifest m1", "config c", "layer l"}, "is described as 7 bytes in one place and 8 in another"},
		{"manifest under an index's media type", "all", func(c *content) ocispec.Descriptor {
			d := c.image("m", "linux/amd64")
			d.MediaType = ocispec.MediaTypeImageIndex
			return d
		}, nil, "doesn't fit its media type"},
		{"document that is too large", "all", func(c *content) ocispec.Descriptor {
			d := c.image("m", "linux/amd64")
			d.Size = image.MaxDocument + 1
			return d
		}, nil, "the limit is 33554432"},
		{"root whose digest is a path", "all", func(c *content) ocispec.Descriptor {
			return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: "sha256:../x"}
		}, nil, "not a hex digit"},
		{"root of unknown size", "linux/amd64", func(c *content) ocispec.Descriptor {
			d := c.image("m", "linux/amd64")
			d.Size = -1
			return d
		}, []string{"manifest m", "config m.config", "layer m.layer"}, ""},
		{"document that isn't there", "all", func(c *content) ocispec.Descriptor {
			return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: dOther}
		}, nil, "no such blob"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newContent(t)
			got, err := c.walk(tt.build(c), image.WalkOptions{Platform: filter(t, tt.platform)})
			if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("error %v, want %q", err, tt.says)
			}
			if tt.says != "" && tt.want == nil {
				return
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(tt.want, "\n\t"))
			}
		})
	}
}

// Only documents are fetched, and none twice, where the index says all.
func TestWalkFetchesLittle(t *testing.T) {
	c := newContent(t)
	root := c.index("i", stating(c.image("x", "linux/amd64"), "linux/amd64"), stating(c.image("a", "linux/arm64"), "linux/arm64"))
	if _, err := c.walk(root, image.WalkOptions{Platform: filter(t, "linux/arm64")}); err != nil {
		t.Fatal(err)
	}
	if want := []string{"i", "a"}; !slices.Equal(c.fetched, want) {
		t.Errorf("fetched %v, want %v", c.fetched, want)
	}
}

func TestWalkNode(t *testing.T) {
	c := newContent(t)
	m := c.image("m", "linux/amd64")
	root := c.index("i", m)
	for n, err := range image.Walk(t.Context(), root, c.fetch, image.WalkOptions{Platform: image.AllPlatforms()}) {
		if err != nil {
			t.Fatal(err)
		}
		document := n.Role == image.RoleIndex || n.Role == image.RoleManifest
		if (n.Document != nil) != document {
			t.Errorf("%s: document %v", n.Role, n.Document)
		}
		want := map[image.Role]struct {
			parent digest.Digest
			depth  int
		}{image.RoleIndex: {"", 0}, image.RoleManifest: {root.Digest, 1}, image.RoleConfig: {m.Digest, 2}, image.RoleLayer: {m.Digest, 2}}[n.Role]
		var parent digest.Digest
		if n.Above != nil {
			parent = n.Above.Descriptor.Digest
		}
		if parent != want.parent || n.Depth != want.depth {
			t.Errorf("%s: parent %s at depth %d, want %+v", n.Role, parent, n.Depth, want)
		}
	}
}

func TestWalkLimits(t *testing.T) {
	c := newContent(t)
	nested := c.index("leaf", stating(c.image("m", "linux/amd64"), "linux/amd64"))
	for i := range image.MaxDepth - 1 {
		nested = c.index(fmt.Sprint("n", i), nested)
	}
	for _, platform := range []string{"all", "linux/amd64"} {
		if got, err := c.walk(nested, image.WalkOptions{Platform: filter(t, platform)}); err != nil || len(got) != image.MaxDepth+3 {
			t.Errorf("%s: %d levels: %d nodes, %v", platform, image.MaxDepth, len(got), err)
		}
		if _, err := c.walk(c.index("deeper", nested), image.WalkOptions{Platform: filter(t, platform)}); err == nil || !strings.Contains(err.Error(), "nested deeper than 16") {
			t.Errorf("%s: one level more: %v", platform, err)
		}
	}

	var layers []ocispec.Descriptor
	for i := range 20 {
		layers = append(layers, c.layer(fmt.Sprint("l", i)))
	}
	wide := c.manifest("wide", c.config("c", "linux/amd64"), layers...)
	if _, err := c.walk(wide, image.WalkOptions{MaxDescriptors: 22}); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	if _, err := c.walk(wide, image.WalkOptions{MaxDescriptors: 21}); err == nil || !strings.Contains(err.Error(), "more than 21 descriptors") {
		t.Errorf("above the limit: %v", err)
	}

	var silent []ocispec.Descriptor
	for i := range 200 {
		silent = append(silent, c.image(fmt.Sprint("s", i), "linux/arm64"))
	}
	c.fetched = nil
	if _, err := c.walk(c.index("silent", silent...), image.WalkOptions{Platform: filter(t, "linux/amd64")}); err == nil || !strings.Contains(err.Error(), "--platform all") {
		t.Errorf("many manifests without platform: %v", err)
	}
	if len(c.fetched) > 200 {
		t.Errorf("fetched %d documents to find that out", len(c.fetched))
	}
}

// No content can make a digest cycle, but a broken store or a fake can.
func TestWalkCycle(t *testing.T) {
	c := newContent(t)
	root := c.index("i")
	loop := fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":%d}]}`, root.MediaType, root.Digest, root.Size)
	c.blobs[root.Digest] = []byte(loop)
	if got, err := c.walk(root, image.WalkOptions{Platform: image.AllPlatforms()}); err != nil || !slices.Equal(got, []string{"index i"}) {
		t.Errorf("all: %v, %v", got, err)
	}
	if _, err := c.walk(root, image.WalkOptions{}); !errors.Is(err, image.ErrNoPlatform) {
		t.Errorf("host: %v", err)
	}
}

func TestWalkStops(t *testing.T) {
	c := newContent(t)
	root := c.image("m", "linux/amd64")
	n := 0
	for range image.Walk(t.Context(), root, c.fetch, image.WalkOptions{}) {
		n++
		break
	}
	if n != 1 {
		t.Errorf("%d nodes after break", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range image.Walk(ctx, root, c.fetch, image.WalkOptions{}) {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	}
}

// TestWalkTheLargestIndex: as many entries as a document may have, and the
// manifest of every one, are within the limits of a walk, which keeps some 40 bytes
// of each and not the index.
func TestWalkTheLargestIndex(t *testing.T) {
	var index bytes.Buffer
	index.WriteString(`{"schemaVersion":2,"manifests":[`)
	manifests := map[digest.Digest][]byte{}
	for i := range image.MaxDescriptors {
		if i > 0 {
			index.WriteByte(',')
		}
		if i >= 10 { // the others are blobs
			fmt.Fprintf(&index, `{"mediaType":"application/octet-stream","digest":"%s","size":%d}`, digest.FromString(fmt.Sprint(i)), i)
			continue
		}
		m := fmt.Appendf(nil, `{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"%s","size":2},"layers":[]}`, digest.FromString(fmt.Sprint("config", i)))
		d := digest.FromBytes(m)
		manifests[d] = m
		fmt.Fprintf(&index, `{"mediaType":%q,"digest":"%s","size":%d,"platform":{"os":"linux","architecture":"amd64"},"annotations":{"org.opencontainers.image.ref.name":"v%d"}}`,
			ocispec.MediaTypeImageManifest, d, len(m), i)
	}
	index.WriteString("]}")
	root := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageIndex, Digest: digest.FromBytes(index.Bytes()), Size: int64(index.Len())}
	path := filepath.Join(t.TempDir(), "index.json")
	if err := os.WriteFile(path, index.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	index = bytes.Buffer{}
	roles := map[image.Role]int{}
	fetch := func(_ context.Context, n image.Node) (image.Content, error) {
		if d := n.Descriptor.Digest; d != root.Digest {
			return image.Bytes(manifests[d]), nil
		}
		f, err := os.Open(path)
		return file{f, root.Size}, err
	}
	before, most, seen := heap(), int64(0), 0
	for n, err := range image.Walk(t.Context(), root, fetch, image.WalkOptions{Platform: filter(t, "all")}) {
		if err != nil {
			t.Fatal(err)
		}
		roles[n.Role]++
		if seen++; seen%20_000 == 1 {
			most = max(most, heap())
		}
	}
	if used, limit := most-before, root.Size/2; used > limit {
		t.Errorf("walking an index of %d bytes took %d bytes of memory, want at most %d", root.Size, used, limit)
	}
	t.Logf("%d bytes of memory for an index of %d", most-before, root.Size)
	want := map[image.Role]int{image.RoleIndex: 1, image.RoleManifest: 10, image.RoleConfig: 10, image.RoleOther: image.MaxDescriptors - 10}
	if !maps.Equal(roles, want) {
		t.Errorf("got %v, want %v", roles, want)
	}
}

// file is content on disk.
type file struct {
	*os.File
	size int64
}

func (f file) Size() int64 { return f.size }

// heap returns how many bytes of it are in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
