package ipfs_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/ipfs"
)

const (
	someCID  = "bafybeigqa5ibubifuc6pcu3vlf2iui5wm7x3cxxjtwz2qq2aopvpumi4m4"
	someCID0 = "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG"
	someKey  = "k51qzi5uqu5djqblz14yhun1yd2q8ruu0obhzhv4c34spxcq28idg48vcj79ou"
)

func TestCheck(t *testing.T) {
	tests := []struct {
		uri  string
		want string // in the error; empty means right
	}{
		{"ipfs://" + someCID, ""},
		{"ipfs://" + someCID + "/", ""},
		{"ipfs://" + someCID + "/a/b%20c", ""},
		{"ipfs://" + someCID0 + "/a", ""},
		{"ipns://" + someKey, ""},
		{"ipns://12D3KooWKQ5LCaFaWJjN3s6QjTarwqxvpqWTR6XMdYvXVpzy7rr1/a", ""},
		{"ipns://docs.example.com/a", ""},
		{"ipfs+https://gateway.example", ""},
		{"ipfs+http://127.0.0.1:8080/base/", ""},
		{"ipfs+https://user:secret@gateway.example", ""},
		{"ipfs+http://127.0.0.1:8080/ipfs/" + someCID, ""},
		{"ipfs+https://gateway.example/base/ipfs/" + someCID + "/a/b%20c", ""},
		{"ipfs+https://gateway.example/ipfs/nonsense", `"nonsense" is not a CID`},
		{"ipfs+https://gateway.example/ipfs/" + someCID + "/../b", `".." is not the name of a file`},
		{"ipfs://", "write ipfs://CID[/PATH]"},
		{"ipfs:" + someCID, "write ipfs://CID[/PATH]"},
		{"ipfs://user@" + someCID, "write ipfs://CID[/PATH]"},
		{"ipfs://example.com", `"example.com" is not a CID`},
		{"ipfs://" + strings.Repeat("b", 300), "more than 256 characters"},
		{"ipfs://" + someCID + "/a/../b", `".." is not the name of a file`},
		{"ipfs://" + someCID + "/a//b", `"" is not the name of a file`},
		{"ipfs://" + someCID + "/a%2Fb/%00", "is not the name of a file"},
		{"ipfs://" + someCID + "/" + strings.Repeat("a", 256), "a name of more than 255 bytes"},
		{"ipfs://" + someCID + strings.Repeat("/a", 101), "more than 100 directories"},
		{"ipfs://" + someCID + "/" + strings.Repeat("a/", 8<<10), "more than 8192 bytes"},
		{"ipfs://" + someCID + "?format=car", "query and fragment mean nothing"},
		{"ipfs://" + someCID + "#x", "query and fragment mean nothing"},
		{"ipfs://bafyreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", "codec 0x71"},
		{"ipfs://bafkqaaa", ""}, // the empty block, inline
		{"ipns://localhost", "neither an IPNS key nor a domain name"},
		{"ipns://-a.example", "neither an IPNS key nor a domain name"},
		{"ipns://", "write ipns://NAME[/PATH]"},
		{"ipfs+https://", "no host in the URL; write ipfs+https://GATEWAY"},
		{"ipfs+ftp://host", "none of ipfs, ipns"},
		{"https://host", "none of ipfs, ipns"},
		{"ipfs://%zz:secret@x", "malformed URI"},
	}
	for _, tt := range tests {
		t.Run(tt.uri[:min(len(tt.uri), 80)], func(t *testing.T) {
			err := ipfs.Check(tt.uri)
			if tt.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, transport.ErrPermanent) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if strings.Contains(err.Error(), "secret") {
				t.Errorf("the password is in %q", err)
			}
		})
	}
}

func TestNewChecksItsOptions(t *testing.T) {
	for _, o := range []ipfs.Options{
		{Gateways: []string{"ftp://host"}}, {Gateways: []string{"https://user:secret@"}},
		{Routers: []string{"host"}}, {Routers: []string{"https://user:secret@host?x"}},
	} {
		_, err := ipfs.New(httpclient.New(httpclient.Options{}), o)
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v: %v", o, err)
		}
	}
}
