package gcs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/test/testimage"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/gcs"
	"github.com/waybill-project/waybill/transport/httpclient"
)

func TestCheck(t *testing.T) {
	tests := []struct{ uri, want string }{
		{"gs://bucket", ""},
		{"gs://bucket/", ""},
		{"gs://my_bucket.example-1/images/app%20one", ""},
		{"gs://bucket/p?endpoint=http://127.0.0.1:4443/&anonymous=true", ""},
		{"gs://bucket/p?anonymous=false", ""},
		{"gs:bucket", "write gs://BUCKET/PREFIX"},
		{"gs:///p", `"" is no name of a bucket`},
		{"gs://ab/p", `"ab" is no name of a bucket`},
		{"gs://Bucket/p", `"Bucket" is no name of a bucket`},
		{"gs://-bucket/p", `"-bucket" is no name of a bucket`},
		{"gs://bucket:80/p", `"bucket:80" is no name of a bucket`},
		{"gs://ann:hunter2@bucket/p", "holds user information"},
		{"gs://bucket/%zz?X-Goog-Signature=hunter2", "malformed URI"},
		{"gs://bucket/p#hunter2", "holds a fragment"},
		{"gs://bucket/../p", `path segment ".."`},
		{"gs://bucket/p?X-Goog-Signature=hunter2", `unknown parameter "X-Goog-Signature"`},
		{"gs://bucket/p?anonymous=hunter2", "anonymous is true or false"},
		{"gs://bucket/p?anonymous=true&anonymous=true", "given twice"},
		{"gs://bucket/p?endpoint=ftp://hunter2", "endpoint: not http://HOST"},
		{"gs://bucket/p?%zz", "malformed query"},
	}
	tr := newTransport(t, gcs.Options{Getenv: environment(nil)})
	for _, tt := range tests {
		t.Run(tt.uri, func(t *testing.T) {
			err := tr.Check(tt.uri)
			if tt.want == "" {
				if err != nil {
					t.Errorf("%v", err)
				}
				return
			}
			if !errors.Is(err, transport.ErrPermanent) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want one that says %q", err, tt.want)
			}
			if _, err := tr.Open(t.Context(), transport.Route{URI: tt.uri}, blob, 0, blob.Size); !errors.Is(err, transport.ErrPermanent) {
				t.Errorf("Open: %v", err)
			}
		})
	}
}

// environment returns a Getenv that knows the variables given and no others.
func environment(variables map[string]string) func(string) string {
	return func(name string) string { return variables[name] }
}

// blob is "hello".
var blob = ocispec.Descriptor{Digest: digest.FromString("hello"), Size: 5}

func TestNamesOfALayout(t *testing.T) {
	server := startGCS(t)
	layout, err := testimage.NewLayout(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	layer, err := layout.AddLayer(testimage.Text(1, 10_000), testimage.Gzip)
	if err != nil {
		t.Fatal(err)
	}
	desc, err := layout.AddImage(testimage.Config(), layer)
	if err != nil {
		t.Fatal(err)
	}
	if err := layout.Tag(desc, "v1"); err != nil {
		t.Fatal(err)
	}
	if err := filepath.WalkDir(layout.Dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		key, err := filepath.Rel(layout.Dir, path)
		putObject(t, server, "images/app/"+key, "", func(path string) { writeFile(t, path, content) })
		return err
	}); err != nil {
		t.Fatal(err)
	}

	// As users of an emulator say where it is.
	tr := newTransport(t, gcs.Options{Getenv: environment(map[string]string{
		"STORAGE_EMULATOR_HOST": strings.TrimPrefix(server.URL, "http://"),
	})})
	const place = "gs://waybill-test/images/app"
	got, err := tr.Resolve(t.Context(), name.Name{Kind: name.Place, Path: place, Ref: "v1"})
	if err != nil || got.Digest != desc.Digest {
		t.Errorf("Resolve: %v, %v; want %v", got.Digest, err, desc.Digest)
	}
	if size, err := tr.Size(t.Context(), transport.Route{URI: place}, layer.Descriptor); err != nil || size != layer.Size {
		t.Errorf("Size: %d, %v; want %d", size, err, layer.Size)
	}
	_, err = tr.Resolve(t.Context(), name.Name{Kind: name.Place, Path: place + "/none"})
	if !errors.Is(err, transport.ErrNotFound) || !strings.Contains(err.Error(), "no OCI layout there") {
		t.Errorf("Resolve where there is none: %v", err)
	}
}

// TestEmulatorByAnotherName asks one under a name it doesn't have the XML API
// under, as it is started by who leaves that out.
func TestEmulatorByAnotherName(t *testing.T) {
	server := startGCS(t)
	content := []byte("hello")
	desc := ocispec.Descriptor{Digest: digest.FromBytes(content), Size: 5}
	putObject(t, server, "a b/ü+%41/sha256/"+desc.Digest.Encoded(), "", func(path string) { writeFile(t, path, content) })
	tr := newTransport(t, gcs.Options{Getenv: environment(map[string]string{
		"STORAGE_EMULATOR_HOST": strings.Replace(server.URL, "127.0.0.1", "localhost", 1),
	})})
	route := transport.Route{URI: "gs://waybill-test/a%20b/%C3%BC+%2541"}
	if size, err := tr.Size(t.Context(), route, desc); err != nil || size != 5 {
		t.Errorf("Size: %d, %v", size, err)
	}
	for range 2 {
		body, err := tr.Open(t.Context(), route, desc, 1, 3)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(body)
		body.Close()
		if string(got) != "ell" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
	}
	desc.Digest = digest.FromString("none")
	if _, err := tr.Open(t.Context(), route, desc, 1, 3); !errors.Is(err, transport.ErrNotFound) || strings.Contains(err.Error(), "\n") {
		t.Errorf("what isn't there: %v", err)
	}
}

func TestEmulatorThatIsNone(t *testing.T) {
	tr := newTransport(t, gcs.Options{Getenv: environment(map[string]string{"STORAGE_EMULATOR_HOST": "http://ann:hunter2@h"})})
	_, err := tr.Open(t.Context(), transport.Route{URI: "gs://bucket/p"}, blob, 0, 5)
	if want := "gs://bucket/p: STORAGE_EMULATOR_HOST: holds user information"; !errors.Is(err, transport.ErrPermanent) || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

// TestDecompressedOnTheWay asks for an object stored with Content-Encoding:
// gzip, in each of the ways that the emulator, as Google, spoils.
func TestDecompressedOnTheWay(t *testing.T) {
	server := startGCS(t)
	content := []byte(strings.Repeat("hello ", 1000))
	desc := ocispec.Descriptor{Digest: digest.FromBytes(content), Size: int64(len(content))}
	stored := compress(t, content)
	putObject(t, server, "sha256/"+desc.Digest.Encoded(), `{"ContentEncoding":"gzip"}`, func(path string) { writeFile(t, path, stored) })
	tr := newTransport(t, gcs.Options{Endpoint: server.URL, Token: nobody})
	route := transport.Route{URI: "gs://waybill-test"}
	compressed := desc
	compressed.Size = int64(len(stored))
	unknown := desc
	unknown.Size = -1
	tests := []struct {
		name           string
		desc           ocispec.Descriptor
		offset, length int64
	}{
		{"whole, of the size decompressed", desc, 0, desc.Size},
		{"whole, of the size stored", compressed, 0, compressed.Size},
		{"whole, of unknown size", unknown, 0, -1},
		{"range", desc, 10, 20},
	}
	check := func(t *testing.T, err error) {
		t.Helper()
		if !errors.Is(err, transport.ErrPermanent) || !strings.Contains(err.Error(), "--clear-content-encoding") {
			t.Errorf("got %v, want an error that says how to undo it", err)
		}
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body, err := tr.Open(t.Context(), route, tt.desc, tt.offset, tt.length)
			if err == nil {
				body.Close()
			}
			check(t, err)
		})
	}
	t.Run("size", func(t *testing.T) {
		_, err := tr.Size(t.Context(), route, unknown)
		check(t, err)
	})
}

// store is a fake that answers as Google does where the emulator doesn't: it
// knows tokens.
type store struct {
	*httptest.Server
	asked []string // Authorization of each request
}

func startStore(t *testing.T, answer http.HandlerFunc) *store {
	t.Helper()
	s := &store{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked = append(s.asked, r.Header.Get("Authorization"))
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// hello answers every request with "hello".
func hello(w http.ResponseWriter, r *http.Request) {
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader("hello"))
}

// fixed is a token.
func fixed(context.Context) (string, error) { return "hunter2", nil }

func TestTokensStayWithGoogle(t *testing.T) {
	other := startStore(t, hello)
	moved := startStore(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
	})
	tests := []struct {
		name, query         string
		configured          *store
		wantMoved, wantElse string
	}{
		{"to the configured endpoint, not to where it sends us", "", moved, `["Bearer hunter2"]`, `[""]`},
		{"not to an endpoint in the URI", "?endpoint=" + other.URL, moved, `[]`, `[""]`},
		{"to nobody where the URI says so", "?anonymous=true", moved, `[""]`, `[""]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			moved.asked, other.asked = nil, nil
			tr := newTransport(t, gcs.Options{Endpoint: tt.configured.URL, Token: fixed})
			body, err := tr.Open(t.Context(), transport.Route{URI: "gs://bucket/p" + tt.query}, blob, 1, 2)
			if err != nil {
				t.Fatal(err)
			}
			defer body.Close()
			if got, err := io.ReadAll(body); err != nil || string(got) != "el" {
				t.Errorf("read %q, %v", got, err)
			}
			if got, gotElse := fmt.Sprintf("%q", moved.asked), fmt.Sprintf("%q", other.asked); got != tt.wantMoved || gotElse != tt.wantElse {
				t.Errorf("Authorization was %s and %s, want %s and %s", got, gotElse, tt.wantMoved, tt.wantElse)
			}
		})
	}
}

func TestErrors(t *testing.T) {
	answer := func(code int, body string, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
			io.WriteString(w, body)
		}
	}
	const denied = "<?xml version='1.0' encoding='UTF-8'?><Error><Code>AccessDenied</Code><Message>Access denied.</Message><Details>not you with hunter2</Details></Error>"
	tests := []struct {
		name   string
		answer http.HandlerFunc
		token  func(context.Context) (string, error)
		kind   error
		retry  time.Duration
		want   string
	}{
		{"denied", answer(403, denied), fixed, transport.ErrUnauthorized, 0,
			"answered 403 AccessDenied: Access denied. not you with … (the credentials in use need the role storage.objectViewer on the bucket)"},
		{"denied to nobody", answer(403, "<Error><Code>AccessDenied</Code></Error>"), nobody, transport.ErrUnauthorized, 0, "asked anonymously, for there are no Google credentials here; run 'gcloud auth"},
		{"token expired", answer(401, "<Error><Code>AuthenticationRequired</Code><Message>Authentication required.</Message></Error>"), fixed,
			transport.ErrUnauthorized, 0, "answered 401 AuthenticationRequired"},
		{"no bucket", answer(404, "<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist.</Message></Error>"), fixed,
			transport.ErrNotFound, 0, "answered 404 NoSuchBucket: The specified bucket does not exist."},
		{"too often", answer(429, "<Error><Code>SlowDown</Code></Error>"), fixed, transport.ErrThrottled, 0, "answered 429 SlowDown"},
		{"too often, and how long", answer(429, "", "Retry-After", "9"), fixed, transport.ErrThrottled, 9 * time.Second, "answered 429 Too Many Requests"},
		{"slow down", answer(503, "<Error><Code>SlowDown</Code></Error>"), fixed, transport.ErrThrottled, 0, "answered 503 SlowDown"},
		{"failing", answer(503, "<Error><Code>InternalError</Code></Error>"), fixed, transport.ErrTemporary, 0, "answered 503 InternalError"},
		{"no requester who pays", answer(400, "<Error><Code>UserProjectMissing</Code><Message>Bucket is a requester pays bucket but no user project provided.</Message></Error>"), fixed,
			transport.ErrPermanent, 0, "answered 400 UserProjectMissing: Bucket is a requester pays bucket"},
		{"other size", func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader("hello!"))
		}, fixed, transport.ErrPermanent, 0, "has 6 bytes, want 5"},
		{"ranges ignored", answer(200, "hello"), fixed, transport.ErrRangeUnsupported, 0, "answered a range with the whole blob (200)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := startStore(t, tt.answer)
			tr := newTransport(t, gcs.Options{Endpoint: s.URL, Token: tt.token})
			_, err := tr.Open(t.Context(), transport.Route{URI: "gs://bucket/p%20q"}, blob, 1, 2)
			var te *transport.Error
			if !errors.As(err, &te) || te.Kind != tt.kind || te.RetryAfter != tt.retry || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v; want kind %q that says %q", err, tt.kind, tt.want)
			}
			if want := "gs://bucket/p%20q/blobs/sha256/"; !strings.HasPrefix(te.URI, want) {
				t.Errorf("error is about %s, want a place below %s", te.URI, want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error shows the token: %v", err)
			}
		})
	}
}

func TestCredentialsThatCannotBeHad(t *testing.T) {
	s := startStore(t, hello)
	tests := []struct {
		name  string
		token func(context.Context) (string, error)
		kind  error
		want  string
	}{
		{"refused", func(context.Context) (string, error) { return "", errors.New("/key.json: refused") }, transport.ErrUnauthorized,
			"gs://bucket/p?…: Google credentials: /key.json: refused; for a public bucket add ?anonymous=true"},
		{"for now", func(context.Context) (string, error) { return "", fmt.Errorf("%w: busy", transport.ErrTemporary) }, transport.ErrTemporary, "busy"},
		{"cancelled", func(ctx context.Context) (string, error) { return "", ctx.Err() }, context.Canceled, "context canceled"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := newTransport(t, gcs.Options{Endpoint: s.URL, Token: tt.token})
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tt.kind == context.Canceled {
				cancel()
			}
			route := transport.Route{URI: "gs://bucket/p?anonymous=false"}
			if _, err := tr.Open(ctx, route, blob, 0, 5); !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Open: %v; want kind %q that says %q", err, tt.kind, tt.want)
			}
			if _, err := tr.Size(ctx, route, blob); !errors.Is(err, tt.kind) {
				t.Errorf("Size: %v", err)
			}
		})
	}
	if len(s.asked) != 0 {
		t.Errorf("the store was asked %d times", len(s.asked))
	}
}

func ExampleTransport_Open() {
	store := httptest.NewServer(http.HandlerFunc(hello))
	defer store.Close()

	tr := gcs.New(gcs.Options{HTTP: httpclient.New(httpclient.Options{})})
	defer tr.Close()
	route := transport.Route{URI: "gs://bucket/images/app?anonymous=true&endpoint=" + store.URL}
	body, err := tr.Open(context.Background(), route, blob, 1, 3)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	fmt.Printf("%s %v\n", b, err)
	// Output: ell <nil>
}
