package faultserver_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/internal/faultserver"
)

// start runs a server for the length of a test.
func start(t testing.TB, opts faultserver.Options) *faultserver.Server {
	t.Helper()
	s, err := faultserver.New(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// request is what a test asks.
type request struct {
	method string // GET where empty
	url    string
	header http.Header
}

// reply is what came of it.
type reply struct {
	*http.Response
	body []byte
	err  error // of reading the body
}

// ask sends one request on a connection of its own and follows no redirect.
func ask(t testing.TB, r request) (reply, error) {
	t.Helper()
	method := r.method
	if method == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(t.Context(), method, r.url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Accept-Encoding": {"identity"}}
	for key, values := range r.header {
		req.Header[key] = values
	}
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return reply{res, body, err}, nil
}

// mustAsk is ask where an answer must come.
func mustAsk(t testing.TB, r request) reply {
	t.Helper()
	res, err := ask(t, r)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

func ranged(value string) http.Header { return http.Header{"Range": {value}} }

// content returns n bytes of a seed.
func content(t testing.TB, seed uint64, n int) []byte {
	t.Helper()
	p := make([]byte, n)
	if _, err := faultserver.Random(seed).ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestHonestAnswers(t *testing.T) {
	const size = 1000
	blob := faultserver.RandomBlob(1, size)
	all := content(t, 1, size)
	s := start(t, faultserver.Options{Blobs: []faultserver.Blob{blob}, Tags: map[string]digest.Digest{"v1": blob.Digest}})
	hex := blob.Digest.Encoded()
	etag := `"` + blob.Digest.String() + `"`
	for _, test := range []struct {
		name         string
		method, path string
		header       http.Header
		status       int
		contentRange string
		body         []byte
	}{
		{name: "whole", path: "/sha256/" + hex, status: 200, body: all},
		{name: "whole below a prefix", path: "/a/b/sha256/" + hex, status: 200, body: all},
		{name: "one path element", path: "/sha256:" + hex, status: 200, body: all},
		{name: "sharded", path: "/sha256/" + hex[:2] + "/" + hex, status: 200, body: all},
		{name: "registry blob", path: "/v2/a/b/blobs/" + blob.Digest.String(), status: 200, body: all},
		{name: "registry manifest by digest", path: "/v2/a/manifests/" + blob.Digest.String(), status: 200, body: all},
		{name: "registry manifest by tag", path: "/v2/a/manifests/v1", status: 200, body: all},
		{name: "unknown tag", path: "/v2/a/manifests/v2", status: 404},
		{name: "another algorithm", path: "/sha512/" + hex, status: 404},
		{name: "unknown digest", path: "/sha256/" + digest.FromString("").Encoded(), status: 404},
		{name: "ping", path: "/v2/", status: 200, body: []byte("{}")},
		{name: "head", method: "HEAD", path: "/sha256/" + hex, status: 200},
		{name: "head ignores a range", method: "HEAD", path: "/sha256/" + hex, header: ranged("bytes=1-2"), status: 200},
		{name: "post", method: "POST", path: "/sha256/" + hex, status: 405},
		{name: "first byte", path: "/sha256/" + hex, header: ranged("bytes=0-0"), status: 206, contentRange: "bytes 0-0/1000", body: all[:1]},
		{name: "middle", path: "/sha256/" + hex, header: ranged("bytes=13-500"), status: 206, contentRange: "bytes 13-500/1000", body: all[13:501]},
		{name: "open", path: "/sha256/" + hex, header: ranged("bytes=990-"), status: 206, contentRange: "bytes 990-999/1000", body: all[990:]},
		{name: "clamped", path: "/sha256/" + hex, header: ranged("bytes=990-5000"), status: 206, contentRange: "bytes 990-999/1000", body: all[990:]},
		{name: "suffix", path: "/sha256/" + hex, header: ranged("bytes=-7"), status: 206, contentRange: "bytes 993-999/1000", body: all[993:]},
		{name: "suffix longer than the blob", path: "/sha256/" + hex, header: ranged("bytes=-7000"), status: 206, contentRange: "bytes 0-999/1000", body: all},
		{name: "empty suffix", path: "/sha256/" + hex, header: ranged("bytes=-0"), status: 416, contentRange: "bytes */1000"},
		{name: "beyond the end", path: "/sha256/" + hex, header: ranged("bytes=1000-"), status: 416, contentRange: "bytes */1000"},
		{name: "beyond int64", path: "/sha256/" + hex, header: ranged("bytes=99999999999999999999-"), status: 416, contentRange: "bytes */1000"},
		{name: "backwards", path: "/sha256/" + hex, header: ranged("bytes=5-4"), status: 200, body: all},
		{name: "several ranges", path: "/sha256/" + hex, header: ranged("bytes=0-1,5-6"), status: 200, body: all},
		{name: "another unit", path: "/sha256/" + hex, header: ranged("lines=0-1"), status: 200, body: all},
		{name: "nonsense", path: "/sha256/" + hex, header: ranged("bytes=x-y"), status: 200, body: all},
		{name: "if-range holds", path: "/sha256/" + hex, header: http.Header{"Range": {"bytes=0-1"}, "If-Range": {etag}}, status: 206, contentRange: "bytes 0-1/1000", body: all[:2]},
		{name: "if-range fails", path: "/sha256/" + hex, header: http.Header{"Range": {"bytes=0-1"}, "If-Range": {`"x"`}}, status: 200, body: all},
		{name: "if-none-match", path: "/sha256/" + hex, header: http.Header{"If-None-Match": {etag}}, status: 304},
	} {
		t.Run(test.name, func(t *testing.T) {
			res := mustAsk(t, request{method: test.method, url: s.URL() + test.path, header: test.header})
			if res.err != nil {
				t.Fatal(res.err)
			}
			if res.StatusCode != test.status {
				t.Errorf("status %d, want %d", res.StatusCode, test.status)
			}
			if got := res.Header.Get("Content-Range"); got != test.contentRange {
				t.Errorf("Content-Range %q, want %q", got, test.contentRange)
			}
			if !bytes.Equal(res.body, test.body) {
				t.Errorf("body of %d bytes isn't the %d wanted", len(res.body), len(test.body))
			}
			if test.method == "HEAD" && res.ContentLength != size {
				t.Errorf("Content-Length %d, want %d", res.ContentLength, size)
			}
		})
	}
}

func TestContentOfEveryKindIsTheSame(t *testing.T) {
	const size = 5<<20 + 17
	all := content(t, 3, size)
	path := filepath.Join(t.TempDir(), "blob")
	if err := os.WriteFile(path, all, 0o644); err != nil {
		t.Fatal(err)
	}
	memory := faultserver.BytesBlob(all)
	for _, test := range []struct {
		name    string
		content io.ReaderAt
	}{
		{"generated", faultserver.Random(3)},
		{"in memory", faultserver.Bytes(all)},
		{"in a file", faultserver.File(path)},
		{"any ReaderAt", bytes.NewReader(all)},
	} {
		t.Run(test.name, func(t *testing.T) {
			blob, err := faultserver.NewBlob(test.content, size)
			if err != nil {
				t.Fatal(err)
			}
			if blob.Digest != memory.Digest {
				t.Fatalf("digest %s, want %s", blob.Digest, memory.Digest)
			}
			s := start(t, faultserver.Options{Blobs: []faultserver.Blob{blob}})
			if res := mustAsk(t, request{url: s.BlobURL(blob.Digest)}); !bytes.Equal(res.body, all) {
				t.Error("whole body differs")
			}
			res := mustAsk(t, request{url: s.BlobURL(blob.Digest), header: ranged("bytes=12345-5000000")})
			if !bytes.Equal(res.body, all[12345:5000001]) {
				t.Error("range differs")
			}
		})
	}
}

func TestNewBlobWantsAllItsContent(t *testing.T) {
	if _, err := faultserver.NewBlob(faultserver.Bytes("abc"), 4); err == nil {
		t.Error("three bytes made a blob of four")
	}
}
