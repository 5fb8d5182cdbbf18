package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/credentials"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/registry"
)

func checkKind(t *testing.T, err, kind error, text string) {
	t.Helper()
	var te *transport.Error
	if !errors.As(err, &te) || te.Kind != kind {
		t.Fatalf("error %v, want kind %q", err, kind)
	}
	if !strings.Contains(err.Error(), text) || strings.Contains(err.Error(), "\n") {
		t.Errorf("error %q does not say %q in one line", err, text)
	}
}

// fake is a server that keeps what it was asked: "METHOD URI Authorization".
type fake struct {
	*httptest.Server
	host string

	mu    sync.Mutex
	asked []string
}

func newFake(t testing.TB, handler func(f *fake, w http.ResponseWriter, r *http.Request)) *fake {
	t.Helper()
	f := &fake{}
	f.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.asked = append(f.asked, strings.TrimSpace(r.Method+" "+r.RequestURI+" "+r.Header.Get("Authorization")))
		f.mu.Unlock()
		handler(f, w, r)
	}))
	f.Config.ErrorLog = log.New(io.Discard, "", 0)
	f.Start()
	f.host = strings.TrimPrefix(f.URL, "http://")
	t.Cleanup(f.Close)
	return f
}

// take returns what was asked since the last call.
func (f *fake) take() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	asked := f.asked
	f.asked = nil
	return asked
}

func (f *fake) check(t *testing.T, what string, want ...string) {
	t.Helper()
	if got := f.take(); !slices.Equal(got, want) {
		t.Errorf("%s was asked\n\t%q, want\n\t%q", what, got, want)
	}
}

// one is a store of one credential, for one host.
type one struct {
	host string
	credentials.Credential
	err error
}

func (o one) Get(_ context.Context, host, _ string) (credentials.Credential, error) {
	if host != o.host {
		return credentials.Credential{}, nil
	}
	return o.Credential, o.err
}

func fakeClient(t testing.TB, o registry.Options) *registry.Client {
	t.Helper()
	if o.HTTP == nil {
		o.HTTP = httpclient.New(httpclient.Options{CertDirs: []string{}})
		t.Cleanup(o.HTTP.CloseIdleConnections)
	}
	return registry.New(o)
}

var (
	hello     = ocispec.Descriptor{MediaType: "application/x", Digest: digest.FromString("hello"), Size: 5}
	helloPath = "/v2/team/app/blobs/" + hello.Digest.String()
)

func serveHello(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "hello") }

func challenge(w http.ResponseWriter, value string) {
	w.Header().Set("WWW-Authenticate", value)
	w.WriteHeader(http.StatusUnauthorized)
}

func TestTLSIsTriedFirstAndTheAnswerRemembered(t *testing.T) {
	f := newFake(t, func(_ *fake, w http.ResponseWriter, r *http.Request) { serveHello(w, r) })
	t.Run("allowed", func(t *testing.T) {
		c := fakeClient(t, registry.Options{})
		for range 2 {
			if _, err := read(c, route(f.host, "team/app"), hello, 0, 5); err != nil {
				t.Fatal(err)
			}
		}
		f.check(t, "the registry", "GET "+helloPath, "GET "+helloPath)
	})
	t.Run("not allowed", func(t *testing.T) {
		c := fakeClient(t, registry.Options{PlainHTTP: func(string) bool { return false }})
		_, err := read(c, route(f.host, "team/app"), hello, 0, 5)
		checkKind(t, err, transport.ErrPermanent, "TLS handshake")
		f.check(t, "the registry")
	})
}

func TestIsLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "localhost:5000": true, "127.0.0.1:5000": true, "127.9.9.9": true, "[::1]:5000": true, "[::1]": true,
		"registry.example": false, "10.0.0.1:5000": false, "127.0.0.1.example": false, "localhost.example:5000": false,
	} {
		if got := registry.IsLoopback(host); got != want {
			t.Errorf("IsLoopback(%q) = %v", host, got)
		}
	}
}

// redirecting is a registry with Basic authentication that redirects blobs.
func redirecting(t *testing.T, to func() string) *fake {
	return newFake(t, func(_ *fake, w http.ResponseWriter, r *http.Request) {
		if _, _, ok := r.BasicAuth(); !ok {
			challenge(w, `Basic realm="r"`)
			return
		}
		w.Header().Set("Location", to())
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
}

func TestRedirectTargetIsRememberedAndGetsNoCredentials(t *testing.T) {
	status := 0
	storage := newFake(t, func(_ *fake, w http.ResponseWriter, r *http.Request) {
		if status != 0 {
			w.WriteHeader(status)
			status = 0
			return
		}
		serveHello(w, r)
	})
	n := 0
	f := redirecting(t, func() string { n++; return fmt.Sprintf("%s/blob?sig=%d", storage.URL, n) })
	c := fakeClient(t, registry.Options{Credentials: one{host: f.host, Credential: credentials.Credential{Username: "ann", Password: "s3cret"}}})
	get := func() {
		t.Helper()
		if got, err := read(c, route(f.host, "team/app"), hello, 0, 5); err != nil || string(got) != "hello" {
			t.Fatalf("read %q, %v", got, err)
		}
	}
	get()
	f.check(t, "the registry", "GET "+helloPath, "GET "+helloPath+" Basic YW5uOnMzY3JldA==")
	storage.check(t, "storage", "GET /blob?sig=1")
	get()
	f.check(t, "the registry")
	storage.check(t, "storage", "GET /blob?sig=1")
	for i, code := range []int{401, 403, 404, 410} {
		status = code
		get()
		f.check(t, "the registry", "GET "+helloPath+" Basic YW5uOnMzY3JldA==")
		storage.check(t, "storage", fmt.Sprintf("GET /blob?sig=%d", i+1), fmt.Sprintf("GET /blob?sig=%d", i+2))
	}
	// What is not about the target being stale is the answer.
	status = 429
	_, err := read(c, route(f.host, "team/app"), hello, 0, 5)
	checkKind(t, err, transport.ErrThrottled, "429")
	f.check(t, "the registry")
	if strings.Contains(err.Error(), "sig=") {
		t.Errorf("error shows the signature: %v", err)
	}
}

func TestStorageThatWantsCredentialsGetsNone(t *testing.T) {
	storage := newFake(t, func(_ *fake, w http.ResponseWriter, r *http.Request) { challenge(w, `Basic realm="storage"`) })
	f := redirecting(t, func() string { return storage.URL + "/blob" })
	c := fakeClient(t, registry.Options{Credentials: one{host: f.host, Credential: credentials.Credential{Username: "ann", Password: "s3cret"}}})
	_, err := read(c, route(f.host, "team/app"), hello, 0, 5)
	checkKind(t, err, transport.ErrUnauthorized, "401")
	storage.check(t, "storage", "GET /blob")
}

func TestMalformedRoutes(t *testing.T) {
	c := fakeClient(t, registry.Options{})
	tests := []struct{ uri, text string }{
		{"docker://", "malformed registry name"},
		{"docker:///team/app", "malformed registry name"},
		{"docker://127.0.0.1:1", "malformed repository name"},
		{"docker://127.0.0.1:1/Team/App", "malformed repository name"},
		{"docker://127.0.0.1:1/../x", "malformed repository name"},
		{"docker://127.0.0.1:1/a//b", "malformed repository name"},
		{"docker://127.0.0.1:1/a?x=y", `unknown parameter "x"`},
		{"docker://127.0.0.1:1/" + strings.Repeat("a", 256), "longer than 255"},
		{"docker://user:hunter2@127.0.0.1:1/a", "malformed registry name"},
		{"docker://a b/a", "malformed registry name"},
		{"https://127.0.0.1/a", "not a docker:// URI"},
	}
	for _, tt := range tests {
		t.Run(tt.uri, func(t *testing.T) {
			_, err := read(c, transport.Route{URI: tt.uri}, hello, 0, 5)
			checkKind(t, err, transport.ErrPermanent, tt.text)
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error shows the password: %v", err)
			}
		})
	}
	for _, d := range []digest.Digest{"", "sha256", "sha256:../../x", "../x:abc"} {
		_, err := read(c, route("127.0.0.1:1", "a"), ocispec.Descriptor{Digest: d, Size: 5}, 0, 5)
		checkKind(t, err, transport.ErrPermanent, "malformed digest")
	}
	for _, ref := range []string{"", "a/b", "-x", strings.Repeat("a", 129), "sha256:../x"} {
		_, _, err := c.Get(context.Background(), "127.0.0.1:1", "a", ref)
		checkKind(t, err, transport.ErrPermanent, "neither a tag nor a digest")
	}
}

func TestManifests(t *testing.T) {
	body := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q}`, ocispec.MediaTypeImageManifest)
	good := digest.FromString(body)
	other := digest.FromString("other")
	tests := []struct {
		name, ref   string
		contentType string
		stated      string
		body        string
		text        string // of the error
		mediaType   string
	}{
		{name: "tag", ref: "v1", contentType: ocispec.MediaTypeImageManifest, stated: good.String(), body: body},
		{name: "tag without stated digest", ref: "v1", contentType: ocispec.MediaTypeImageManifest, body: body},
		{name: "digest", ref: good.String(), contentType: ocispec.MediaTypeImageManifest, body: body},
		{name: "sha512", ref: digest.SHA512.FromString(body).String(), contentType: ocispec.MediaTypeImageManifest, stated: good.String(), body: body},
		{name: "with parameters", ref: "v1", contentType: ocispec.MediaTypeImageManifest + "; charset=utf-8", body: body},
		{name: "wrong content", ref: other.String(), contentType: ocispec.MediaTypeImageManifest, body: body, text: "want " + other.String()},
		{name: "stated digest is wrong", ref: "v1", contentType: ocispec.MediaTypeImageManifest, stated: other.String(), body: body, text: "want " + other.String()},
		{name: "stated digest is another", ref: good.String(), contentType: ocispec.MediaTypeImageManifest, stated: other.String(), body: body, text: "asked for"},
		{name: "stated sha512 is wrong", ref: good.String(), contentType: ocispec.MediaTypeImageManifest, stated: digest.SHA512.FromString("x").String(), body: body, text: "want sha512:"},
		{name: "malformed stated digest", ref: "v1", contentType: ocispec.MediaTypeImageManifest, stated: "sha256:../x", body: body, text: "malformed Docker-Content-Digest"},
		{name: "index served as manifest", ref: "v1", contentType: ocispec.MediaTypeImageIndex, body: body, text: "calls itself"},
		{name: "malformed type", ref: "v1", contentType: "application/", body: body, text: "malformed Content-Type"},
		{name: "not JSON", ref: "v1", contentType: ocispec.MediaTypeImageManifest, body: "<html>", text: "not a JSON object"},
		{name: "unknown algorithm", ref: "md5:d41d8cd98f00b204e9800998ecf8427e", contentType: ocispec.MediaTypeImageManifest, body: body, text: `digest algorithm "md5" is not supported`},
		{name: "too large", ref: "v1", contentType: ocispec.MediaTypeImageManifest, body: body + strings.Repeat(" ", registry.MaxManifest), text: "larger than 8 MiB"},
		{name: "only itself says the type", ref: "v1", body: body},
		{name: "nobody says the type", ref: "v1", body: "{}", text: "neither the registry nor the manifest"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFake(t, func(_ *fake, w http.ResponseWriter, r *http.Request) {
				if accept := r.Header.Values("Accept"); len(accept) != 4 {
					t.Errorf("Accept = %q", accept)
				}
				w.Header()["Content-Type"] = nil
				if tt.contentType != "" {
					w.Header().Set("Content-Type", tt.contentType)
				}
				if tt.stated != "" {
					w.Header().Set("Docker-Content-Digest", tt.stated)
				}
				_, _ = io.WriteString(w, tt.body)
			})
			desc, content, err := fakeClient(t, registry.Options{}).Get(context.Background(), f.host, "team/app", tt.ref)
			if tt.text != "" {
				checkKind(t, err, transport.ErrPermanent, tt.text)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if string(content) != body || desc.MediaType != ocispec.MediaTypeImageManifest || desc.Size != int64(len(body)) ||
				desc.Digest != desc.Digest.Algorithm().FromString(body) {
				t.Errorf("Get = %+v, %q", desc, content)
			}
		})
	}
}

func TestHeadReadsWhatTheRegistryDoesNotState(t *testing.T) {
	body := fmt.Sprintf(`{"mediaType":%q}`, ocispec.MediaTypeImageIndex)
	f := newFake(t, func(_ *fake, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
		_, _ = io.WriteString(w, body)
	})
	desc, err := fakeClient(t, registry.Options{}).Head(context.Background(), f.host, "team/app", "v1")
	if err != nil || desc.Digest != digest.FromString(body) {
		t.Errorf("Head = %+v, %v", desc, err)
	}
	f.check(t, "the registry", "HEAD /v2/team/app/manifests/v1", "GET /v2/team/app/manifests/v1")
}

func TestWarnings(t *testing.T) {
	f := newFake(t, func(_ *fake, w http.ResponseWriter, r *http.Request) {
		w.Header()["Warning"] = []string{`299 - "this repository \"moves\" soon"`, `110 - "stale"`, `299 - "unclosed`, `299 other "x"`, "299 - \"tab\there\""}
		if strings.Contains(r.URL.Path, "manifests") {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		serveHello(w, r)
	})
	var got []string
	c := fakeClient(t, registry.Options{Warn: func(host, text string) { got = append(got, host+": "+text) }})
	want := []string{f.host + `: this repository "moves" soon`, f.host + ": tab here"}
	if _, err := read(c, route(f.host, "team/app"), hello, 0, 5); err != nil || !slices.Equal(got, want) {
		t.Errorf("warned %q, %v; want %q", got, err, want)
	}
	got = nil
	if _, err := c.Head(context.Background(), f.host, "team/app", "v1"); err == nil || !slices.Equal(got, want) {
		t.Errorf("with an error, warned %q, %v; want %q", got, err, want)
	}
}

// writeJSON answers with v.
func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}
