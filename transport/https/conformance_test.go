package https_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/conformance/transporttest/daemon"
	"github.com/waybill-project/waybill/internal/faultserver"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/https"
)

// TestConformance reads from a real nginx that wants a password, over HTTP and
// TLS, and by way of a redirect.
func TestConformance(t *testing.T) {
	for name, at := range map[string]struct {
		tls  bool
		path string
	}{
		"http":     {false, "/"},
		"https":    {true, "/"},
		"redirect": {true, "/moved/"},
	} {
		t.Run(name, func(t *testing.T) {
			transporttest.Run(t, func(t *testing.T) transporttest.Harness { return harness(t, at.tls, at.path) })
		})
	}
	t.Run("behind transport.Schemes", func(t *testing.T) {
		transporttest.Run(t, func(t *testing.T) transporttest.Harness {
			h := harness(t, false, "/")
			h.Transport = transport.Schemes{"http": h.Transport, "https": h.Transport}
			return h
		})
	})
}

// locations are the paths below which nginx redirects, or fails in a way of
// its own.
const locations = `
	auth_basic blobs; auth_basic_user_file %s;
	rewrite ^/moved/(.*) /$1 redirect;
	location /throttled/ { return 429; add_header Retry-After 7 always; }
	location /gateway/ { proxy_pass http://127.0.0.1:1; }
	location /loop/ { return 302 $request_uri; }`

func harness(t *testing.T, tls bool, path string) transporttest.Harness {
	root, dir, certs := t.TempDir(), t.TempDir(), t.TempDir()
	users := filepath.Join(dir, "users")
	if out, err := exec.Command("htpasswd", "-cbB", "-C", "4", users, "ann", "s3:cret").CombinedOutput(); err != nil {
		t.Fatalf("htpasswd (package apache2-utils): %v\n%s", err, out)
	}
	o := realserver.NginxOptions{Config: fmt.Sprintf(locations, users)}
	if tls {
		ca, err := realserver.NewCA(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		o.CA = ca
	}
	nginx, err := realserver.StartNginx(t.Context(), dir, root, o)
	if err != nil {
		t.Fatal(err)
	}
	// It is its configuration that is wanted: it is run by somebody who can
	// start it again.
	nginx.Stop()
	server := daemon.Start(t, nginx.Host, "nginx", "-e", "stderr", "-p", dir, "-c", filepath.Join(dir, "nginx.conf"))
	if tls {
		if err := os.Mkdir(filepath.Join(certs, nginx.Host), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(o.CA.File, filepath.Join(certs, nginx.Host, "ca.crt")); err != nil {
			t.Fatal(err)
		}
	}
	faulty, err := faultserver.New(faultserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { faulty.Close() })

	at := func(user, path string) transport.Route {
		return transport.Route{URI: strings.Replace(nginx.URL, "://", "://"+user+"@", 1) + path}
	}
	put := func(t testing.TB, b transporttest.Blob) {
		b.WriteFile(t, filepath.Join(root, b.Digest.Encoded()))
	}
	failing := func(user, path string) func(testing.TB, transporttest.Blob) transport.Route {
		return func(t testing.TB, b transporttest.Blob) transport.Route {
			put(t, b)
			return at(user, path+b.Digest.Encoded())
		}
	}
	faults := func(list ...faultserver.Fault) func(testing.TB, transporttest.Blob) transport.Route {
		return func(_ testing.TB, b transporttest.Blob) transport.Route {
			faulty.Add(faultserver.Blob{Digest: b.Digest, Content: b, Size: b.Size})
			faulty.SetBlobFaults(b.Digest, list...)
			return transport.Route{URI: faulty.BlobURL(b.Digest)}
		}
	}
	return transporttest.Harness{
		Transport: https.New(httpclient.New(httpclient.Options{CertDirs: []string{certs}})),
		Put: func(t testing.TB, b transporttest.Blob) transport.Route {
			put(t, b)
			return at("ann:s3%3Acret", path+b.Digest.Encoded())
		},
		Missing: func(testing.TB) (transport.Route, ocispec.Descriptor) {
			desc := ocispec.Descriptor{Digest: digest.FromString("missing"), Size: 7}
			return at("ann:s3%3Acret", path+desc.Digest.Encoded()), desc
		},
		Faults: map[transporttest.Fault]func(testing.TB, transporttest.Blob) transport.Route{
			transporttest.Denied:    failing("ann:guessed", path),
			transporttest.Throttled: failing("ann:s3%3Acret", "/throttled/"),
			transporttest.Temporary: failing("ann:s3%3Acret", "/gateway/"),
			transporttest.Permanent: failing("ann:s3%3Acret", "/loop/"),
			// A real server that gives up in the middle can't be had.
			transporttest.ShortBody: faults(faultserver.Fault{Body: faultserver.BodyShort, After: 100_000}),
		},
		RetryAfter: 7 * time.Second,
		Stop:       server.Stop, Start: server.Start,
		Pause: server.Pause, Resume: server.Resume,
		Stall: func(testing.TB) transport.Route {
			faulty.SetFaults(faultserver.Fault{StallHeaders: true})
			return transport.Route{URI: faulty.URL() + "/mute"}
		},
	}
}

func TestCheck(t *testing.T) {
	tr := https.New(httpclient.New(httpclient.Options{}))
	for uri, ok := range map[string]bool{
		"https://example.org/blobs/x":   true,
		"http://ann:s3cret@127.0.0.1:1": true,
		"https:///blobs":                false,
		"https:blobs":                   false,
		"https://h/%zz":                 false,
		"https://h/x#y":                 false,
		"ftp://example.org/":            false,
	} {
		err := tr.Check(uri)
		if (err == nil) != ok || err != nil && !errors.Is(err, transport.ErrPermanent) {
			t.Errorf("%q: %v", uri, err)
		}
	}
}
