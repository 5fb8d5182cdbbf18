package registry_test

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/conformance/transporttest/daemon"
	"github.com/waybill-project/waybill/internal/faultserver"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/registry"
)

// TestConformance reads from real docker-registries: one for everybody, one
// that wants a bearer token, and one over TLS that wants a password.
func TestConformance(t *testing.T) {
	for name, options := range map[string]func(t *testing.T) realserver.RegistryOptions{
		"anonymous": func(*testing.T) realserver.RegistryOptions { return realserver.RegistryOptions{} },
		"token": func(t *testing.T) realserver.RegistryOptions {
			tokens, err := realserver.StartTokenServer(t.TempDir(), "ann", "s3cret")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(tokens.Stop)
			return realserver.RegistryOptions{Token: tokens}
		},
		"password": func(t *testing.T) realserver.RegistryOptions {
			ca, err := realserver.NewCA(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			return realserver.RegistryOptions{CA: ca, User: "ann", Password: "s3cret"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			transporttest.Run(t, func(t *testing.T) transporttest.Harness { return harness(t, options(t)) })
		})
	}
}

func harness(t *testing.T, o realserver.RegistryOptions) transporttest.Harness {
	dir, certs := t.TempDir(), t.TempDir()
	reg, err := realserver.StartRegistry(t.Context(), dir, o)
	if err != nil {
		t.Fatal(err)
	}
	// It is its configuration that is wanted: it is run by somebody who can
	// start it again.
	reg.Stop()
	server := daemon.Start(t, reg.Host, "docker-registry", "serve", filepath.Join(dir, "config.yml"))
	if o.CA != nil {
		if err := os.Mkdir(filepath.Join(certs, reg.Host), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(o.CA.File, filepath.Join(certs, reg.Host, "ca.crt")); err != nil {
			t.Fatal(err)
		}
	}
	private := startRegistry(t, realserver.RegistryOptions{User: "ann", Password: "s3cret"})
	config := dockerConfig(t, `{"auths":{`+auth(reg.Host, "ann", "s3cret")+`,`+auth(private.Host, "ann", "guessed")+`}}`)

	faulty, err := faultserver.New(faultserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { faulty.Close() })
	faults := func(f faultserver.Fault) func(testing.TB, transporttest.Blob) transport.Route {
		return func(_ testing.TB, b transporttest.Blob) transport.Route {
			faulty.Add(faultserver.Blob{Digest: b.Digest, Content: b, Size: b.Size})
			faulty.SetBlobFaults(b.Digest, f)
			return route(faulty.Host(), "team/app")
		}
	}
	return transporttest.Harness{
		Transport: newClient(t, config, certs),
		Put: func(t testing.TB, b transporttest.Blob) transport.Route {
			store(t, reg, b)
			return route(reg.Host, "team/app")
		},
		Faults: map[transporttest.Fault]func(testing.TB, transporttest.Blob) transport.Route{
			transporttest.Denied: func(t testing.TB, b transporttest.Blob) transport.Route {
				store(t, private, b)
				return route(private.Host, "team/app")
			},
			// docker-registry never does these.
			transporttest.Throttled: faults(faultserver.Fault{Status: http.StatusTooManyRequests, RetryAfter: 7 * time.Second}),
			transporttest.Temporary: faults(faultserver.Fault{Status: http.StatusBadGateway}),
			transporttest.Permanent: faults(faultserver.Fault{Redirect: &faultserver.Redirect{}}),
			transporttest.ShortBody: faults(faultserver.Fault{Body: faultserver.BodyShort, After: 100_000}),
		},
		RetryAfter: 7 * time.Second,
		Stop:       server.Stop, Start: server.Start,
		Pause: server.Pause, Resume: server.Resume,
		Stall: func(testing.TB) transport.Route {
			faulty.SetFaults(faultserver.Fault{StallHeaders: true})
			return route(faulty.Host(), "team/app")
		},
	}
}

// store puts a blob where a registry keeps it, and into the repository
// team/app: the way for one of gigabytes, and of a made-up digest.
func store(t testing.TB, reg *realserver.Registry, b transporttest.Blob) {
	t.Helper()
	data := reg.BlobFile(b.Digest.String())
	link := filepath.Join(filepath.Dir(reg.Blobs), "repositories", "team", "app", "_layers", "sha256", b.Digest.Encoded(), "link")
	for _, file := range []string{data, link} {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b.WriteFile(t, data)
	if err := os.WriteFile(link, []byte(b.Digest), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestCheck(t *testing.T) {
	c := registry.New(registry.Options{})
	for uri, ok := range map[string]bool{
		"docker://example.org/team/app":   true,
		"docker://example.org/team/app:1": true,
		"docker://example.org":            false,
		"docker://example.org/UPPER":      false,
		"https://example.org/team/app":    false,
	} {
		err := c.Check(uri)
		if (err == nil) != ok || err != nil && !errors.Is(err, transport.ErrPermanent) {
			t.Errorf("%q: %v", uri, err)
		}
	}
}
