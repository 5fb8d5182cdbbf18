package follow_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/discovery/follow"
	"github.com/waybill-project/waybill/discovery/target"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/resolve"
	"github.com/waybill-project/waybill/test/webhosts"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/layout"
	"github.com/waybill-project/waybill/transport/netclass"
)

const manifest = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}`

var image = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(manifest), Size: int64(len(manifest))}

// index is an index of entries with these refs, the N-th with N more bytes.
func index(t *testing.T, refs ...string) string {
	t.Helper()
	x := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{}}
	for i, ref := range refs {
		d := entry(i)
		if ref != "" {
			d.Annotations = map[string]string{ocispec.AnnotationRefName: ref}
		}
		x.Manifests = append(x.Manifests, d)
	}
	b, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func entry(i int) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(strings.Repeat("x", i)), Size: int64(i)}
}

// asked is a registry with one tag, and the route it was last asked by.
type asked struct {
	route     transport.Route
	reference string
}

func (a *asked) GetRoute(_ context.Context, r transport.Route, reference string) (ocispec.Descriptor, []byte, error) {
	a.route, a.reference = r, reference
	if reference != "1" && reference != string(image.Digest) {
		return ocispec.Descriptor{}, nil, transport.Errorf(transport.ErrNotFound, r.URI, "404")
	}
	return image, []byte(manifest), nil
}

// Targets are asked in their order; who named them says so first.
func TestFirst(t *testing.T) {
	c := follow.New(follow.Options{Registry: &asked{}})
	at := func(tag string) target.Target {
		return target.Target{Kind: target.Registry, URI: "docker://r.example/app:" + tag, Remote: true}
	}
	by := resolve.Testimony{Resolver: "abd", URI: "https://h.example/doc"}
	var ignored []int
	note := func(i int, err error) {
		if !errors.Is(err, resolve.ErrNotFound) {
			t.Errorf("target %d: %v", i, err)
		}
		ignored = append(ignored, i)
	}
	r, which, err := c.First(t.Context(), []target.Target{at("0"), at("1"), at("2")}, by, follow.Request{}, note)
	said := r.By.All()
	if err != nil || which != 1 || len(ignored) != 1 || len(said) != 2 || said[0].URI != by.URI || said[0].Resolver != "abd" || said[1].URI != at("1").URI || r.Descriptor.Digest != image.Digest {
		t.Errorf("got %+v of target %d, %v, ignored %v", r, which, err, ignored)
	}

	failed := target.Target{Kind: target.Place, URI: "ftp://none.example/", Remote: true}
	if _, _, err := c.First(t.Context(), []target.Target{at("0"), failed}, by, follow.Request{}, func(int, error) {}); !errors.Is(err, transport.ErrRefused) {
		t.Errorf("of one that isn't there and one that can't be asked: %v", err)
	}
	if _, _, err := c.First(t.Context(), []target.Target{at("0")}, by, follow.Request{}, note); !errors.Is(err, resolve.ErrNotFound) {
		t.Errorf("of none: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := c.First(ctx, []target.Target{failed}, by, follow.Request{}, note); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
}

// A place that is blocked is no hint either.
func TestBlockedIsNoHint(t *testing.T) {
	blocked := errors.New("blocked")
	c := follow.New(follow.Options{Blocked: func(string, string) error { return blocked }})
	if l, err := c.Locator(target.Target{Kind: target.Registry, URI: "docker://bad.example/app:1", Remote: true}, follow.Request{}); l != nil || !errors.Is(err, blocked) {
		t.Errorf("got %v, %v", l, err)
	}
}

// routes are those of a resolution's hints for a blob.
func routes(t *testing.T, r resolve.Resolution, d ocispec.Descriptor) []transport.Route {
	t.Helper()
	var all []transport.Route
	for _, l := range r.Hints {
		for route, err := range l.Locate(t.Context(), d) {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, route)
		}
	}
	return all
}

func TestRegistry(t *testing.T) {
	reg := &asked{}
	blocked := errors.New("blocked")
	c := follow.New(follow.Options{Registry: reg, Blocked: func(host, _ string) error {
		if host == "bad.example" {
			return blocked
		}
		return nil
	}})
	free := func(host string) bool { return host == "own.example:5000" }
	for _, tt := range []struct {
		uri    string
		digest digest.Digest
		asked  string
		remote transport.Remote
		err    error
	}{
		{"docker://r.example/team/app:1", "", "1", transport.RemotePublic, nil},
		{"docker://own.example:5000/team/app:1", "", "1", transport.RemoteIn(netclass.Loopback), nil},
		{"docker://r.example/team/app:other", image.Digest, string(image.Digest), transport.RemotePublic, nil},
		{"docker://r.example/team/app:2", "", "2", transport.RemotePublic, resolve.ErrNotFound},
		{"docker://bad.example/app:1", "", "", 0, blocked},
	} {
		*reg = asked{}
		got, err := c.Resolve(t.Context(), target.Target{Kind: target.Registry, URI: tt.uri, Remote: true},
			follow.Request{Digest: tt.digest, Free: free, Origin: "abd x"})
		if !errors.Is(err, tt.err) || reg.reference != tt.asked || reg.route.Remote != tt.remote {
			t.Errorf("%s: %v after asking %+v for %q", tt.uri, err, reg.route, reg.reference)
			continue
		}
		if err != nil {
			continue
		}
		all := routes(t, got, image)
		if got.Descriptor.Digest != image.Digest || got.By.Resolver != "registry" || got.By.URI != tt.uri || got.By.Time.IsZero() ||
			len(all) != 1 || all[0].Remote != tt.remote || all[0].Origin != "abd x" || !strings.HasPrefix(tt.uri, all[0].URI) {
			t.Errorf("%s: got %+v and routes %+v", tt.uri, got, all)
		}
	}
}

func TestIndex(t *testing.T) {
	several, platforms, single := index(t, "1.0", "2.0"), index(t, "", ""), index(t, "latest")
	site := webhosts.Start(t, map[string]http.Handler{"img.example": webhosts.Files{
		"/several/index.json": several, "/platforms/index.json": platforms, "/single/index.json": single,
		"/manifest.json": manifest, "/nonsense.json": "<html>",
	}})
	c := follow.New(follow.Options{Docs: site.Docs})
	for _, tt := range []struct {
		what, path, ref string
		digest, want    digest.Digest
		blobs           string // what the blobs are below
		err             error
	}{
		{"a manifest is the image", "/manifest.json", "", "", image.Digest, "", nil},
		{"so is an index", "/platforms/index.json", "", "", digest.FromString(platforms), "/platforms/blobs/", nil},
		{"an entry of it, by its digest", "/platforms/index.json", "", entry(1).Digest, entry(1).Digest, "/platforms/blobs/", nil},
		{"a layout has one image", "/single/index.json", "9.9", "", entry(0).Digest, "/single/blobs/", nil},
		{"a layout has the version", "/several/index.json", "2.0", "", entry(1).Digest, "/several/blobs/", nil},
		{"a layout has several", "/several/index.json", "", "", "", "", transport.ErrPermanent},
		{"a layout has others", "/several/index.json", "3.0", "", "", "", resolve.ErrNotFound},
		{"another digest", "/manifest.json", "", entry(5).Digest, "", "", resolve.ErrNotFound},
		{"not there", "/none.json", "", "", "", "", resolve.ErrNotFound},
		{"nonsense", "/nonsense.json", "", "", "", "", transport.ErrPermanent},
	} {
		t.Run(tt.what, func(t *testing.T) {
			uri := "https://img.example" + tt.path
			got, err := c.Resolve(t.Context(), target.Target{Kind: target.Index, URI: uri, Remote: true}, follow.Request{Digest: tt.digest, Ref: tt.ref, Origin: "appc x"})
			if !errors.Is(err, tt.err) {
				t.Fatalf("got %v, want %v", err, tt.err)
			}
			if err != nil {
				return
			}
			all := routes(t, got, image)
			if got.Descriptor.Digest != tt.want || got.By.Resolver != "index" || got.By.URI != uri || (got.Content != nil) != (tt.want == digest.FromString(platforms) || tt.want == image.Digest) {
				t.Errorf("got %+v", got)
			}
			switch {
			case tt.blobs == "" && len(all) != 0:
				t.Errorf("blobs are said to be at %+v", all)
			case tt.blobs != "" && (len(all) != 1 || all[0].URI != "https://img.example"+tt.blobs+"sha256/"+image.Digest.Encoded() ||
				all[0].Source != "https://img.example"+tt.blobs || all[0].Remote != transport.RemotePublic || all[0].Origin != "appc x"):
				t.Errorf("blobs are said to be at %+v", all)
			}
		})
	}
}

// finder knows layouts by their path.
type finder map[string]ocispec.Descriptor

func (f finder) Resolve(_ context.Context, n name.Name) (layout.Found, error) {
	d, ok := f[n.Path+" "+n.Ref]
	if !ok {
		return layout.Found{}, transport.Errorf(transport.ErrPermanent, n.Path, "several images")
	}
	return layout.Found{Descriptor: d}, nil
}

func TestLayouts(t *testing.T) {
	archives := finder{"oci-archive+https://own.example/app.tar ": image, "oci-archive+https://dl.example/app.tar ": image, "oci-archive+https://dl.example/many.tar 1.0": image}
	var asked []netclass.Class
	c := follow.New(follow.Options{
		Remote: map[string]resolve.Finder{"ipfs": finder{"ipfs://cid ": image}},
		Archives: func(r transport.Remote) resolve.Finder {
			asked = append(asked, r.Floor())
			return archives
		},
		Local: resolve.Names{name.Layout: resolve.Local{Finder: finder{"/srv/app ": image}}},
	})
	for _, tt := range []struct {
		t     target.Target
		ref   string
		route string
		err   error
	}{
		{target.Target{Kind: target.Archive, URI: "https://own.example/app.tar", Remote: true}, "", "oci-archive+https://own.example/app.tar", nil},
		{target.Target{Kind: target.Archive, URI: "https://dl.example/app.tar", Remote: true}, "", "oci-archive+https://dl.example/app.tar", nil},
		{target.Target{Kind: target.Archive, URI: "https://dl.example/many.tar", Remote: true}, "1.0", "oci-archive+https://dl.example/many.tar", nil},
		{target.Target{Kind: target.Archive, URI: "https://dl.example/many.tar", Remote: true}, "", "", transport.ErrPermanent},
		{target.Target{Kind: target.Place, URI: "ipfs://cid", Remote: true}, "", "ipfs://cid", nil},
		{target.Target{Kind: target.Place, URI: "ftp://h.example/app", Remote: true}, "", "", transport.ErrRefused},
		{target.Target{Kind: target.Layout, URI: "oci:/srv/app"}, "", "oci:/srv/app", nil},
		{target.Target{Kind: target.Layout, URI: "oci:"}, "", "", transport.ErrPermanent},
	} {
		got, err := c.Resolve(t.Context(), tt.t, follow.Request{Ref: tt.ref, Origin: "abd x",
			Free: func(host string) bool { return host == "own.example" }})
		if !errors.Is(err, tt.err) {
			t.Errorf("%s: got %v, want %v", tt.t.URI, err, tt.err)
			continue
		}
		if err != nil {
			continue
		}
		all := routes(t, got, image)
		if got.Descriptor.Digest != image.Digest || got.By.Resolver != tt.t.Kind.String() || len(all) != 1 || all[0].URI != tt.route || (all[0].Remote != 0) != tt.t.Remote {
			t.Errorf("%s: got %+v and routes %+v", tt.t.URI, got, all)
		}
		if tt.t.Kind == target.Archive {
			// In any network on the host that the user named, in the public one on others.
			want := netclass.Public
			if strings.Contains(tt.t.URI, "own.example") {
				want = netclass.Loopback
			}
			if floor := all[0].Remote.Floor(); floor != want || asked[len(asked)-1] != want {
				t.Errorf("%s: may be in networks from %v on, and was asked as one from %v on; want %v", tt.t.URI, floor, asked, want)
			}
		}
	}
}
