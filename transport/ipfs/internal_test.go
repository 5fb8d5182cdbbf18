package ipfs

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	unixfspb "github.com/ipfs/boxo/ipld/unixfs/pb"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"github.com/opencontainers/go-digest"
	"google.golang.org/protobuf/proto"
)

func TestRawCID(t *testing.T) {
	// By "ipfs block put --cid-codec=raw" of the seven bytes "content".
	const want = "bafkreihnoabliopjvscf6irvpwbcxlauirzq7pnwafwt5skdekl3t3e7om"
	d := digest.FromString("content")
	c, err := rawCID(d)
	if err != nil || c.String() != want {
		t.Errorf("got %s, %v", c, err)
	}
	if back, ok := digestOf(c); !ok || back != d {
		t.Errorf("back: %s", back)
	}
	for _, bad := range []digest.Digest{"", "sha256:00", "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:../x"} {
		if _, err := rawCID(bad); err == nil {
			t.Errorf("%q has a CID", bad)
		}
	}
}

func TestMultiaddrURL(t *testing.T) {
	for in, want := range map[string]string{
		"/ip4/1.2.3.4/tcp/80/http":               "http://1.2.3.4:80",
		"/ip6/2001:db8::1/tcp/443/tls/http":      "https://[2001:db8::1]:443",
		"/dns/gw.example/tcp/443/https":          "https://gw.example:443",
		"/dns4/gw.example/tcp/8080/http":         "http://gw.example:8080",
		"/ip4/1.2.3.4/tcp/80":                    "",
		"/ip4/1.2.3.4/udp/80/http":               "",
		"/ip4/1.2.3.4/tcp/99999/http":            "",
		"/ip4/::1/tcp/80/http":                   "",
		"/ip6/fe80::1%eth0/tcp/80/http":          "",
		"/ip4/user@1.2.3.4/tcp/80/http":          "",
		"/dns/user:secret@gw.example/tcp/1/http": "",
		"/dns/localhost/tcp/80/http":             "",
		"/dns/a.b/tcp/80/http/p2p/x":             "",
		"/unix/a/tcp/80/http":                    "",
		"":                                       "",
	} {
		if got, ok := multiaddrURL(in); ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q, %v", in, got, ok)
		}
	}
}

func TestParseProviders(t *testing.T) {
	record := `{"Schema":"peer","Addrs":["/dns/a.example/tcp/443/https","https://b.example","https://u:p@c.example","ftp://d.example","/ip4/1.1.1.1/udp/1/quic-v1"],"Protocols":["transport-bitswap","transport-ipfs-gateway-http"]}`
	other := `{"Schema":"peer","Addrs":["https://x.example"],"Protocols":["transport-bitswap"]}`
	many := `{"Addrs":["https://a.example"` + strings.Repeat(`,"https://b.example"`, 10_000) + `],"Protocols":["transport-ipfs-gateway-http"]}`
	tests := []struct {
		name, mediaType, body string
		want                  int
		fails                 bool
	}{
		{"JSON", mediaJSON, `{"Providers":[` + other + `,` + record + `,7,null]}`, 2, false},
		{"NDJSON", mediaNDJSON, other + "\n\n" + record + "\nnot JSON\n", 2, false},
		{"none", mediaJSON, `{"Providers":null}`, 0, false},
		{"empty", mediaNDJSON, "", 0, false},
		{"cut short", mediaJSON, `{"Providers":[` + record, 2, true},
		{"cut short in a record", mediaJSON, `{"Providers":[` + record + `,{"Schema"`, 2, true},
		{"larger than is read", mediaJSON, `{"More":{"x":[1]},"Providers":[` + record + strings.Repeat(","+other, 100_000) + `]}`, 2, false},
		{"no list", mediaJSON, `{"Providers":{}}`, 0, true},
		{"another document", mediaJSON, `[]`, 0, true},
		{"an object of nothing", mediaJSON, `{}`, 0, false},
		{"a line too long", mediaNDJSON, record + "\n" + strings.Repeat(" ", maxProviderLine+1), 2, true},
		{"the same many times", mediaJSON, `{"Providers":[` + many + `]}`, 2, false},
		{"many records", mediaNDJSON, strings.Repeat(record+"\n", 1000), 2, false},
		{"HTML", "text/html", record, 0, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			urls, err := parseProviders(strings.NewReader(tt.body), tt.mediaType)
			if len(urls) != tt.want || (err != nil) != tt.fails {
				t.Errorf("%q, %v", urls, err)
			}
		})
	}
}

func TestCacheIsBounded(t *testing.T) {
	k := newCache()
	first := cid.Undef
	for i := range 40 {
		block := bytes.Repeat([]byte{byte(i)}, 1<<20)
		h, err := multihash.Sum(block, multihash.SHA2_256, -1)
		if err != nil {
			t.Fatal(err)
		}
		c := cid.NewCidV1(cid.DagProtobuf, h)
		if i == 0 {
			first = c
		}
		k.put(c, block)
		k.put(c, block)
		if got, ok := k.get(first); !ok || len(got) != 1<<20 {
			t.Fatal("what was used last is gone")
		}
	}
	if k.bytes > maxCache || len(k.at) != 16 || k.used.Len() != 16 {
		t.Errorf("%d bytes in %d blocks", k.bytes, len(k.at))
	}
}

func FuzzParsePlace(f *testing.F) {
	for _, s := range []string{"ipfs://bafkqaaa/a/b", "ipns://a.example", "ipfs+https://u:p@host/base", "ipfs://QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parsePlace(s)
		if err != nil {
			return
		}
		set := 0
		for _, is := range []bool{p.root.Defined(), p.name != "", p.gateway != nil} {
			if is {
				set++
			}
		}
		if set != 1 {
			t.Errorf("%q means %d things", s, set)
		}
		if _, err := splitPath(strings.Join(p.path, "/")); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	})
}

// FuzzParseTarget: what a DNSLink or an IPNS record leads to is content or another
// name, with names in its path that are files'.
func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"/ipfs/bafkqaaa/a/b", "/ipns/a.example/x", "/ipfs/../..", "/ipfs/bafkqaaa/../x", "/ipns/", "ipfs://bafkqaaa"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := parseTarget(s)
		if err != nil {
			return
		}
		if p.root.Defined() == (p.name != "") || p.gateway != nil {
			t.Errorf("%q leads to %+v", s, p)
		}
		for _, name := range p.path {
			if err := checkSegment(name); err != nil {
				t.Errorf("%q: %v", s, err)
			}
		}
	})
}

func FuzzCAR(f *testing.F) {
	f.Add([]byte("\x01\xa0"))
	f.Add([]byte("\x01\xa0\x05\x01\x55\x00\x00\x00"))
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := newCARReader(bytes.NewReader(data))
		for err == nil {
			var c cid.Cid
			var block []byte
			if c, block, err = r.next(); err == nil && verify(c, block) != nil {
				t.Errorf("block %s was not verified", c)
			}
		}
		if err != io.EOF && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, errCAR) && !errors.Is(err, errMismatch) {
			t.Errorf("an error of no kind: %v", err)
		}
	})
}

func FuzzNode(f *testing.F) {
	data, err := proto.Marshal(&unixfspb.Data{Type: unixfspb.Data_File.Enum(), Data: []byte("x"), Filesize: proto.Uint64(1)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append([]byte{0x0a, byte(len(data))}, data...))
	f.Add([]byte("\x12\x02\x0a\x00\x0a\x02\x08\x02"))
	f.Fuzz(func(t *testing.T, block []byte) {
		n, err := parsePB(block)
		if err != nil {
			return
		}
		sum := int64(len(n.data))
		for _, l := range n.links {
			if l.size < 0 {
				t.Errorf("a link of %d bytes", l.size)
			}
			sum += l.size
		}
		if n.kind == file && sum != n.size {
			t.Errorf("a file of %d bytes that holds %d", n.size, sum)
		}
		if n.kind == shard && n.prefix() == 0 {
			t.Error("a shard without slots")
		}
	})
}

func FuzzProviders(f *testing.F) {
	f.Add(`{"Providers":[{"Addrs":["/dns/a.example/tcp/1/http"],"Protocols":["transport-ipfs-gateway-http"]}]}`, true)
	f.Add(`{"Addrs":["https://a.example"],"Protocols":["transport-ipfs-gateway-http"]}`, false)
	f.Fuzz(func(t *testing.T, s string, whole bool) {
		mediaType := mediaNDJSON
		if whole {
			mediaType = mediaJSON
		}
		urls, _ := parseProviders(strings.NewReader(s), mediaType)
		if len(urls) > maxUsed {
			t.Errorf("%d gateways", len(urls))
		}
		for _, u := range urls {
			if _, err := parseEndpoint(u); err != nil {
				t.Errorf("%q: %v", u, err)
			}
		}
	})
}
