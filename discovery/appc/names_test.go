package appc_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/discovery/appc"
	"github.com/waybill-project/waybill/discovery/follow"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/resolve"
	"github.com/waybill-project/waybill/test/webhosts"
)

// The best match that gives an image is taken.
func TestResolve(t *testing.T) {
	site := webhosts.Start(t, map[string]http.Handler{"example.com": webhosts.Files{"/app?ac-discovery=1": `<head>
		<meta name="ac-discovery" content="example.com docker://r.example/{name}:{version}">
		<meta name="ac-discovery" content="example.com docker://r.example/{name}-{os}:{version}">`}})
	reg := webhosts.Tags{"r.example/example.com/app:1": "any", "r.example/example.com/app-linux:1": "linux", "r.example/example.com/app:2": "two"}
	r := appc.Names{Client: appc.New(appc.Options{Docs: site.Docs}), Follow: follow.New(follow.Options{Docs: site.Docs, Registry: reg})}
	for _, tt := range []struct {
		name   string
		digest digest.Digest
		want   string
		err    error
	}{
		{"example.com/app:1", "", "any", nil},
		{"example.com/app:1,os=linux", "", "linux", nil},
		{"example.com/app:2,os=linux", "", "two", nil},
		{"example.com/app:3", "", "", resolve.ErrNotFound},
		{"example.com/app:1", digest.FromString("another"), "", resolve.ErrNotFound},
		{"example.com/none", "", "", resolve.ErrNotFound},
	} {
		got, err := r.Resolve(t.Context(), name.Name{Kind: name.AppC, Path: tt.name, Digest: tt.digest}, ocispec.Descriptor{})
		if !errors.Is(err, tt.err) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.err)
			continue
		}
		if err != nil {
			continue
		}
		by := got.By.All()
		if got.Descriptor.Digest != digest.FromString(tt.want) || len(by) != 2 || by[0].Resolver != "appc" || by[0].URI != "https://example.com/app" ||
			by[1].Resolver != "registry" || len(got.Hints) != 1 {
			t.Errorf("%s: got %+v", tt.name, got)
		}
	}
	if _, err := r.Resolve(t.Context(), name.Name{Kind: name.AppC, Path: "Example"}, ocispec.Descriptor{}); err == nil {
		t.Error("a name that is none was looked for")
	}
}
