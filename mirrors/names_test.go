package mirrors_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/mirrors"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/transport"
)

// asked is a client of registries that have nothing, and keeps who was asked.
type asked struct{ uris []string }

func (a *asked) GetAt(_ context.Context, uri, _ string) (ocispec.Descriptor, []byte, error) {
	a.uris = append(a.uris, uri)
	return ocispec.Descriptor{}, nil, transport.Errorf(transport.ErrNotFound, uri, "nothing here")
}

func (a *asked) HeadAt(ctx context.Context, uri, reference string) (ocispec.Descriptor, error) {
	desc, _, err := a.GetAt(ctx, uri, reference)
	return desc, err
}

// TestNamesAskWhoMayAnswer: what a mirror may be asked is limited for tags, and
// for digests.
func TestNamesAskWhoMayAnswer(t *testing.T) {
	m := newMachine(t, map[string]string{
		"etc/containers/registries.conf": "[[registry]]\nprefix = \"app.example\"\nlocation = \"origin.example\"\n" +
			"[[registry.mirror]]\nlocation = \"digests.example\"\npull-from-mirror = \"digest-only\"\n" +
			"[[registry.mirror]]\nlocation = \"tags.example\"\npull-from-mirror = \"tag-only\"\n",
		"etc/containerd/certs.d/app.example/hosts.toml": "[host.\"https://pull.example\"]\ncapabilities = [\"pull\"]\n" +
			"[host.\"https://resolve.example\"]\ncapabilities = [\"resolve\"]\n",
	})
	c := m.load(t)
	for in, want := range map[string][]string{
		"app.example/x:1": {"tags", "resolve", "origin"},
		"app.example/x@sha256:" + strings.Repeat("a", 64): {"digests", "pull", "origin"},
	} {
		n, err := name.Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		var client asked
		if _, err := (mirrors.Names{Config: c, Client: &client}).Resolve(t.Context(), n, ocispec.Descriptor{}); err == nil {
			t.Errorf("%s: resolved by registries that have nothing", in)
		}
		var got []string
		for _, uri := range client.uris {
			host, _, _ := strings.Cut(strings.TrimPrefix(uri, "docker://"), ".")
			if !slices.Contains(got, host) {
				got = append(got, host)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: asked %q, want %q", in, got, want)
		}
	}
}
