package oci_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/discovery/oci"
	"github.com/waybill-project/waybill/image"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/test/testimage"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/https"
)

// host is one that realserver's certificates are for.
const host = "waybill.test"

// TestNginx publishes an image as static files in the two ways of the
// publication's contrib/nginx, and reads every blob of it by its name alone.
func TestNginx(t *testing.T) {
	for what, publish := range map[string]func(t *testing.T, root string, layout *testimage.Layout) string{
		"an index and a pool of blobs": publishPool,
		"a layout as it is":            publishLayout,
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			layout, err := testimage.NewLayout(filepath.Join(dir, "layout"))
			must(t, err)
			layer, err := layout.AddLayer(testimage.Random(1, 300_000), testimage.None)
			must(t, err)
			manifest, err := layout.AddImage(testimage.Config(), layer)
			must(t, err)
			top, err := layout.AddIndex(manifest)
			must(t, err)
			must(t, layout.Tag(top, "1.0"))
			root := filepath.Join(dir, "root")
			write(t, filepath.Join(root, oci.WellKnown), publish(t, root, layout))

			ca, err := realserver.NewCA(dir)
			must(t, err)
			nginx, err := realserver.StartNginx(t.Context(), filepath.Join(dir, "nginx"), root, realserver.NginxOptions{CA: ca, Config: `
				location = /.well-known/oci-host-ref-engines { types {} default_type application/vnd.oci.ref-engines.v1+json; charset utf-8; charset_types *; }`})
			must(t, err)
			t.Cleanup(nginx.Stop)
			authority, err := os.ReadFile(ca.File)
			must(t, err)
			w := &world{certs: t.TempDir(), env: map[string]string{"XDG_CONFIG_DIRS": t.TempDir()}}
			w.at(t, nginx.Host, authority, host)

			answer, err := w.resolve(t, host+"/c/d#1.0")
			if err != nil || len(answer.Candidates) != 1 || answer.Candidates[0].Descriptor.Digest != top.Digest {
				t.Fatalf("got %+v, %v", answer, err)
			}
			c := answer.Candidates[0]
			fetch := func(ctx context.Context, desc ocispec.Descriptor) ([]byte, error) {
				return w.blob(ctx, append(c.CASEngines, answer.CASEngines...), desc)
			}
			documents := func(ctx context.Context, n image.Node) (image.Content, error) {
				b, err := fetch(ctx, n.Descriptor)
				return image.Bytes(b), err
			}
			n := 0
			for node, err := range image.Walk(t.Context(), c.Descriptor, documents, image.WalkOptions{Platform: image.AllPlatforms()}) {
				must(t, err)
				content, err := fetch(t.Context(), node.Descriptor)
				must(t, err)
				if node.Descriptor.Digest.Algorithm().FromBytes(content) != node.Descriptor.Digest {
					t.Errorf("%s has other content", node.Descriptor.Digest)
				}
				n++
			}
			if n != 4 { // index, manifest, config, layer
				t.Errorf("%d blobs", n)
			}
		})
	}
}

// publishPool is contrib/nginx/README.md, "Serving everything from one Nginx
// server". The index's file has no extension, and {path} is c%2Fd.
func publishPool(t *testing.T, root string, layout *testimage.Layout) string {
	index, err := os.ReadFile(filepath.Join(layout.Dir, "index.json"))
	must(t, err)
	write(t, filepath.Join(root, "oci-index", "c", "d"), string(index))
	blobs, err := filepath.Glob(filepath.Join(layout.Dir, "blobs", "sha256", "*"))
	must(t, err)
	for _, b := range blobs {
		to := filepath.Join(root, "oci-cas", "sha256", filepath.Base(b)[:2], filepath.Base(b))
		must(t, os.MkdirAll(filepath.Dir(to), 0o755))
		must(t, os.Link(b, to))
	}
	return refEngines([]string{"https://{host}/oci-index/{path}"}, []string{"https://" + host + "/oci-cas/{algorithm}/{encoded:2}/{encoded}"})
}

// publishLayout is "Serving OCI layouts from Nginx" there.
func publishLayout(t *testing.T, root string, layout *testimage.Layout) string {
	must(t, os.MkdirAll(filepath.Join(root, "oci-image", "c"), 0o755))
	must(t, os.Rename(layout.Dir, filepath.Join(root, "oci-image", "c", "d")))
	return refEngines([]string{"https://{host}/oci-image/{path}/index.json"}, []string{"https://" + host + "/oci-image/{path}/blobs/{algorithm}/{encoded}"})
}

// blob reads a blob from the first of the engines that has it.
func (w *world) blob(ctx context.Context, engines []oci.Engine, desc ocispec.Descriptor) ([]byte, error) {
	proxy, err := url.Parse(w.proxy.URL)
	if err != nil {
		return nil, err
	}
	client := httpclient.New(httpclient.Options{CertDirs: []string{w.certs}, Proxy: func(*http.Request) (*url.URL, error) { return proxy, nil }})
	defer client.CloseIdleConnections()
	err = fmt.Errorf("%s: no engine", desc.Digest)
	for _, e := range engines {
		l, lerr := e.Locator("test")
		if lerr != nil {
			return nil, lerr
		}
		for route, rerr := range l.Locate(ctx, desc) {
			if rerr != nil {
				return nil, rerr
			}
			body, oerr := https.New(client).Open(ctx, route, desc, 0, desc.Size)
			if oerr != nil {
				err = oerr
				continue
			}
			defer body.Close()
			return io.ReadAll(body)
		}
	}
	return nil, err
}

func write(t *testing.T, file, content string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(file), 0o755))
	must(t, os.WriteFile(file, []byte(content), 0o644))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
