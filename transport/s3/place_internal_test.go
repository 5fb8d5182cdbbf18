package s3

import (
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestParsePlace(t *testing.T) {
	const blob = "sha256/00"
	for _, tt := range []struct {
		uri string
		url string // of blob, where nothing but the URI says where; "" for an error
		err string
	}{
		{"s3://bkt", "https://bkt.s3.us-east-1.amazonaws.com/sha256/00", ""},
		{"s3://bkt/", "https://bkt.s3.us-east-1.amazonaws.com/sha256/00", ""},
		{"s3://bkt/a/b/?region=eu-west-1", "https://bkt.s3.eu-west-1.amazonaws.com/a/b/sha256/00", ""},
		{"s3://bkt/a?region=cn-north-1", "https://bkt.s3.cn-north-1.amazonaws.com.cn/a/sha256/00", ""},
		{"s3://bkt/a?region=eusc-de-east-1", "https://bkt.s3.eusc-de-east-1.amazonaws.eu/a/sha256/00", ""},
		{"s3://bkt/a?style=path", "https://s3.us-east-1.amazonaws.com/bkt/a/sha256/00", ""},
		{"s3://b.k.t/a", "https://s3.us-east-1.amazonaws.com/b.k.t/a/sha256/00", ""},
		{"s3://BKT/a", "https://s3.us-east-1.amazonaws.com/BKT/a/sha256/00", ""},
		{"s3://bkt/a?endpoint=http://127.0.0.1:9000", "http://127.0.0.1:9000/bkt/a/sha256/00", ""},
		{"s3://bkt/a?endpoint=http://[::1]:9000/base/", "http://[::1]:9000/base/bkt/a/sha256/00", ""},
		{"s3://bkt/a?endpoint=https%3A%2F%2Fminio.example", "https://minio.example/bkt/a/sha256/00", ""},
		{"s3://bkt/a?endpoint=https://minio.example&style=virtual", "https://bkt.minio.example/a/sha256/00", ""},
		{"s3://bkt/a?endpoint=https://x.s3.eu-west-1.vpce.amazonaws.com", "https://bkt.x.s3.eu-west-1.vpce.amazonaws.com/a/sha256/00", ""},
		{"s3://bkt/a?endpoint=https://s3.amazonaws.com&region=eu-west-1", "https://bkt.s3.eu-west-1.amazonaws.com/a/sha256/00", ""},
		{"s3://bkt/a?endpoint=https://s3.dualstack.eu-west-1.amazonaws.com", "https://bkt.s3.dualstack.eu-west-1.amazonaws.com/a/sha256/00", ""},
		{"s3://bkt/a//b", "https://bkt.s3.us-east-1.amazonaws.com/a//b/sha256/00", ""},
		{"s3://bkt/a b+c/ü%2Fd", "https://bkt.s3.us-east-1.amazonaws.com/a%20b%2Bc/%C3%BC/d/sha256/00", ""},

		{"https://bkt/a", "", "not of the form s3://"},
		{"s3:bkt/a", "", "not of the form s3://"},
		{"s3:///a", "", "no bucket"},
		{"s3://", "", "no bucket"},
		{"s3://b%zz", "", "not a URI"},
		{"s3://key:hunter2@bkt/a", "", "keys don't belong"},
		{"s3://bkt:9000/a", "", "no port"},
		{"s3://bkt/a#b", "", "fragment"},
		{"s3://b*t/a", "", "has only letters"},
		{"s3://../a", "", "has only letters"},
		{"s3://bkt--use1-az4--x-s3/a", "", "directory buckets"},
		{"s3://bkt/../a", "", `segment ".."`},
		{"s3://bkt/a/%2e%2E/b", "", `segment ".."`},
		{"s3://bkt/a%2f..", "", `segment ".."`},
		{"s3://bkt/./a", "", `segment "."`},
		{"s3://bkt/a%00", "", "control characters"},
		{"s3://bkt/%ff", "", "UTF-8"},
		{"s3://bkt/" + strings.Repeat("a", 1025), "", "limit of 1024 bytes"},
		{"s3://bkt/" + strings.Repeat("a", 1024), "", "limit of 1024 bytes"},
		{"s3://bkt/" + strings.Repeat("a", 9000), "", "longer than 8192 bytes"},
		{"s3://bkt/a?color=red", "", `unknown parameter "color"`},
		{"s3://bkt/a?region=a&region=b", "", "given twice"},
		{"s3://bkt/a?region=", "", "is empty"},
		{"s3://bkt/a?region=a/b", "", "not a region"},
		{"s3://bkt/a?style=round", "", "path or virtual"},
		{"s3://bkt/a?anonymous=1", "", "true or false"},
		{"s3://bkt/a?anonymous=true&profile=x", "", "contradict"},
		{"s3://bkt/a?endpoint=minio:9000", "", "http://HOST"},
		{"s3://bkt/a?endpoint=ftp://minio", "", "http://HOST"},
		{"s3://bkt/a?endpoint=https://", "", "http://HOST"},
		{"s3://bkt/a?endpoint=https://k:hunter2@h", "", "keys don't belong"},
		{"s3://bkt/a?endpoint=https://h/x/../y", "", "its path"},
		{"s3://bkt/a?endpoint=https://[::1]&style=virtual", "", "needs an endpoint with a name"},
		{"s3://bkt/a?endpoint=https://h%3Fa=b", "", "query and fragment"},
		{"s3://bkt/a?endpoint=http://hunter2%zz", "", "malformed parameters"},
	} {
		t.Run(tt.uri[:min(len(tt.uri), 60)], func(t *testing.T) {
			p, err := parsePlace(tt.uri)
			var key string
			if err == nil {
				key, err = p.key(blob)
			}
			if tt.url == "" && tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("error %v, want one that says %q", err, tt.err)
				}
				if strings.Contains(err.Error(), "hunter2") {
					t.Errorf("the secret is in %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			r := &request{place: p, key: key, explicit: p.endpoint, account: &account{}}
			hr, err := r.prepare(t.Context())
			if err != nil || tt.url != "" && hr.URL != tt.url {
				t.Errorf("URL %s, %v; want %s", hr.URL, err, tt.url)
			}
		})
	}
}

func TestRegionOf(t *testing.T) {
	for host, want := range map[string]string{
		"s3.eu-west-1.amazonaws.com":               "eu-west-1",
		"s3-eu-west-1.amazonaws.com":               "eu-west-1",
		"s3.dualstack.us-gov-west-1.Amazonaws.com": "us-gov-west-1",
		"s3-fips.us-east-2.amazonaws.com":          "us-east-2",
		"s3.cn-north-1.amazonaws.com.cn":           "cn-north-1",
		"s3.eusc-de-east-1.amazonaws.eu":           "eusc-de-east-1",
		"s3.amazonaws.com":                         "",
		"s3.eu-west-1.amazonaws.com.evil.example":  "",
		"eu-west-1.example":                        "",
	} {
		if got := regionOf(host); got != want {
			t.Errorf("regionOf(%q) = %q, want %q", host, got, want)
		}
	}
}

func FuzzParsePlace(f *testing.F) {
	f.Add("s3://bkt/a b+c/ü%2Fd?endpoint=http://127.0.0.1:9000/base&region=eu-west-1&style=path")
	f.Add("s3://bkt?profile=x&anonymous=false")
	f.Add("s3://b.k.t//a//?style=virtual&endpoint=https://[::1]")
	f.Fuzz(func(t *testing.T, uri string) {
		p, err := parsePlace(uri)
		if err != nil {
			return
		}
		key, err := p.key("blobs/sha256/00")
		if err != nil {
			return
		}
		if len(key) > maxKey || !utf8.ValidString(key) || slices.Contains(strings.Split(key, "/"), "..") {
			t.Fatalf("key %q", key)
		}
		endpoint := p.endpoint
		if endpoint == nil {
			endpoint = amazon(defaultRegion)
		}
		address := address(&p, endpoint, key)
		u, err := url.Parse(address)
		if err != nil {
			t.Fatalf("%q makes the URL %q: %v", uri, address, err)
		}
		if u.User != nil || u.RawQuery != "" || u.Fragment != "" || !strings.HasSuffix(u.Host, endpoint.Host) {
			t.Errorf("%q leads to %q", uri, address)
		}
		if !strings.HasSuffix(u.Path, "/"+key) || u.EscapedPath() != escape(u.Path) {
			t.Errorf("key %q became %q", key, address)
		}
	})
}
