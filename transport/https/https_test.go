package https_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/test/testimage"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/https"
)

// site is an nginx that serves one blob over TLS, to ann with password s3:cret.
type site struct {
	*realserver.Nginx
	content []byte
	desc    ocispec.Descriptor
	client  *httpclient.Client
}

func startSite(t *testing.T) *site {
	t.Helper()
	ca, err := realserver.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(testimage.Random(1, 500_000))
	if err != nil {
		t.Fatal(err)
	}
	root, dir, certs := t.TempDir(), t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "blob"), content, 0o644); err != nil {
		t.Fatal(err)
	}
	users := filepath.Join(dir, "users")
	if out, err := exec.Command("htpasswd", "-cbB", "-C", "5", users, "ann", "s3:cret").CombinedOutput(); err != nil {
		t.Fatalf("htpasswd (package apache2-utils): %v\n%s", err, out)
	}
	nginx, err := realserver.StartNginx(context.Background(), dir, root, realserver.NginxOptions{
		CA: ca, Config: fmt.Sprintf("auth_basic blobs; auth_basic_user_file %s; location /moved { return 302 /blob; }", users),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nginx.Stop)
	hostDir := filepath.Join(certs, nginx.Host)
	if err := os.Mkdir(hostDir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(ca.File, filepath.Join(hostDir, "ca.crt")); err != nil {
		t.Fatal(err)
	}
	client := httpclient.New(httpclient.Options{CertDirs: []string{certs}})
	t.Cleanup(client.CloseIdleConnections)
	return &site{nginx, content, ocispec.Descriptor{Digest: digest.FromBytes(content), Size: int64(len(content))}, client}
}

// route returns the route of a path with user information.
func (s *site) route(user, path string) transport.Route {
	return transport.Route{URI: strings.Replace(s.URL, "https://", "https://"+user, 1) + path}
}

func TestRealServer(t *testing.T) {
	s := startSite(t)
	tr := https.New(s.client)
	ctx := context.Background()
	unknown := s.desc
	unknown.Size = -1
	tests := []struct {
		name           string
		desc           ocispec.Descriptor
		offset, length int64
		want           []byte
	}{
		{"whole", s.desc, 0, s.desc.Size, s.content},
		{"whole of unknown size", unknown, 0, -1, s.content},
		{"head", s.desc, 0, 1000, s.content[:1000]},
		{"middle", s.desc, 12345, 100_000, s.content[12345:112345]},
		{"tail", s.desc, s.desc.Size - 7, 7, s.content[len(s.content)-7:]},
	}
	for _, path := range []string{"/blob", "/moved"} {
		for _, tt := range tests {
			t.Run(path+" "+tt.name, func(t *testing.T) {
				body, err := tr.Open(ctx, s.route("ann:s3%3Acret@", path), tt.desc, tt.offset, tt.length)
				if err != nil {
					t.Fatal(err)
				}
				defer body.Close()
				if got, err := io.ReadAll(body); err != nil || !bytes.Equal(got, tt.want) {
					t.Errorf("read %d bytes, %v; want %d", len(got), err, len(tt.want))
				}
			})
		}
	}
	if size, err := tr.Size(ctx, s.route("ann:s3%3Acret@", "/blob"), unknown); err != nil || size != s.desc.Size {
		t.Errorf("Size = %d, %v; want %d", size, err, s.desc.Size)
	}
}

func TestRealServerRefusals(t *testing.T) {
	s := startSite(t)
	longer := s.desc
	longer.Size++
	sizes := fmt.Sprintf("has %d bytes, want %d", s.desc.Size, longer.Size)
	tests := []struct {
		name, user, path string
		desc             ocispec.Descriptor
		length           int64
		kind             error
		text             string
	}{
		{"no password", "", "/blob", s.desc, 10, transport.ErrUnauthorized, "401"},
		{"wrong password", "ann:hunter2@", "/blob", s.desc, 10, transport.ErrUnauthorized, "401"},
		{"no such blob", "ann:s3%3Acret@", "/missing", s.desc, 10, transport.ErrNotFound, "404"},
		{"size of a range", "ann:s3%3Acret@", "/blob", longer, 10, transport.ErrPermanent, sizes},
		{"size of all", "ann:s3%3Acret@", "/blob", longer, longer.Size, transport.ErrPermanent, sizes},
		{"malformed", "ann:hunter2@", ":port/blob", s.desc, 10, transport.ErrPermanent, "malformed URL"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := https.New(s.client).Open(context.Background(), s.route(tt.user, tt.path), tt.desc, 0, tt.length)
			var te *transport.Error
			if !errors.As(err, &te) || te.Kind != tt.kind || !strings.Contains(err.Error(), tt.text) {
				t.Fatalf("error %v, want kind %q that says %q", err, tt.kind, tt.text)
			}
			for _, secret := range []string{"hunter2", "s3%3Acret", "s3:cret"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("error shows the password: %v", err)
				}
			}
		})
	}
}

func TestPasswordStaysWithItsOrigin(t *testing.T) {
	var got []string
	storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Authorization"))
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("hello"))
	}))
	defer storage.Close()
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Authorization"))
		http.Redirect(w, r, storage.URL, http.StatusFound)
	}))
	defer origin.Close()
	client := httpclient.New(httpclient.Options{CertDirs: []string{}})
	defer client.CloseIdleConnections()
	u, err := url.Parse(origin.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("ann", "pw")
	body, err := https.New(client).Open(context.Background(), transport.Route{URI: u.String()}, ocispec.Descriptor{Size: 5}, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	body.Close()
	if want := `["Basic YW5uOnB3" ""]`; fmt.Sprintf("%q", got) != want {
		t.Errorf("Authorization was %q, want %s", got, want)
	}
}

func TestNoGoroutineIsLeftBehind(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(make([]byte, 1<<20)))
	}))
	defer srv.Close()
	before := runtime.NumGoroutine()
	client := httpclient.New(httpclient.Options{CertDirs: []string{}})
	tr := https.New(client)
	for i := range 30 {
		ctx, cancel := context.WithCancel(context.Background())
		body, err := tr.Open(ctx, transport.Route{URI: srv.URL}, ocispec.Descriptor{Size: 1 << 20}, 1, 1<<19)
		if err != nil {
			t.Fatal(err)
		}
		switch i % 3 {
		case 0:
			_, _ = io.Copy(io.Discard, body)
		case 1:
			cancel()
			_, _ = io.Copy(io.Discard, body)
		}
		body.Close()
		cancel()
	}
	client.CloseIdleConnections()
	srv.CloseClientConnections()
	for range 500 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

func ExampleTransport_Open() {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("freight and its waybill"))
	}))
	defer srv.Close()

	tr := https.New(httpclient.New(httpclient.Options{}))
	body, err := tr.Open(context.Background(), transport.Route{URI: srv.URL + "/blob"}, ocispec.Descriptor{Size: 23}, 0, 7)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	fmt.Printf("%s %v\n", b, err)
	// Output: freight <nil>
}

// What somebody else's document names may be a public place, asked without
// credentials, and nothing else.
func TestRemote(t *testing.T) {
	asked := 0
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer server.Close()
	tr := https.New(httpclient.New(httpclient.Options{}))
	for _, uri := range []string{server.URL, "http://[::ffff:127.0.0.1]:1/", "http://169.254.169.254/", "http://10.0.0.1/", "https://user:secret@public.example/"} {
		route := transport.Route{URI: uri, Remote: transport.RemotePublic, Origin: "https://doc.example/"}
		_, err := tr.Open(t.Context(), route, ocispec.Descriptor{Size: 1}, 0, 1)
		if !errors.Is(err, transport.ErrRefused) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", uri, err)
		}
	}
	if asked > 0 {
		t.Errorf("it was asked %d times", asked)
	}
}
