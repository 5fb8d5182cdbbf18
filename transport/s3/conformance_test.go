package s3_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/s3"
)

const bucket = "images"

// isolate makes the test one of an account that knows nothing of AWS. It
// returns the directory that is ~/.aws.
func isolate(t testing.TB) string {
	t.Helper()
	home := t.TempDir()
	dir := filepath.Join(home, ".aws")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", home)
	// The SDK has looked where the home directory is already.
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "credentials"))
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION",
		"AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_EC2_METADATA_SERVICE_ENDPOINT",
		"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
	} {
		t.Setenv(name, "") // for what comes after the test
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// write writes a file.
func write(t testing.TB, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// start starts a real server with an empty bucket.
func start(t testing.TB, o realserver.S3Options) *realserver.S3 {
	t.Helper()
	server, err := realserver.StartS3(t.Context(), t.TempDir(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Stop() })
	if err := os.Mkdir(filepath.Join(server.Root, bucket), 0o755); err != nil {
		t.Fatal(err)
	}
	return server
}

// login puts the server's keys into the environment.
func login(t testing.TB, server *realserver.S3) {
	t.Setenv("AWS_ACCESS_KEY_ID", server.AccessKey)
	t.Setenv("AWS_SECRET_ACCESS_KEY", server.SecretKey)
}

// newTransport returns a transport without certificates or proxy.
func newTransport(t testing.TB) *s3.Transport {
	t.Helper()
	tr := s3.New(httpclient.New(httpclient.Options{CertDirs: []string{}}))
	t.Cleanup(func() {
		if err := tr.Close(); err != nil {
			t.Error(err)
		}
	})
	return tr
}

// refuse writes an error as S3 does.
func refuse(w http.ResponseWriter, status int, code, more string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code><Message>The words of the server.</Message>%s</Error>", code, more)
}

// fake returns the route to a server that answers so.
func fake(t testing.TB, handler http.HandlerFunc) transport.Route {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return transport.Route{URI: "s3://" + bucket + "?endpoint=" + server.URL}
}

// refusing is a fake that refuses everything.
func refusing(status int, code, retryAfter string) func(testing.TB, transporttest.Blob) transport.Route {
	return func(t testing.TB, _ transporttest.Blob) transport.Route {
		return fake(t, func(w http.ResponseWriter, r *http.Request) {
			if retryAfter != "" {
				w.Header().Set("Retry-After", retryAfter)
			}
			refuse(w, status, code, "")
		})
	}
}

func TestConformance(t *testing.T) {
	const retryAfter = 7 * time.Second
	transporttest.Run(t, func(t *testing.T) transporttest.Harness {
		dir := isolate(t)
		server := start(t, realserver.S3Options{})
		login(t, server)
		write(t, filepath.Join(dir, "credentials"), "[wrong]\naws_access_key_id = "+server.AccessKey+"\naws_secret_access_key = hunter2\n")
		file := func(t testing.TB, b transporttest.Blob) string {
			path := filepath.Join(server.Root, bucket, "some/where/blobs/sha256", b.Digest.Encoded())
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			return path
		}
		route := transport.Route{URI: "s3://" + bucket + "/some/where?endpoint=" + server.URL}
		put := func(t testing.TB, b transporttest.Blob) transport.Route {
			b.WriteFile(t, file(t, b))
			return route
		}
		return transporttest.Harness{
			Transport:  newTransport(t),
			Put:        put,
			RetryAfter: retryAfter,
			Faults: map[transporttest.Fault]func(testing.TB, transporttest.Blob) transport.Route{
				transporttest.Denied: func(t testing.TB, b transporttest.Blob) transport.Route {
					return transport.Route{URI: put(t, b).URI + "&profile=wrong"}
				},
				transporttest.Throttled: refusing(503, "SlowDown", strconv.Itoa(int(retryAfter.Seconds()))),
				transporttest.Temporary: refusing(500, "InternalError", ""),
				transporttest.Permanent: func(t testing.TB, b transporttest.Blob) transport.Route {
					write(t, file(t, b), "another object")
					return route
				},
				transporttest.ShortBody: func(t testing.TB, b transporttest.Blob) transport.Route {
					return fake(t, func(w http.ResponseWriter, r *http.Request) {
						w.Header().Set("Content-Length", strconv.FormatInt(b.Size, 10))
						_, _ = io.CopyN(w, b.Reader(), b.Size/2)
					})
				},
			},
			Stop: func(testing.TB) { server.Stop() },
			Start: func(t testing.TB) {
				if err := server.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
			},
			Pause: func(t testing.TB) {
				if err := server.Pause(); err != nil {
					t.Fatal(err)
				}
			},
			Resume: func(t testing.TB) {
				if err := server.Resume(); err != nil {
					t.Fatal(err)
				}
			},
		}
	})
}
