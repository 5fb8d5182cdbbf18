package ipfs_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ipfs/boxo/ipns"
	boxopath "github.com/ipfs/boxo/path"
	"github.com/libp2p/go-libp2p/core/crypto"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/ipfs"
)

// manifest is the image of ociLayout.
const manifest = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}`

// ociLayout makes an OCI layout with a manifest tagged v1.
func ociLayout(t testing.TB) (dir string, d digest.Digest) {
	t.Helper()
	dir, d = t.TempDir(), digest.FromString(manifest)
	if err := os.MkdirAll(filepath.Join(dir, "blobs", "sha256"), 0o755); err != nil {
		t.Fatal(err)
	}
	for file, content := range map[string]string{
		"oci-layout":                  `{"imageLayoutVersion":"1.0.0"}`,
		"blobs/sha256/" + d.Encoded(): manifest,
		"index.json": fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":%d,"annotations":{"org.opencontainers.image.ref.name":"v1"}}]}`,
			d, len(manifest)),
	} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir, d
}

// resolve resolves a name by the transport.
func resolve(t testing.TB, tr *ipfs.Transport, s string) (digest.Digest, error) {
	t.Helper()
	n, err := name.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	desc, err := tr.Resolve(t.Context(), n)
	return desc.Digest, err
}

func TestNames(t *testing.T) {
	kubo := startKubo(t, nil)
	dir, want := ociLayout(t)
	id, err := kubo.Add(t.Context(), filepath.Dir(dir)) // the layout is below
	if err != nil {
		t.Fatal(err)
	}
	below := filepath.Base(dir)
	key, err := kubo.Run(t.Context(), "key", "gen", "site")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kubo.Run(t.Context(), "name", "publish", "--allow-offline", "--key=site", "/ipfs/"+id); err != nil {
		t.Fatal(err)
	}
	dns, err := realserver.StartDNS(t.Context(), t.TempDir(), map[string][]string{
		"_dnslink.cid.example":    {"dnslink=/ipfs/" + id},
		"_dnslink.path.example":   {"v=spf1 -all", "dnslink=/ipfs/" + id + "/" + below},
		"_dnslink.key.example":    {"dnslink=/ipns/" + key},
		"_dnslink.far.example":    {"dnslink=/ipns/key.example/" + below},
		"_dnslink.loop.example":   {"dnslink=/ipns/loop.example"},
		"_dnslink.bad.example":    {"dnslink=https://cid.example"},
		"_dnslink.none.example":   {"v=spf1 -all"},
		"_dnslink.first.example":  {"dnslink=/ipns/zzz.example", "dnslink=/ipfs/" + id + "/" + below},
		"_dnslink.upward.example": {"dnslink=/ipfs/" + id + "/../x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(dns.Stop)
	tests := []struct {
		name, uri, want string
		kind            error
	}{
		{name: "CID", uri: "ipfs://" + id + "/" + below},
		{name: "CID and digest", uri: "ipfs://" + id + "/" + below + "@" + want.String()},
		{name: "key", uri: "ipns://" + key + "/" + below},
		{name: "DNSLink to a CID", uri: "ipns://cid.example/" + below},
		{name: "DNSLink to a path", uri: "ipns://path.example"},
		{name: "DNSLink to a key", uri: "ipns://key.example/" + below},
		{name: "DNSLink to a DNSLink to a key", uri: "ipns://far.example"},
		{name: "DNSLink, the first of several", uri: "ipns://first.example"},
		{name: "DNSLink to itself", uri: "ipns://loop.example", want: "leads to another name more than 16 times", kind: transport.ErrPermanent},
		{name: "DNSLink to nothing of ours", uri: "ipns://bad.example", want: "not /ipfs/CID or /ipns/NAME", kind: transport.ErrPermanent},
		{name: "DNSLink upward", uri: "ipns://upward.example", want: `".." is not the name of a file`, kind: transport.ErrPermanent},
		{name: "no DNSLink among the records", uri: "ipns://none.example", want: "begins with dnslink=", kind: transport.ErrNotFound},
		{name: "no record", uri: "ipns://missing.example", want: "no TXT record at _dnslink.missing.example", kind: transport.ErrNotFound},
		{name: "no layout", uri: "ipfs://" + id, want: "no OCI layout there", kind: transport.ErrNotFound},
	}
	for _, reading := range []string{"gateway", "router"} {
		o := ipfs.Options{Resolver: dns.Resolver, Gateways: []string{kubo.Gateway}}
		if reading == "router" {
			// A gateway that knows no IPNS records; they come from the router.
			o.Gateways = []string{serve(t, func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/ipns/") {
					http.NotFound(w, r)
					return
				}
				http.Redirect(w, r, kubo.Gateway+r.URL.RequestURI(), http.StatusTemporaryRedirect)
			})}
			o.Routers = []string{kubo.Gateway}
		}
		tr := newTransport(t, o)
		for _, tt := range tests {
			t.Run(reading+"/"+tt.name, func(t *testing.T) {
				got, err := resolve(t, tr, tt.uri)
				if tt.kind == nil {
					if got != want || err != nil {
						t.Errorf("got %s, %v", got, err)
					}
					return
				}
				if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want %q", err, tt.want)
				}
			})
		}
	}
	t.Run("a tag", func(t *testing.T) {
		tr := newTransport(t, ipfs.Options{Gateways: []string{kubo.Gateway}})
		if got, err := resolve(t, tr, "ipfs://"+id+"/"+below+"#v1"); got != want || err != nil {
			t.Errorf("got %s, %v", got, err)
		}
		if got, err := resolve(t, tr, "ipfs://"+id+"/"+below+"#v2"); !errors.Is(err, transport.ErrNotFound) {
			t.Errorf("got %s, %v", got, err)
		}
	})
	t.Run("a key nobody published", func(t *testing.T) {
		other, err := kubo.Run(t.Context(), "key", "gen", "other")
		if err != nil {
			t.Fatal(err)
		}
		tr := newTransport(t, ipfs.Options{Gateways: []string{kubo.Gateway}})
		if got, err := resolve(t, tr, "ipns://"+other); err == nil || !strings.Contains(err.Error(), "IPNS record of "+other) || !strings.Contains(err.Error(), kubo.Gateway) {
			t.Errorf("got %s, %v", got, err)
		}
	})
}

// Records that no kubo would make.
func TestIPNSRecords(t *testing.T) {
	secret, public, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	id, err := peer.IDFromPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	key := ipns.NameFromPeer(id)
	stranger, _, err := crypto.GenerateEd25519Key(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	d := newDAG(t)
	content := []byte("content")
	target := d.leaf(content).cid
	old := d.leaf([]byte("old content")).cid
	record := func(sk crypto.PrivKey, to string, seq uint64, life time.Duration) []byte {
		p, err := boxopath.NewPath(to)
		if err != nil {
			t.Fatal(err)
		}
		r, err := ipns.NewRecord(sk, p, seq, time.Now().Add(life), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		b, err := ipns.MarshalRecord(r)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := record(secret, "/ipfs/"+target.String(), 2, time.Hour)
	tests := []struct {
		name    string
		records [][]byte // one for each gateway
		want    string   // in the error
	}{
		{"valid", [][]byte{good}, ""},
		{"an older one first", [][]byte{record(secret, "/ipfs/"+old.String(), 1, 2*time.Hour), good}, ""},
		{"an older one last", [][]byte{good, record(secret, "/ipfs/"+old.String(), 1, 2*time.Hour)}, ""},
		{"a forged newer one", [][]byte{good, record(stranger, "/ipfs/"+old.String(), 3, time.Hour)}, ""},
		{"expired", [][]byte{record(secret, "/ipfs/"+target.String(), 2, -time.Hour)}, "expired"},
		{"forged", [][]byte{record(stranger, "/ipfs/"+target.String(), 2, time.Hour)}, "signature"},
		{"garbage", [][]byte{[]byte("garbage")}, "IPNS record of"},
		{"too large", [][]byte{make([]byte, ipns.MaxRecordSize+1)}, "larger than the limit of 10240 bytes"},
		{"to itself", [][]byte{record(secret, "/ipns/"+key.String(), 2, time.Hour)}, "more than 16 times"},
		{"to a file of another kind", [][]byte{record(secret, "/ipld/"+target.String(), 2, time.Hour)}, "not /ipfs/CID"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var gateways []string
			for _, r := range tt.records {
				g := &fakeGateway{d: d}
				gateways = append(gateways, serve(t, func(w http.ResponseWriter, req *http.Request) {
					if strings.HasPrefix(req.URL.Path, "/ipns/") {
						w.Header().Set("Content-Type", "application/vnd.ipfs.ipns-record")
						_, _ = w.Write(r)
						return
					}
					g.ServeHTTP(w, req)
				}))
			}
			tr := newTransport(t, ipfs.Options{Gateways: gateways})
			got, err := read(t, tr, "ipns://"+key.String(), ocispec.Descriptor{Digest: digest.FromBytes(content), Size: int64(len(content))})
			if tt.want == "" {
				if string(got) != string(content) || err != nil {
					t.Errorf("got %q, %v", got, err)
				}
				return
			}
			if !errors.Is(err, transport.ErrPermanent) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

// What a name means is asked once, not for every blob.
func TestNamesAreRemembered(t *testing.T) {
	d := newDAG(t)
	root := d.leaf([]byte("content")).cid
	asked := &countingResolver{record: "dnslink=/ipfs/" + root.String()}
	tr := newTransport(t, ipfs.Options{Gateways: []string{serve(t, (&fakeGateway{d: d}).ServeHTTP)}, Resolver: asked})
	for range 5 {
		if _, err := read(t, tr, "ipns://name.example", ocispec.Descriptor{Digest: digest.FromString("content"), Size: 7}); err != nil {
			t.Fatal(err)
		}
	}
	if n := asked.count.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

// countingResolver gives one answer to all questions.
type countingResolver struct {
	record string
	count  atomic.Int64
}

func (r *countingResolver) LookupTXT(context.Context, string) ([]string, error) {
	r.count.Add(1)
	return []string{r.record}, nil
}
