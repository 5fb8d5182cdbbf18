package image_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/image"
)

// extended is an index as text, with the members given of its own and of each entry.
func (c *content) extended(name, own string, entries ...string) ocispec.Descriptor {
	return c.add(name, ocispec.MediaTypeImageIndex, fmt.Appendf(nil, `{"schemaVersion": 2, %s "manifests": [%s]}`, own, strings.Join(entries, ", ")))
}

// entry is a descriptor as text, with further members.
func (c *content) entry(d ocispec.Descriptor, more string) string {
	platform := ""
	if p := d.Platform; p != nil {
		platform = fmt.Sprintf(`, "platform": {"os": %q, "architecture": %q}`, p.OS, p.Architecture)
	}
	return fmt.Sprintf(`{"mediaType": %q, "digest": %q, "size": %d%s%s}`, d.MediaType, d.Digest, d.Size, platform, more)
}

// reading is an extension whose values are what it was called with.
func (c *content) reading() *image.Extension {
	return &image.Extension{Member: "x", Max: 40, Read: func(v image.Value) any {
		if v.JSON == nil {
			return fmt.Sprintf("%s %s: %d bytes", c.names[v.Index], v.Path, v.Size)
		}
		return fmt.Sprintf("%s %s: %s", c.names[v.Index], v.Path, v.JSON)
	}}
}

// extensions are what is known of a node, from itself upwards.
func extensions(n *image.Node) []string {
	var all []string
	for ; n != nil; n = n.Above {
		if n.Document != nil && n.Document.Extension != nil {
			all = append(all, n.Document.Extension.(string))
		}
		if n.Extension != nil {
			all = append(all, n.Extension.(string))
		}
	}
	return all
}

func TestWalkExtension(t *testing.T) {
	c := newContent(t)
	amd := stating(c.image("amd", "linux/amd64"), "linux/amd64")
	arm := stating(c.image("arm", "linux/arm64"), "linux/arm64")
	inner := c.extended("inner", `"x" : {"x": [1, "é"]},`, c.entry(amd, `,"x":"of amd"`), c.entry(arm, `, "y": {"x": 1}, "\u0078": true`))
	other := c.image("other", "linux/s390x")
	long := `"` + strings.Repeat("a", 60) + `"`
	root := c.extended("root", "", c.entry(other, `, "x": `+long), c.entry(inner, `, "x": null`))

	of := map[string][]string{
		"root":  nil,
		"other": {"root manifests[0].x: 64 bytes"},
		"inner": {`inner x: {"x": [1, "é"]}`, "root manifests[1].x: null"},
		"amd":   {"inner manifests[0].x: \"of amd\"", `inner x: {"x": [1, "é"]}`, "root manifests[1].x: null"},
		"arm":   {"inner manifests[1].x: true", `inner x: {"x": [1, "é"]}`, "root manifests[1].x: null"},
	}
	for _, platform := range []string{"all", "linux/amd64", "linux/arm64", "linux/s390x"} {
		t.Run(platform, func(t *testing.T) {
			opts := image.WalkOptions{Platform: filter(t, platform), Extension: c.reading()}
			check := func(n *image.Node, when string) {
				image, part, _ := strings.Cut(c.names[n.Descriptor.Digest], ".")
				want := of[image]
				if part == "" && n.Document == nil && image == "inner" {
					want = want[1:] // its own isn't known yet
				}
				if got := extensions(n); !slices.Equal(got, want) {
					t.Errorf("%s, %s: %q, want %q", when, c.names[n.Descriptor.Digest], got, want)
				}
			}
			fetch := func(ctx context.Context, n image.Node) (image.Content, error) {
				check(&n, "fetching")
				return c.fetch(ctx, n)
			}
			visited := 0
			for n, err := range image.Walk(t.Context(), root, fetch, opts) {
				if err != nil {
					t.Fatal(err)
				}
				check(&n, "visiting")
				visited++
			}
			if want := map[string]int{"all": 11, "linux/s390x": 4}[platform]; want != 0 && visited != want {
				t.Errorf("%d nodes", visited)
			}
			if c.open != 0 {
				t.Errorf("%d documents left open", c.open)
			}
		})
	}
}

// A document in which an extension is one thing here and another elsewhere is none.
func TestExtensionTwice(t *testing.T) {
	c := newContent(t)
	for _, root := range []ocispec.Descriptor{
		c.extended("own", `"x": 1, "\u0078": 2,`),
		c.extended("entry", "", c.entry(c.image("m", "linux/amd64"), `, "x": [{"a": 1, "a": 2}]`)),
	} {
		_, err := c.walk(root, image.WalkOptions{Platform: image.AllPlatforms(), Extension: c.reading()})
		if err == nil || !strings.Contains(err.Error(), "is there twice") {
			t.Errorf("%s: got %v", c.names[root.Digest], err)
		}
	}
}

// What isn't an index has no extensions.
func TestExtensionOfManifest(t *testing.T) {
	c := newContent(t)
	config := c.config("config", "linux/amd64")
	m := c.add("m", ocispec.MediaTypeImageManifest, fmt.Appendf(nil, `{"schemaVersion": 2, "x": 1, "config": %s, "layers": []}`, c.entry(config, `, "x": 2`)))
	for n, err := range image.Walk(t.Context(), m, c.fetch, image.WalkOptions{Platform: image.AllPlatforms(), Extension: c.reading()}) {
		if err != nil {
			t.Fatal(err)
		}
		if got := extensions(&n); got != nil {
			t.Errorf("%s: %q", n.Role, got)
		}
	}
	if len(c.fetched) != 1 || c.fetched[0] != "m" {
		t.Errorf("fetched %q", c.fetched)
	}
}
