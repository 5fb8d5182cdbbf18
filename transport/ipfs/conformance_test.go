package ipfs_test

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/ipfs"
)

// faultFunc reports whether it answered.
type faultFunc func(w http.ResponseWriter, r *http.Request) bool

// place is a kubo and how it is asked.
type place struct {
	kubo *realserver.Kubo
	// fault answers requests instead of kubo, where it isn't nil.
	fault atomic.Pointer[faultFunc]
	// front stands before kubo and lets fault answer.
	front string
}

// startKubo starts a kubo for the time of a test.
func startKubo(t testing.TB, config map[string]any) *realserver.Kubo {
	t.Helper()
	kubo, err := realserver.StartKubo(t.Context(), t.TempDir(), realserver.KuboOptions{Config: config})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kubo.Stop() })
	return kubo
}

// startPlace starts a kubo, and a proxy before it for faults.
func startPlace(t testing.TB) *place {
	t.Helper()
	p := &place{kubo: startKubo(t, nil)}
	to, err := url.Parse(p.kubo.Gateway)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.FlushInterval = -1
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	// What the proxy keeps open, the suite would take for a leak.
	proxy.Transport = &http.Transport{DisableKeepAlives: true}
	proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	p.front = serve(t, func(w http.ResponseWriter, r *http.Request) {
		if fault := p.fault.Load(); fault == nil || !(*fault)(w, r) {
			proxy.ServeHTTP(w, r)
		}
	})
	return p
}

// newTransport returns a transport that asks gateways and no others.
func newTransport(t testing.TB, o ipfs.Options) *ipfs.Transport {
	t.Helper()
	o.NoLocal = true
	tr, err := ipfs.New(httpclient.New(httpclient.Options{CertDirs: []string{}}), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { tr.Close() })
	return tr
}

// layout adds an OCI layout's blobs directory with one blob, and returns the
// layout's CID.
func (p *place) layout(t testing.TB, b transporttest.Blob, more ...string) string {
	t.Helper()
	dir := t.TempDir()
	at := filepath.Join(dir, "blobs", "sha256")
	if err := os.MkdirAll(at, 0o755); err != nil {
		t.Fatal(err)
	}
	b.WriteFile(t, filepath.Join(at, b.Digest.Encoded()))
	id, err := p.kubo.Add(t.Context(), dir, more...)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// answer makes the front answer all requests with a status.
func (p *place) answer(t testing.TB, status int, header ...string) {
	p.faulty(t, func(w http.ResponseWriter, _ *http.Request) bool {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		return true
	})
}

// faulty makes the front answer by f until the test is over.
func (p *place) faulty(t testing.TB, f faultFunc) {
	p.fault.Store(&f)
	t.Cleanup(func() { p.fault.Store(nil) })
}

// harness returns what every kind of route shares. route returns the one to a
// blob that more options were added with.
func (p *place) harness(tr transport.Transport, route func(t testing.TB, b transporttest.Blob, more ...string) transport.Route) transporttest.Harness {
	put := func(t testing.TB, b transporttest.Blob) transport.Route { return route(t, b) }
	status := func(code int, header ...string) func(testing.TB, transporttest.Blob) transport.Route {
		return func(t testing.TB, b transporttest.Blob) transport.Route {
			r := route(t, b)
			p.answer(t, code, header...)
			return r
		}
	}
	return transporttest.Harness{
		Transport: tr,
		Put:       put,
		Faults: map[transporttest.Fault]func(testing.TB, transporttest.Blob) transport.Route{
			transporttest.Denied:    status(http.StatusUnauthorized),
			transporttest.Throttled: status(http.StatusTooManyRequests, "Retry-After", "7"),
			transporttest.Temporary: status(http.StatusBadGateway),
			transporttest.Permanent: status(http.StatusOK, "Content-Type", "text/html"),
		},
		RetryAfter: 7 * time.Second,
		Stop:       func(testing.TB) { p.kubo.Stop() },
		Start: func(t testing.TB) {
			t.Helper()
			if err := p.kubo.Start(context.WithoutCancel(t.Context())); err != nil {
				t.Fatal(err)
			}
		},
		Pause:  func(t testing.TB) { must(t, p.kubo.Pause()) },
		Resume: func(t testing.TB) { must(t, p.kubo.Resume()) },
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestConformanceOfDirectories(t *testing.T) {
	for name, reading := range map[string]ipfs.Reading{"blocks": ipfs.Blocks, "CARs": ipfs.CARs} {
		t.Run(name, func(t *testing.T) {
			transporttest.Run(t, func(t *testing.T) transporttest.Harness {
				p := startPlace(t)
				tr := newTransport(t, ipfs.Options{Gateways: []string{p.front}, Reading: reading})
				h := p.harness(tr, func(t testing.TB, b transporttest.Blob, more ...string) transport.Route {
					return transport.Route{URI: "ipfs://" + p.layout(t, b, more...)}
				})
				h.Faults[transporttest.ShortBody] = p.shortBody
				h.Huge = p.huge
				return h
			})
		})
	}
}

// shortBody lays a file out in several blocks, of which all but the first end
// early.
func (p *place) shortBody(t testing.TB, b transporttest.Blob) transport.Route {
	t.Helper()
	id := p.layout(t, b, "--chunker=size-32768")
	leaves, err := p.kubo.Run(t.Context(), "refs", id+"/blobs/sha256/"+b.Digest.Encoded())
	if err != nil {
		t.Fatal(err)
	}
	p.faulty(t, func(w http.ResponseWriter, r *http.Request) bool {
		if !slices.Contains(strings.Fields(leaves)[1:], path.Base(r.URL.Path)) {
			return false
		}
		w.Header().Set("Content-Type", "application/vnd.ipld.raw")
		w.Header().Set("Content-Length", "1000")
		_, _ = w.Write([]byte("short"))
		panic(http.ErrAbortHandler)
	})
	return transport.Route{URI: "ipfs://" + id}
}

// huge makes the blocks itself, since "ipfs add" would hash all the zeros.
func (p *place) huge(t testing.TB, b transporttest.Blob) transport.Route {
	t.Helper()
	d := newDAG(t)
	root := d.layout("sha256", b.Digest.Encoded(), d.file(b.Reader(), 1<<20, 174).cid)
	file := filepath.Join(t.TempDir(), "huge.car")
	if err := os.WriteFile(file, d.carOf(root, d.order), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := p.kubo.Run(t.Context(), "dag", "import", "--pin-roots=false", file); err != nil {
		t.Fatal(err)
	}
	return transport.Route{URI: "ipfs://" + root.String()}
}

func TestConformanceOfGateways(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) transporttest.Harness {
		p := startPlace(t)
		tr := newTransport(t, ipfs.Options{})
		uri := "ipfs+" + p.front
		h := p.harness(tr, func(t testing.TB, b transporttest.Blob, _ ...string) transport.Route {
			file := filepath.Join(t.TempDir(), "block")
			b.WriteFile(t, file)
			if _, err := p.kubo.Run(t.Context(), "block", "put", "--cid-codec=raw", file); err != nil {
				t.Fatal(err)
			}
			return transport.Route{URI: uri}
		})
		h.MaxSize = ipfs.MaxBlock
		h.Pause, h.Resume = nil, nil // when a Read could wait, all of the block has come
		h.Stall = func(t testing.TB) transport.Route {
			p.faulty(t, func(_ http.ResponseWriter, r *http.Request) bool {
				<-r.Context().Done()
				return true
			})
			return transport.Route{URI: uri}
		}
		h.Missing = func(testing.TB) (transport.Route, ocispec.Descriptor) {
			return transport.Route{URI: uri}, ocispec.Descriptor{Digest: digest.FromString("nobody has this"), Size: 15}
		}
		h.Impossible = map[transporttest.Fault]string{
			transporttest.ShortBody: "a blob is one block, which is there and verified when Open returns",
		}
		return h
	})
}

// serve serves HTTP for the time of a test.
func serve(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}
