package locate_test

import (
	"context"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/waybill-project/waybill/locate"
	"github.com/waybill-project/waybill/transport"
)

const hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

var empty = ocispec.Descriptor{Digest: digest.Digest("sha256:" + hex)}

func TestFrom(t *testing.T) {
	for in, want := range map[string]transport.Route{
		"docker://h:5000/a/b":            {URI: "docker://h:5000/a/b", Source: "docker://h:5000/a/b"},
		"docker://h:5000/a/b:tag":        {URI: "docker://h:5000/a/b", Source: "docker://h:5000/a/b"},
		"h.example/a:1":                  {URI: "docker://h.example/a", Source: "docker://h.example/a"},
		"alpine":                         {URI: "docker://docker.io/library/alpine", Source: "docker://docker.io/library/alpine"},
		"oci:/d:ref":                     {URI: "oci:/d", Source: "oci:/d"},
		"oci-archive:/f.tar":             {URI: "oci-archive:/f.tar", Source: "oci-archive:/f.tar"},
		"docker-archive:/f.tar:a:1":      {URI: "docker-archive:/f.tar", Source: "docker-archive:/f.tar"},
		"file:///srv/blobs":              {URI: "file:///srv/blobs", Source: "file:///srv/blobs"},
		"file:///srv/a%20b/":             {URI: "file:///srv/a%20b", Source: "file:///srv/a%20b/"},
		"https://h/b/":                   {URI: "https://h/b/sha256/" + hex, Source: "https://h/b/"},
		"http://h/{algorithm}/{encoded}": {URI: "http://h/sha256/" + hex, Source: "http://h/{algorithm}/{encoded}"},
		"https://h/{encoded:2}/{digest}": {URI: "https://h/e3/sha256%3A" + hex, Source: "https://h/{encoded:2}/{digest}"},
		"https://h/{+digest}":            {URI: "https://h/sha256:" + hex, Source: "https://h/{+digest}"},
		"https://u:p@h/{encoded}":        {URI: "https://u:p@h/" + hex, Source: "https://u:p@h/{encoded}"},
		"sftp://me@h:22/d#1":             {URI: "sftp://me@h:22/d", Source: "sftp://me@h:22/d"},
		"sftp://me:pw@h/d":               {URI: "sftp://me:pw@h/d", Source: "sftp://me:pw@h/d"},
		"s3://b/p?endpoint=http://h":     {URI: "s3://b/p?endpoint=http://h", Source: "s3://b/p?endpoint=http://h"},
		"ipfs+https://gw.example":        {URI: "ipfs+https://gw.example", Source: "ipfs+https://gw.example"},
		"magnet:?xt=urn:btih:x#f":        {URI: "magnet:?xt=urn:btih:x#f", Source: "magnet:?xt=urn:btih:x#f"},
		"torrent:/x/../a.torrent#b":      {URI: "torrent:/a.torrent#b", Source: "torrent:/x/../a.torrent#b"},
		"my+scheme://anything":           {URI: "my+scheme://anything", Source: "my+scheme://anything"},
		"https://h/?b={encoded}":         {URI: "https://h/?b=" + hex, Source: "https://h/?b={encoded}"},
	} {
		t.Run(in, func(t *testing.T) {
			l, err := locate.From(in, "me")
			if err != nil {
				t.Fatal(err)
			}
			want.Origin = "me"
			n := 0
			for got, err := range l.Locate(context.Background(), empty) {
				n++
				if err != nil || got != want {
					t.Errorf("got %+v, %v\nwant %+v", got, err, want)
				}
			}
			if n != 1 {
				t.Errorf("%d routes", n)
			}
		})
	}
}

func TestFromErrors(t *testing.T) {
	for in, want := range map[string]string{
		"":                         "empty",
		"https://h/x":              "template",
		"https://h/{algorithm}":    "one URI for different blobs",
		"https://h/{nope}":         `unknown variable "nope"`,
		"https://h/{":              "RFC 6570",
		"https:///{encoded}":       "no host",
		"https://{encoded}":        "no host",
		"http://":                  "no host",
		"http:x":                   "no host",
		"file://h/x":               "file:///DIR",
		"file:x":                   "file:///DIR",
		"sftp:///x":                "no host",
		"sftp://u:secret@h/%zz":    "xxxxx@h",
		"magnet:x":                 "want magnet:?xt",
		"torrent:":                 "want torrent:FILE",
		"ipfs+https://%zz":         "not a URI",
		"sha256:" + hex:            "not a place",
		"https://u:secret@h/{x}":   "xxxxx",
		"https://h/" + many("a/{"): "the limit is 4096",
		"https://h/{encoded:2}":    "one URI for different blobs",
	} {
		t.Run(in[:min(len(in), 30)], func(t *testing.T) {
			_, err := locate.From(in, "me")
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line with %q", err, want)
			}
		})
	}
}

func many(s string) string { return strings.Repeat(s, 3000) }

func FuzzFrom(f *testing.F) {
	for _, s := range []string{"docker://h/a", "oci:/d:r", "https://h/{encoded}", "http://h/b/", "file:///d", "x{", "https://h/{+digest*}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l, err := locate.From(s, "fuzz")
		if err != nil {
			return
		}
		for r, err := range l.Locate(context.Background(), empty) {
			if err == nil && (r.URI == "" || !strings.Contains(r.URI, ":")) {
				t.Errorf("%q located at %q", s, r.URI)
			}
		}
	})
}

// A slow locator holds up none of the others, and each place is yielded once.
func TestAll(t *testing.T) {
	release := make(chan struct{})
	slow := locate.Func(func(ctx context.Context, _ ocispec.Descriptor) iter.Seq2[transport.Route, error] {
		return func(yield func(transport.Route, error) bool) {
			select {
			case <-release:
				yield(transport.Route{URI: "slow"}, nil)
			case <-ctx.Done():
			}
		}
	})
	fast, err := locate.From("oci:/d", "me")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for r := range locate.All(slow, fast, fast).Locate(context.Background(), empty) {
		got = append(got, r.URI)
		if len(got) == 1 {
			close(release)
		}
	}
	if strings.Join(got, " ") != "oci:/d slow" {
		t.Errorf("got %q", got)
	}
	for range locate.All(slow, fast).Locate(context.Background(), empty) {
		break // must not wait for the slow one
	}
	for range locate.All().Locate(context.Background(), empty) {
		t.Error("nobody knows a place, and one was yielded")
	}
}

// One after the other, and no more than wanted.
func TestInOrder(t *testing.T) {
	a, errA := locate.From("oci:/a", "me")
	b, errB := locate.From("oci:/b", "me")
	if errA != nil || errB != nil {
		t.Fatal(errA, errB)
	}
	for most, want := range []string{"", "oci:/a", "oci:/a oci:/b", "oci:/a oci:/b oci:/a", "oci:/a oci:/b oci:/a"} {
		var got []string
		for r, err := range locate.InOrder(most, a, b, a).Locate(t.Context(), empty) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, r.URI)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%d: got %q, want %q", most, got, want)
		}
	}
	for range locate.InOrder(5, a, b).Locate(t.Context(), empty) {
		break
	}
}

// A stranger that names the user's own place first takes nothing away from it.
func TestAllKeepsTheUsersOwn(t *testing.T) {
	const near = 1 + transport.RemotePublic // a network less wide
	for name, tt := range map[string]struct{ say, want []transport.Remote }{
		"the user's first":          {[]transport.Remote{0, transport.RemotePublic, near}, []transport.Remote{0}},
		"a stranger's first":        {[]transport.Remote{transport.RemotePublic, 0, transport.RemotePublic, 0}, []transport.Remote{transport.RemotePublic, 0}},
		"as near as the user's":     {[]transport.Remote{transport.RemoteIn(0), 0}, []transport.Remote{transport.RemoteIn(0), 0}},
		"one that may lead further": {[]transport.Remote{transport.RemotePublic, near, transport.RemotePublic}, []transport.Remote{transport.RemotePublic, near}},
	} {
		t.Run(name, func(t *testing.T) {
			says := locate.Func(func(context.Context, ocispec.Descriptor) iter.Seq2[transport.Route, error] {
				return func(yield func(transport.Route, error) bool) {
					for _, r := range tt.say {
						if !yield(transport.Route{URI: "https://mirror.example/x", Remote: r}, nil) {
							return
						}
					}
				}
			})
			var got []transport.Remote
			for r := range locate.All(says, locate.All()).Locate(t.Context(), empty) {
				got = append(got, r.Remote)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
