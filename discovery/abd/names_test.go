package abd_test

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/discovery/abd"
	"github.com/waybill-project/waybill/discovery/follow"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/resolve"
	"github.com/waybill-project/waybill/test/webhosts"
	"github.com/waybill-project/waybill/transport"
)

// A strategy has failed when its mirrors give no image; then the next is asked.
// What the other mirrors of the same artefact are good for are hints.
func TestResolve(t *testing.T) {
	site := webhosts.Start(t, map[string]http.Handler{"coreos.com": webhosts.Files{
		"/.well-known/abd-index/com.coreos.etcd": `[{"name":"com.coreos.etcd","mirrors":
			["docker://gone.example/etcd:1","docker://quay.io/coreos/etcd:1","docker://other.example/etcd:1"]}]`,
	}})
	empty := t.TempDir()
	missing := abd.Config{File: "10.conf", Prefix: "*", Strategy: abd.StrategyLocal, StoragePath: empty}
	web := abd.Config{File: "20.conf", Prefix: "com.coreos*", Strategy: abd.StrategyHTTPSDNS}
	block := abd.Config{File: "30.conf", Prefix: "*", Strategy: abd.StrategyNoop}
	reg := webhosts.Tags{"quay.io/coreos/etcd:1": "etcd", "other.example/etcd:1": "etcd"}
	resolver := func(configs ...abd.Config) abd.Names {
		return abd.Names{
			Client: abd.New(abd.Options{Docs: site.Docs, Configs: configs}),
			Follow: follow.New(follow.Options{Docs: site.Docs, Registry: reg}),
		}
	}
	ask := func(r abd.Names, path string, d digest.Digest) (resolve.Resolution, error) {
		return r.Resolve(t.Context(), name.Name{Kind: name.ABD, Path: path, Digest: d}, ocispec.Descriptor{})
	}

	got, err := ask(resolver(missing, web, block), "com.coreos.etcd", "")
	if err != nil || got.Descriptor.Digest != digest.FromString("etcd") {
		t.Fatalf("got %+v, %v", got, err)
	}
	var said, hints []string
	for _, by := range got.By.All() {
		said = append(said, by.Resolver+" "+by.URI)
	}
	for _, l := range got.Hints {
		for r, err := range l.Locate(t.Context(), got.Descriptor) {
			if err != nil || r.Remote == 0 || r.Origin != "abd https://coreos.com/.well-known/abd-index/com.coreos.etcd" {
				t.Errorf("route %+v, %v", r, err)
			}
			hints = append(hints, r.URI)
		}
	}
	if !slices.Equal(said, []string{"abd https://coreos.com/.well-known/abd-index/com.coreos.etcd", "registry docker://quay.io/coreos/etcd:1"}) {
		t.Errorf("said by %q", said)
	}
	if !slices.Equal(hints, []string{"docker://quay.io/coreos/etcd", "docker://gone.example/etcd", "docker://other.example/etcd"}) {
		t.Errorf("hints %q", hints)
	}

	if _, err := ask(resolver(missing, web), "com.coreos.etcd", digest.FromString("another")); !errors.Is(err, resolve.ErrNotFound) {
		t.Errorf("with another digest: %v", err)
	}
	if _, err := ask(resolver(web, block), "com.coreos.fleet", ""); !errors.Is(err, abd.ErrBlocked) || !errors.Is(err, transport.ErrRefused) || !strings.Contains(err.Error(), "30.conf") {
		t.Errorf("blocked: %v", err)
	}
	if _, err := ask(resolver(web), "com..coreos", ""); err == nil {
		t.Error("a name that is none was looked for")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := resolver(web).Resolve(ctx, name.Name{Kind: name.ABD, Path: "com.coreos.etcd"}, ocispec.Descriptor{}); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
}

// Files of several directories are in the order of their names; the first
// directory's replaces another's of the same name.
func TestReadConfigsOfSeveral(t *testing.T) {
	mine, system := t.TempDir(), t.TempDir()
	write(t, filepath.Join(mine, "20.conf"), `{"prefix": "mine", "strategy": "io.abd.noop"}`)
	write(t, filepath.Join(system, "10.conf"), `{"prefix": "system", "strategy": "io.abd.noop"}`)
	write(t, filepath.Join(system, "20.conf"), `{"prefix": "replaced", "strategy": "io.abd.noop"}`)
	write(t, filepath.Join(system, "30.conf"), `{"prefix": "last", "strategy": "io.abd.noop"}`)
	configs, err := abd.ReadConfigs(mine, system)
	var got []string
	for _, c := range configs {
		got = append(got, c.Prefix)
	}
	if err != nil || !slices.Equal(got, []string{"system", "mine", "last"}) {
		t.Errorf("got %q, %v", got, err)
	}
}
