package gcs

import (
	"net/url"
	"strings"
	"testing"
)

func FuzzParsePlace(f *testing.F) {
	f.Add("gs://bucket/images/app?endpoint=http://127.0.0.1:4443&anonymous=true")
	f.Add("gs://ann:hunter2@bucket/../%2e%2e/p#x")
	f.Add("gs://bucket\n\x00")
	f.Fuzz(func(t *testing.T, uri string) {
		p, err := parsePlace(uri)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x00") {
				t.Errorf("error of several lines: %q", err)
			}
			return
		}
		if !validBucket(p.bucket) || strings.HasPrefix(p.prefix, "/") || strings.HasSuffix(p.prefix, "/") {
			t.Errorf("%q is %+v", uri, p)
		}
		for segment := range strings.SplitSeq(p.prefix, "/") {
			if segment == "." || segment == ".." {
				t.Errorf("%q is %+v", uri, p)
			}
		}
		if p.endpoint != "" {
			if u, err := url.Parse(p.endpoint); err != nil || u.User != nil || u.RawQuery != "" {
				t.Errorf("%q is %+v", uri, p)
			}
		}
	})
}

func TestIsGoogle(t *testing.T) {
	tests := []struct {
		endpoint string
		want     bool
	}{
		{"https://storage.googleapis.com", true},
		{"https://storage.googleapis.com:443/x", true},
		{"https://storage-mine.p.googleapis.com", true},
		{"http://storage.googleapis.com", false},
		{"https://googleapis.com.example", false},
		{"https://notgoogleapis.com", false},
		{"https://storage.example/.googleapis.com", false},
	}
	for _, tt := range tests {
		if got := isGoogle(tt.endpoint); got != tt.want {
			t.Errorf("isGoogle(%s) = %t", tt.endpoint, got)
		}
	}
}
