package transport_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/netclass"
)

// says is a transport whose content is a text.
func says(text string) transport.Transport {
	return transport.Func(func(context.Context, transport.Route, ocispec.Descriptor, int64, int64) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader(text)), nil
	})
}

func TestByOrigin(t *testing.T) {
	b := transport.ByOrigin{
		Local:  transport.Schemes{"a": says("local a"), "file": says("local file")},
		Remote: transport.Schemes{"a": says("remote a")},
	}
	for _, tt := range []struct {
		uri    string
		remote transport.Remote
		want   string
		kind   error
	}{
		{"a://x", 0, "local a", nil},
		{"a://x", transport.RemotePublic, "remote a", nil},
		{"A://x", transport.RemotePublic, "remote a", nil},
		{"file:///etc/shadow", 0, "local file", nil},
		{"file:///etc/shadow", transport.RemotePublic, "", transport.ErrRefused},
		{"FILE:///etc/shadow", transport.RemotePublic, "", transport.ErrRefused},
		{"nothing", transport.RemotePublic, "", transport.ErrRefused},
		{"b://x", 0, "", transport.ErrPermanent},
	} {
		route := transport.Route{URI: tt.uri, Remote: tt.remote, Origin: "https://doc.example/"}
		r, err := b.Open(t.Context(), route, ocispec.Descriptor{}, 0, 0)
		if !errors.Is(err, tt.kind) || (err == nil) != (tt.kind == nil) {
			t.Errorf("%+v: %v", tt, err)
			continue
		}
		if err != nil {
			if tt.remote != 0 && !strings.Contains(err.Error(), "https://doc.example/") {
				t.Errorf("%v doesn't say who named it", err)
			}
			if _, err := b.Size(t.Context(), route, ocispec.Descriptor{}); !errors.Is(err, tt.kind) {
				t.Errorf("size: %v", err)
			}
			continue
		}
		if got, _ := io.ReadAll(r); string(got) != tt.want {
			t.Errorf("%+v: got %q", tt, got)
		}
	}
	if err := b.Check("file:///x"); err != nil {
		t.Error(err)
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func TestRemoteFloor(t *testing.T) {
	if f := transport.Remote(0).Floor(); f != netclass.Loopback {
		t.Errorf("what the user names is held to %v", f)
	}
	if f := transport.RemotePublic.Floor(); f != netclass.Public {
		t.Errorf("what documents name is held to %v", f)
	}
	for c := netclass.Loopback; c <= netclass.Public; c++ {
		if r := transport.RemoteIn(c); r == 0 || r.Floor() != c {
			t.Errorf("%v: %d, floor %v", c, r, r.Floor())
		}
	}
}
