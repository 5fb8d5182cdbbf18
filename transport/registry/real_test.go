package registry_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/credentials"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/test/testimage"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/registry"
)

// image is what the real registries hold, as team/app:1.
type image struct {
	dir             string
	manifest, layer ocispec.Descriptor
	content         []byte // of the layer
}

func newImage(t testing.TB, layer io.Reader) image {
	t.Helper()
	layout, err := testimage.NewLayout(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l, err := layout.AddLayer(layer, testimage.Stored)
	if err != nil {
		t.Fatal(err)
	}
	m, err := layout.AddImage(testimage.Config(), l)
	if err != nil {
		t.Fatal(err)
	}
	if err := layout.Tag(m, "1"); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(layout.Path(l.Digest))
	if err != nil {
		t.Fatal(err)
	}
	return image{layout.Dir, m, l.Descriptor, content}
}

// crane returns the path of the program.
func crane(t testing.TB) string {
	t.Helper()
	if path, err := exec.LookPath("crane"); err == nil {
		return path
	}
	gopath, err := exec.Command("go", "env", "GOPATH").Output()
	if err != nil {
		t.Fatal(err)
	}
	path, err := exec.LookPath(filepath.Join(strings.TrimSpace(string(gopath)), "bin", "crane"))
	if err != nil {
		t.Fatal("crane is not installed: run scripts/install-test-tools")
	}
	return path
}

// push pushes img with crane, logged in with the docker configuration config.
func push(t testing.TB, img image, host, config string) {
	t.Helper()
	cmd := exec.Command(crane(t), "push", "--insecure", img.dir, host+"/team/app:1")
	cmd.Env = append(os.Environ(), "DOCKER_CONFIG="+filepath.Dir(config))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("crane push: %v\n%s", err, out)
	}
}

// dockerConfig writes a docker configuration and returns its path.
func dockerConfig(t testing.TB, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// login is a docker configuration with a user for a host.
func login(host, user, password string) string {
	return `{"auths":{` + auth(host, user, password) + `}}`
}

// auth is a user for a host, to stand in the auths of a docker configuration.
func auth(host, user, password string) string {
	return fmt.Sprintf(`%q:{"auth":%q}`, host, base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
}

func startRegistry(t testing.TB, o realserver.RegistryOptions) *realserver.Registry {
	t.Helper()
	r, err := realserver.StartRegistry(context.Background(), t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Stop)
	return r
}

// newClient returns a client that knows the credentials of one file, and the
// certificates of one directory.
func newClient(t testing.TB, config, certs string) *registry.Client {
	t.Helper()
	h := httpclient.New(httpclient.Options{CertDirs: []string{certs}})
	t.Cleanup(h.CloseIdleConnections)
	return registry.New(registry.Options{HTTP: h, Credentials: credentials.New(credentials.Options{Files: []string{config}})})
}

func route(host, repo string) transport.Route {
	return transport.Route{URI: "docker://" + host + "/" + repo}
}

// read reads a range.
func read(c *registry.Client, r transport.Route, desc ocispec.Descriptor, offset, length int64) ([]byte, error) {
	body, err := c.Open(context.Background(), r, desc, offset, length)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return io.ReadAll(body)
}

// checkImage reads img in all the ways there are.
func checkImage(t *testing.T, c *registry.Client, host string, img image) {
	t.Helper()
	ctx := context.Background()
	r := route(host, "team/app:1@"+img.manifest.Digest.String())
	for _, tt := range []struct{ offset, length int64 }{
		{0, -1}, {0, img.layer.Size}, {0, 1}, {100, 70_000}, {img.layer.Size - 1, 1},
	} {
		desc := img.layer
		if tt.length < 0 {
			desc.Size = -1
		}
		got, err := read(c, r, desc, tt.offset, tt.length)
		if err != nil {
			t.Fatalf("Open(%d, %d): %v", tt.offset, tt.length, err)
		}
		want := img.content[tt.offset:]
		if tt.length >= 0 {
			want = want[:tt.length]
		}
		if !bytes.Equal(got, want) {
			t.Errorf("Open(%d, %d) is not what was pushed", tt.offset, tt.length)
		}
	}
	if size, err := c.Size(ctx, r, img.layer); err != nil || size != img.layer.Size {
		t.Errorf("Size = %d, %v; want %d", size, err, img.layer.Size)
	}
	manifest, err := read(c, r, img.manifest, 0, img.manifest.Size)
	if err != nil || digest.FromBytes(manifest) != img.manifest.Digest {
		t.Errorf("Open of the manifest: %v", err)
	}
	for _, ref := range []string{"1", img.manifest.Digest.String()} {
		desc, content, err := c.Get(ctx, host, "team/app", ref)
		if err != nil {
			t.Fatalf("Get(%s): %v", ref, err)
		}
		if !bytes.Equal(content, manifest) {
			t.Errorf("Get(%s) is not what was pushed", ref)
		}
		head, err := c.Head(ctx, host, "team/app", ref)
		if err != nil {
			t.Fatalf("Head(%s): %v", ref, err)
		}
		for _, d := range []ocispec.Descriptor{desc, head} {
			if d.Digest != img.manifest.Digest || d.Size != img.manifest.Size || d.MediaType != img.manifest.MediaType {
				t.Errorf("%s is described as %+v, want %+v", ref, d, img.manifest)
			}
		}
	}
	missing := ocispec.Descriptor{Digest: digest.FromString("missing"), Size: 7}
	_, err = c.Open(ctx, r, missing, 0, 7)
	checkKind(t, err, transport.ErrNotFound, "404")
	_, _, err = c.Get(ctx, host, "team/app", "2")
	checkKind(t, err, transport.ErrNotFound, "404")
}

func TestRealRegistryAnonymous(t *testing.T) {
	img := newImage(t, testimage.Random(1, 300_000))
	r := startRegistry(t, realserver.RegistryOptions{})
	config := dockerConfig(t, "{}")
	push(t, img, r.Host, config)
	checkImage(t, newClient(t, config, t.TempDir()), r.Host, img)
}

func TestRealRegistryBasic(t *testing.T) {
	img := newImage(t, testimage.Random(2, 300_000))
	r := startRegistry(t, realserver.RegistryOptions{User: "ann", Password: "s3cr:t"})
	config := dockerConfig(t, login(r.Host, "ann", "s3cr:t"))
	push(t, img, r.Host, config)
	checkImage(t, newClient(t, config, t.TempDir()), r.Host, img)

	for name, content := range map[string]string{"anonymous": "{}", "wrong password": login(r.Host, "ann", "wr0ng")} {
		t.Run(name, func(t *testing.T) {
			_, err := read(newClient(t, dockerConfig(t, content), t.TempDir()), route(r.Host, "team/app"), img.layer, 0, 10)
			checkKind(t, err, transport.ErrUnauthorized, "401")
			if strings.Contains(err.Error(), "wr0ng") {
				t.Errorf("error shows the password: %v", err)
			}
		})
	}
}

func TestRealRegistryToken(t *testing.T) {
	tokens, err := realserver.StartTokenServer(t.TempDir(), "ann", "s3cret")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tokens.Stop)
	img := newImage(t, testimage.Random(3, 300_000))
	r := startRegistry(t, realserver.RegistryOptions{Token: tokens})
	config := dockerConfig(t, login(r.Host, "ann", "s3cret"))
	// crane refuses a token service on loopback, even for a registry there.
	out, err := exec.Command("skopeo", "copy", "--insecure-policy", "--dest-tls-verify=false", "--dest-authfile="+config,
		"oci:"+img.dir+":1", "docker://"+r.Host+"/team/app:1").CombinedOutput()
	if err != nil {
		t.Fatalf("skopeo copy: %v\n%s", err, out)
	}

	before := tokens.Issued()
	checkImage(t, newClient(t, config, t.TempDir()), r.Host, img)
	if n := tokens.Issued() - before; n != 1 {
		t.Errorf("reading one repository took %d tokens, want 1", n)
	}
	_, err = read(newClient(t, dockerConfig(t, login(r.Host, "ann", "wr0ng")), t.TempDir()), route(r.Host, "team/app"), img.layer, 0, 10)
	checkKind(t, err, transport.ErrUnauthorized, "token service")
}

func TestRealRegistryTLS(t *testing.T) {
	ca, err := realserver.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	img := newImage(t, testimage.Random(4, 300_000))
	r := startRegistry(t, realserver.RegistryOptions{CA: ca})
	config := dockerConfig(t, "{}")
	push(t, img, r.Host, config)

	certs := t.TempDir()
	link(t, ca.File, certs, r.Host, "ca.crt")
	checkImage(t, newClient(t, config, certs), r.Host, img)

	// Plain http is allowed on loopback, but a certificate that does not
	// verify is no reason for it.
	_, err = read(newClient(t, config, t.TempDir()), route(r.Host, "team/app"), img.layer, 0, 10)
	checkKind(t, err, transport.ErrPermanent, "certificate")
}

func TestRealRegistryClientCertificate(t *testing.T) {
	ca, err := realserver.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	img := newImage(t, testimage.Random(5, 300_000))
	r := startRegistry(t, realserver.RegistryOptions{})
	config := dockerConfig(t, "{}")
	push(t, img, r.Host, config)
	front, err := realserver.StartNginx(context.Background(), t.TempDir(), t.TempDir(), realserver.NginxOptions{CA: ca, Config: fmt.Sprintf(
		"ssl_client_certificate %s; ssl_verify_client on; location / { proxy_pass %s; proxy_set_header Host $http_host; }", ca.File, r.URL)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(front.Stop)
	client, err := ca.Issue(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	certs := t.TempDir()
	link(t, ca.File, certs, front.Host, "ca.crt")
	_, err = read(newClient(t, config, certs), route(front.Host, "team/app"), img.layer, 0, 10)
	checkKind(t, err, transport.ErrPermanent, "No required SSL certificate was sent")

	link(t, client.CertFile, certs, front.Host, "client.cert")
	link(t, client.KeyFile, certs, front.Host, "client.key")
	checkImage(t, newClient(t, config, certs), front.Host, img)
}

func link(t testing.TB, from string, to ...string) {
	t.Helper()
	path := filepath.Join(to...)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(from, path); err != nil {
		t.Fatal(err)
	}
}

func TestRealRegistryThroughAProxy(t *testing.T) {
	img := newImage(t, testimage.Random(6, 300_000))
	r := startRegistry(t, realserver.RegistryOptions{})
	config := dockerConfig(t, "{}")
	push(t, img, r.Host, config)
	// The registry speaks no TLS behind port 443 either.
	proxy, err := realserver.StartProxy("", map[string]string{"registry.example": r.Host, "registry.example:443": r.Host})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Stop)
	for _, v := range []string{"NO_PROXY", "https_proxy", "no_proxy", "http_proxy"} {
		t.Setenv(v, "")
	}
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("HTTPS_PROXY", proxy.URL)
	h := httpclient.New(httpclient.Options{CertDirs: []string{}})
	t.Cleanup(h.CloseIdleConnections)
	c := registry.New(registry.Options{HTTP: h, PlainHTTP: func(host string) bool { return host == "registry.example" }})
	checkImage(t, c, "registry.example", img)
	if n := len(proxy.Requests()); n < 10 {
		t.Errorf("the proxy saw %d requests", n)
	}
}
