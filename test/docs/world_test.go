package docs

import (
	"archive/tar"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/internal/faultserver"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/test/testimage"
)

// world is what the pages speak of: servers under these names, all with the
// image app:1 for amd64, arm64 and this machine.
//
//	registry.example          a registry; also app:mainframe, for s390x alone
//	registry.internal:5000    one without TLS
//	private.example           one that wants the password of ann
//	selfsigned.example        one whose certificate no system trusts
//	mirror.example/blobs/     nginx, configured as docs/sources.md says
//	cdn.example/…             nginx with the tree {algorithm}/{encoded:2}/{encoded}
//	liar.example/blobs/       a server that lies in the second half of each layer
//	dying.example/blobs/      a server that dies after two megabytes
//	down.example              nobody
type world struct {
	dir     string
	layout  *testimage.Layout // of app:1
	proxy   *realserver.Proxy
	trusted string // PEM of the certificate of all names but selfsigned.example
	self    string // PEM of selfsigned.example's
}

const (
	annsPassword = "correct horse"
	trustedNames = "registry.example private.example mirror.example cdn.example liar.example dying.example"
)

// backends are the names' HOST:PORT without TLS.
type backends map[string]string

func newWorld(t *testing.T) *world {
	t.Helper()
	for _, tool := range []string{"skopeo", "runc", "jq"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%v: apt-get install %s", err, tool)
		}
	}
	w := &world{dir: t.TempDir()}
	w.makeImage(t)
	to := backends{}
	w.startRegistries(t, to)
	w.startWebServers(t, to)
	w.startFaults(t, to)
	w.startProxy(t, to)
	return w
}

// makeImage makes the layout all servers are filled from.
func (w *world) makeImage(t *testing.T) {
	t.Helper()
	l, err := testimage.NewLayout(filepath.Join(w.dir, "app"))
	check(t, err)
	w.layout = l
	base, err := l.AddLayer(testimage.Random(1, 16<<20), testimage.None)
	check(t, err)
	program, err := os.ReadFile(filepath.Join(programs, "hello"))
	check(t, err)
	content, err := testimage.Tar(
		testimage.Entry{Header: tar.Header{Name: "hello", Mode: 0o755}, Content: string(program)},
		testimage.Entry{Header: tar.Header{Name: "etc/", Typeflag: tar.TypeDir}},
		testimage.Entry{Header: tar.Header{Name: "etc/passwd"}, Content: "root:x:0:0::/root:/hello\nweb:x:33:33::/srv:/hello\n"},
		testimage.Entry{Header: tar.Header{Name: "etc/group"}, Content: "root:x:0:\nweb:x:33:\n"},
	)
	check(t, err)
	top, err := l.AddLayer(content, testimage.Gzip)
	check(t, err)
	image := func(architecture string) ocispec.Descriptor {
		config := testimage.Config()
		if architecture != "" {
			config.Architecture = architecture
		}
		config.Config = ocispec.ImageConfig{Entrypoint: []string{"/hello"}, User: "web"}
		desc, err := l.AddImage(config, base, top)
		check(t, err)
		return desc
	}
	own := image("")
	platforms := []ocispec.Descriptor{own}
	for _, architecture := range []string{"amd64", "arm64"} {
		if own.Platform.Architecture != architecture {
			platforms = append(platforms, image(architecture))
		}
	}
	index, err := l.AddIndex(platforms...)
	check(t, err)
	check(t, l.Tag(index, "1"))
	foreign, err := l.AddIndex(image("s390x"))
	check(t, err)
	check(t, l.Tag(foreign, "mainframe"))
}

// startRegistries starts docker-registries with the image.
func (w *world) startRegistries(t *testing.T, to backends) {
	t.Helper()
	start := func(name string, o realserver.RegistryOptions) *realserver.Registry {
		r, err := realserver.StartRegistry(t.Context(), filepath.Join(w.dir, name), o)
		check(t, err)
		t.Cleanup(r.Stop)
		return r
	}
	open := start("registry", realserver.RegistryOptions{})
	private := start("private", realserver.RegistryOptions{User: "ann", Password: annsPassword})
	for _, tag := range []string{"1", "mainframe"} {
		w.push(t, tag, open.Host)
	}
	w.push(t, "1", private.Host, "--dest-creds", "ann:"+annsPassword)
	to["registry.example"], to["selfsigned.example"], to["registry.internal:5000"] = open.Host, open.Host, open.Host
	to["private.example"] = private.Host
}

// push copies the image, with every platform, to a registry.
func (w *world) push(t *testing.T, tag, host string, flags ...string) {
	t.Helper()
	args := append([]string{"copy", "--quiet", "--all", "--preserve-digests", "--insecure-policy", "--dest-tls-verify=false"}, flags...)
	command(t, "skopeo", append(args, "oci:"+w.layout.Dir+":"+tag, "docker://"+host+"/app:"+tag)...)
}

// startWebServers starts the nginxes.
func (w *world) startWebServers(t *testing.T, to backends) {
	t.Helper()
	mirror, cdn := filepath.Join(w.dir, "mirror"), filepath.Join(w.dir, "cdn")
	check(t, os.CopyFS(filepath.Join(mirror, "blobs"), os.DirFS(filepath.Join(w.layout.Dir, "blobs"))))
	for _, d := range w.digests(t) {
		dir := filepath.Join(cdn, "sha256", d.Encoded()[:2])
		check(t, os.MkdirAll(dir, 0o755))
		check(t, os.Link(w.layout.Path(d), filepath.Join(dir, d.Encoded())))
	}
	start := func(name, files, config string) string {
		n, err := realserver.StartNginx(t.Context(), filepath.Join(w.dir, name), files, realserver.NginxOptions{Config: config})
		check(t, err)
		t.Cleanup(n.Stop)
		return n.Host
	}
	to["mirror.example"] = start("nginx-mirror", mirror, nginxOfThePage(t))
	to["cdn.example"] = start("nginx-cdn", cdn, "")
}

// nginxOfThePage is the server block of docs/sources.md without what this
// machine decides: addresses, names, certificates and the root. The proxy
// speaks TLS in nginx's place.
func nginxOfThePage(t *testing.T) string {
	t.Helper()
	blocks := readPage(t, "docs/sources.md").fenced("nginx")
	if len(blocks) != 1 {
		t.Fatalf("docs/sources.md has %d nginx blocks, want one", len(blocks))
	}
	body, ok := strings.CutPrefix(strings.TrimSpace(blocks[0].text), "server {")
	if !ok {
		t.Fatalf("docs/sources.md: the nginx block is not a server block")
	}
	var kept []string
	for line := range strings.Lines(strings.TrimSuffix(body, "}")) {
		switch directive, _, _ := strings.Cut(strings.TrimSpace(line), " "); directive {
		case "listen", "server_name", "ssl_certificate", "ssl_certificate_key", "root":
		default:
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// startFaults starts the servers that can't be trusted.
func (w *world) startFaults(t *testing.T, to backends) {
	t.Helper()
	var blobs []faultserver.Blob
	for _, d := range w.digests(t) {
		info, err := os.Stat(w.layout.Path(d))
		check(t, err)
		blobs = append(blobs, faultserver.Blob{Digest: d, Content: faultserver.File(w.layout.Path(d)), Size: info.Size()})
	}
	start := func(o faultserver.Options) string {
		o.Blobs = blobs
		s, err := faultserver.New(o)
		check(t, err)
		t.Cleanup(func() { s.Close() })
		return s.Host()
	}
	to["liar.example"] = start(faultserver.Options{Faults: []faultserver.Fault{{Lie: &faultserver.Lie{Offset: 8 << 20}}}})
	to["dying.example"] = start(faultserver.Options{DieAfter: 2 << 20})
}

// digests are those of all blobs of the image.
func (w *world) digests(t *testing.T) []digest.Digest {
	t.Helper()
	files, err := os.ReadDir(filepath.Join(w.layout.Dir, "blobs", "sha256"))
	check(t, err)
	var all []digest.Digest
	for _, f := range files {
		all = append(all, digest.NewDigestFromEncoded(digest.SHA256, f.Name()))
	}
	return all
}

// startProxy starts the proxy that knows the names, and what speaks TLS for them.
func (w *world) startProxy(t *testing.T, to backends) {
	t.Helper()
	trusted, trustedPEM := certificate(t, strings.Fields(trustedNames)...)
	self, selfPEM := certificate(t, "selfsigned.example")
	w.trusted, w.self = trustedPEM, selfPEM
	front := &http.Server{
		ErrorLog: log.New(io.Discard, "", 0), // handshakes that fail are part of the examples
		Handler: &httputil.ReverseProxy{
			ErrorLog:      log.New(io.Discard, "", 0),
			FlushInterval: -1,
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(&url.URL{Scheme: "http", Host: to[r.In.Host]})
				r.Out.Host = r.In.Host
				r.SetXForwarded()
			},
			ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		},
		TLSConfig: &tls.Config{GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if hello.ServerName == "selfsigned.example" {
				return &self, nil
			}
			return &trusted, nil
		}},
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	go front.ServeTLS(listener, "", "") //nolint:errcheck // it ends with Close
	t.Cleanup(func() { front.Close() })
	hosts := map[string]string{"registry.internal:5000": to["registry.internal:5000"], "mirror.example": to["mirror.example"]}
	for name := range to {
		if !strings.Contains(name, ":") {
			hosts[name+":443"] = listener.Addr().String()
		}
	}
	w.proxy, err = realserver.StartProxy("", hosts)
	check(t, err)
	t.Cleanup(w.proxy.Stop)
}

// certificate makes a certificate for the names that is its own authority.
func certificate(t *testing.T, names ...string) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(time.Now().UnixNano()),
		Subject:               pkix.Name{CommonName: names[0]},
		DNSNames:              names,
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	check(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// command runs another program to its end and returns its output.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v (see scripts/install-test-tools): %v\n%s", name, args, err, out)
	}
	return string(out)
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
