package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/waybill"
)

// startFront stands before a registry, and answers itself where own does.
func startFront(t *testing.T, registry string, own func(w http.ResponseWriter, r *http.Request) bool) (host string) {
	t.Helper()
	behind := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: registry})
	behind.ErrorLog = log.New(io.Discard, "", 0) // who asked may have enough
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !own(w, r) {
			behind.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// listOf is a list of waybills that aren't there.
func listOf(t *testing.T, n int) []byte {
	t.Helper()
	list := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	for i := range n {
		list.Manifests = append(list.Manifests, ocispec.Descriptor{
			MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(fmt.Sprint(i)), Size: 2, ArtifactType: waybill.MediaType,
		})
	}
	b, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestHostileReferrers: whatever a registry answers when asked for waybills, it is
// told of, and the image is pulled.
func TestHostileReferrers(t *testing.T) {
	t.Parallel()
	i := randomImage(t, 1<<20)
	registry := startRegistry(t, realserver.RegistryOptions{})
	i.push(t, registry.Host+"/app:1")
	one, thousand := listOf(t, 1), listOf(t, 1000)
	for what, test := range map[string]struct {
		list func(w http.ResponseWriter, r *http.Request)
		says []string
	}{
		"endless": {func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				_, _ = w.Write(make([]byte, 1<<16))
			}
		}, []string{"larger than 8 MiB"}},
		"10 MB of JSON": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("[" + strings.Repeat("1,", 5<<20) + "1]"))
		}, []string{"larger than 8 MiB"}},
		"pages in a circle": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Link", `<?page=1>; rel="next"`)
			_, _ = w.Write([]byte(`{"schemaVersion":2,"manifests":[]}`))
		}, []string{"in a circle"}},
		"1000 referrers": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(thousand) },
			[]string{"404", "more than 8 waybills"}},
		"a manifest of other bytes": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(one) },
			[]string{"sent bytes of digest"}},
	} {
		t.Run(what, func(t *testing.T) {
			host := startFront(t, registry.Host, func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case strings.Contains(r.URL.Path, "/referrers/"):
					w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
					test.list(w, r)
				case strings.HasSuffix(r.URL.Path, string(digest.FromString("0"))) && what != "1000 referrers":
					w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
					_, _ = w.Write([]byte("{}"))
				default:
					return false
				}
				return true
			})
			u := newUser(t)
			u.run("locate", "-v", host+"/app:1").exits(0).says(test.says...)
			u.run("pull", host+"/app:1").exits(0)
			wantStored(t, u, i, i.digests(t)...)
		})
	}
}

// TestNobodyWaitsForWaybills: a registry that doesn't answer when asked for
// waybills holds up nothing.
func TestNobodyWaitsForWaybills(t *testing.T) {
	t.Parallel()
	i := randomImage(t, 1<<20, 9<<20)
	registry := startRegistry(t, realserver.RegistryOptions{})
	i.push(t, registry.Host+"/app:1")
	host := startFront(t, registry.Host, func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.Contains(r.URL.Path, "/referrers/") {
			<-r.Context().Done()
			return true
		}
		return false
	})
	u := newUser(t)
	u.run("pull", host+"/app:1").exits(0)
	wantStored(t, u, i, i.digests(t)...)
	if out := u.run("explain", "-v").exits(0).stdout; strings.Contains(out, "no answer in time") {
		t.Errorf("the pull waited:\n%s", out)
	}
}

// TestWaybillIsJudgedBesideThePull: what is wrong with a waybill is told while the
// image comes, and is in the story of the pull.
func TestWaybillIsJudgedBesideThePull(t *testing.T) {
	t.Parallel()
	i := randomImage(t, 1<<20)
	registry := startRegistry(t, realserver.RegistryOptions{})
	i.push(t, registry.Host+"/app:1")
	attach(t, registry.Host+"/app:1", billOf(t, i, "https://far.example", func(d *waybill.Document) { d.Expires = time.Now().Add(-time.Minute) }), "--plain-http")
	told := make(chan struct{})
	tell := sync.OnceFunc(func() { close(told) })
	host := startFront(t, registry.Host, func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/blobs/"+string(i.layers[0].Digest)) {
			select {
			case <-told: // before that the layer doesn't come
			case <-r.Context().Done():
			}
		}
		return false
	})
	u := newUser(t)
	u.configure("[fetch]\nfirst-byte = \"1m\"\n")
	cmd := u.command(t.Context(), u.onStore([]string{"pull", host + "/app:1"})...)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		all.WriteString(lines.Text() + "\n")
		if strings.Contains(lines.Text(), "the waybill is ignored") && strings.Contains(lines.Text(), "expired") {
			tell()
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, all.String())
	}
	wantStored(t, u, i, i.digests(t)...)
	if out := u.run("explain").exits(0).stdout; !strings.Contains(out, "docker://"+host+"/app@sha256:") || !strings.Contains(out, "expired") {
		t.Errorf("explain says\n%s", out)
	}
}
