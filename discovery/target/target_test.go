package target_test

import (
	"strings"
	"testing"

	"github.com/waybill-project/waybill/discovery/target"
)

func TestParse(t *testing.T) {
	const hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for _, tt := range []struct {
		uri  string
		kind target.Kind
		want string // empty: the URI itself
		says string
	}{
		{"docker://quay.io/coreos/etcd:1.0.0", target.Registry, "", ""},
		{"docker://quay.io/coreos/etcd@sha256:" + hex, target.Registry, "", ""},
		{"docker://alpine", target.Registry, "docker://docker.io/library/alpine:latest", ""},
		{"oci://registry.example/charts/app:1", target.Registry, "docker://registry.example/charts/app:1", ""},
		{"https://example.com/app.tar", target.Archive, "", ""},
		{"https://example.com/app.TAR.GZ?x=1", target.Archive, "", ""},
		{"https://example.com/app.oci", target.Archive, "", ""},
		{"https://example.com/app/index.json", target.Index, "", ""},
		{"https://example.com/app/index", target.Index, "", ""},
		{"ipfs://bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi/app", target.Place, "", ""},
		{"ftp://ftp.example.com/images/app", target.Place, "", ""},

		{"https://example.com/etcd-linux-amd64-1.0.0.aci", 0, "", "neither an archive"},
		{"http://example.com/app.tar", 0, "", `scheme "http"`},
		{"hdfs://storage.example.com/app", 0, "", `scheme "hdfs"`},
		{"file:///etc/shadow", 0, "", `scheme "file"`},
		{"oci:/etc", 0, "", `scheme "oci"`},
		{"ssh://host/dir", 0, "", `scheme "ssh"`},
		{"exec:///bin/sh", 0, "", `scheme "exec"`},
		{"magnet:?xt=urn:btih:0123456789012345678901234567890123456789", 0, "", `scheme "magnet"`},
		{"app.tar", 0, "", `scheme ""`},
		{"https:///app.tar", 0, "", "no host"},
		{"https://ann:s3cret@example.com/app.tar", 0, "", "credentials"},
		{"docker://ann:s3cret@example.com/app", 0, "", "credentials"},
		{"docker://example.com/App", 0, "", "upper-case"},
		{"docker://", 0, "", "no repository"},
		{"https://example.com/a%0db.tar", 0, "", "control character"},
		{"https://example.com/a b.tar", 0, "", "percent-encoded"},
		{"https://example.com/a.tar#x", 0, "", "fragment"},
		{"ftp://example.com/a?b", 0, "", "query"},
		{"https://example.com/%zz", 0, "", "malformed URI"},
		{"https://example.com/" + strings.Repeat("x", target.MaxURI), 0, "", "limit is 8192"},
	} {
		t.Run(tt.uri[:min(len(tt.uri), 60)], func(t *testing.T) {
			got, err := target.Parse(tt.uri)
			if tt.says != "" {
				if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "s3cret") {
					t.Fatalf("got %+v, %v; want an error with %q", got, err, tt.says)
				}
				return
			}
			want := tt.want
			if want == "" {
				want = tt.uri
			}
			if err != nil || got != (target.Target{Kind: tt.kind, URI: want, Remote: true}) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestMagnet(t *testing.T) {
	const hash = "0123456789012345678901234567890123456789"
	for uri, says := range map[string]string{
		"magnet:?xt=urn:btih:" + hash:                                   "",
		"magnet:?xt=urn:btih:" + hash + "&dn=x#blobs/x":                 "",
		"magnet:?xt=urn:btih:" + hash + "&tr=udp%3A%2F%2Ft.example%3A1": "",
		"magnet:?xt=urn:btih:" + hash + "&tr.1=https://t.example/a":     "",
		"magnet:?xt=urn:sha1:" + hash:                                   `"xt"`,
		"magnet:?xt=urn:btih:" + hash + "&x.pe=10.0.0.1:80":             `"x.pe"`,
		"magnet:?xt=urn:btih:" + hash + "&ws=file:///etc":               `"ws"`,
		"magnet:?xt=urn:btih:" + hash + "&dn=a%0Ab":                     `"dn"`,
		"magnet:?dn=x": "malformed",
		"magnet:x":     "malformed",
		"magnet:?xt=urn:btih:" + hash + strings.Repeat("&dn=x", 64): "more than 64",
	} {
		_, err := target.ParseURI(uri, "magnet")
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: got %v, want %q", uri, err, says)
		}
	}
}

// Whatever is accepted stays so in the form it is handed on, and has a kind
// that says what it is.
func FuzzParse(f *testing.F) {
	f.Add("docker://quay.io/coreos/etcd:1.0.0")
	f.Add("https://[::1]:9/x.tar?y")
	f.Add("oci://h/x@sha256:")
	f.Fuzz(func(t *testing.T, uri string) {
		got, err := target.Parse(uri)
		if err != nil {
			return
		}
		again, err := target.Parse(got.URI)
		if err != nil || again != got || strings.Contains(got.Kind.String(), "Kind(") {
			t.Errorf("%q is %+v, read again %+v, %v", uri, got, again, err)
		}
	})
}
