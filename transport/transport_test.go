package transport_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/waybill-project/waybill/transport"
)

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"https://h/x":                     "https://h/x",
		"https://u:secret@h/x":            "https://u:xxxxx@h/x",
		"https://u@h/x":                   "https://u@h/x",
		"docker://h/r@sha256:00":          "docker://h/r@sha256:00",
		"https://u:secret@h/{encoded}%zz": "https://xxxxx@h/{encoded}%zz",
		"https://u:sec/ret@h/":            "https://xxxxx@h/",
		"http://u:secret@h\x01/":          "http://xxxxx@h\x01/",
	} {
		if got := transport.Redact(in); got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("u", "h/x")
	f.Add("u%zz", "h\x01")
	f.Fuzz(func(t *testing.T, user, after string) {
		const secret = "hunter2hunter2"
		if strings.ContainsAny(user, "/?#") {
			return // what follows is not user information
		}
		if got := transport.Redact("https://" + user + ":" + secret + "@" + after); strings.Contains(got, secret) {
			t.Errorf("the secret is in %q", got)
		}
	})
}

func TestSchemes(t *testing.T) {
	s := transport.Schemes{"x": transport.Func(func(_ context.Context, r transport.Route, _ ocispec.Descriptor, off, n int64) (io.ReadCloser, error) {
		return nil, transport.Errorf(transport.ErrNotFound, r.URI, "no such thing")
	})}
	_, err := s.Open(context.Background(), transport.Route{URI: "x:y"}, ocispec.Descriptor{}, 0, 1)
	if !errors.Is(err, transport.ErrNotFound) || err.Error() != "x:y: no such thing" {
		t.Errorf("got %v", err)
	}
	for _, uri := range []string{"y:z", "x", ""} {
		if _, err := s.Open(context.Background(), transport.Route{URI: uri}, ocispec.Descriptor{}, 0, 1); !errors.Is(err, transport.ErrPermanent) {
			t.Errorf("%q: got %v", uri, err)
		}
	}
	if n, err := s.Size(context.Background(), transport.Route{URI: "x:y"}, ocispec.Descriptor{}); n != -1 || err != nil {
		t.Errorf("a transport that can't tell sizes: %d, %v", n, err)
	}
}
