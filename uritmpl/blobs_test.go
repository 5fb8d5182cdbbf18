package uritmpl_test

import (
	"errors"
	"net/url"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/uritmpl"
)

func TestTryBlobs(t *testing.T) {
	for template, says := range map[string]string{
		"https://h/{algorithm}/{encoded}":     "",
		"https://h/{encoded:2}/{digest}":      "",
		"https://h:443/?{encoded}":            "",
		"https://h/x":                         "one URI for different blobs",
		"https://h/{algorithm}":               "one URI for different blobs",
		"https://h/{encoded:63}":              "one URI for different blobs",
		"https://h/#{encoded:2}":              "one URI for different blobs",
		"https://{algorithm}.h/{encoded}":     "different hosts",
		"https://h:1{encoded:1}/{encoded}":    "RFC 3986",
		"{encoded}":                           "relative reference",
		"https://{encoded}.example/{encoded}": "different hosts",
	} {
		tmpl, err := uritmpl.Parse(template)
		if err == nil {
			err = tmpl.Only(uritmpl.BlobVariables...)
		}
		if err != nil {
			t.Fatal(err)
		}
		err = uritmpl.TryBlobs(func(d digest.Digest) (*url.URL, error) { return tmpl.Resolve(nil, uritmpl.BlobValues(d)) })
		if (err == nil) != (says == "") || err != nil && !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", template, err, says)
		}
	}
	refusal := errors.New("not there")
	if err := uritmpl.TryBlobs(func(digest.Digest) (*url.URL, error) { return nil, refusal }); !errors.Is(err, refusal) {
		t.Errorf("got %v", err)
	}
}

func TestOrigin(t *testing.T) {
	for in, want := range map[string]string{
		"https://H.example/x": "https://h.example:443", "https://h.example:443": "https://h.example:443",
		"http://h.example/": "http://h.example:80", "http://[::1]:81": "http://::1:81",
	} {
		u, err := url.Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := uritmpl.Origin(u); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

// A template may hold a password where the user wrote it; no error does.
func TestErrorsShowNoTemplate(t *testing.T) {
	for _, template := range []string{"https://ann:hunter2@h/{", "https://ann:hunter2@h/{a..b}", "https://ann:hunter2@h/%zz{encoded}", "https://ann:hunter2@h:x{encoded}/"} {
		tmpl, err := uritmpl.Parse(template)
		if err == nil {
			_, err = tmpl.Resolve(nil, uritmpl.BlobValues("sha256:ab"))
		}
		if err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", template, err)
		}
	}
}
