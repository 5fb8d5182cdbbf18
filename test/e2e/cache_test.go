package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/test/realserver"
)

// TestPullTwice pulls what is already there: one request, to ask whether the
// tag is still this digest, and nothing fetched.
func TestPullTwice(t *testing.T) {
	i := smallImage(t)
	registry := startRegistry(t, realserver.RegistryOptions{})
	i.push(t, registry.Host+"/app:1")
	proxy := startProxy(t, registry.Host, nil)
	name := proxy.Host + "/app:1"
	u := newUser(t)
	u.run("pull", name).exits(0)

	proxy.Reset()
	var doc pullDoc
	u.run("pull", "--json", name).exits(0).decode(&doc)
	if len(doc.Blobs) != len(i.digests(t)) {
		t.Errorf("%d blobs, want %d", len(doc.Blobs), len(i.digests(t)))
	}
	for _, b := range doc.Blobs {
		if b.Cached == nil || !*b.Cached || len(b.Sources) > 0 {
			t.Errorf("%s was fetched again: %+v", b.Digest, b)
		}
	}
	requests := proxy.Requests()
	if len(requests) != 1 || !strings.HasSuffix(requests[0].Path, "/manifests/1") {
		t.Errorf("requests %+v, want one for the tag", requests)
	}

	proxy.Reset()
	o := u.run("pull", "--offline", name).exits(0)
	if got := strings.TrimSpace(o.stdout); got != i.desc.Digest.String() {
		t.Errorf("offline: digest %q, want %s", got, i.desc.Digest)
	}
	if requests := proxy.Requests(); len(requests) != 0 {
		t.Errorf("offline: asked %+v", requests)
	}
}

// TestTagMoves pulls a tag again after it was moved.
func TestTagMoves(t *testing.T) {
	first, second := smallImage(t), randomImage(t, 1<<20)
	registry := startRegistry(t, realserver.RegistryOptions{})
	name := registry.Host + "/app:1"
	u := newUser(t)
	for _, i := range []*image{first, second} {
		i.push(t, name)
		o := u.run("pull", name).exits(0)
		if got := strings.TrimSpace(o.stdout); got != i.desc.Digest.String() {
			t.Errorf("digest %s, want %s", got, i.desc.Digest)
		}
	}
	o := u.run("pull", "--offline", name).exits(0)
	if got := strings.TrimSpace(o.stdout); got != second.desc.Digest.String() {
		t.Errorf("offline: digest %s, want the last one pulled, %s", got, second.desc.Digest)
	}
}

// TestOfflineWithoutIt asks for what isn't there, without the network.
func TestOfflineWithoutIt(t *testing.T) {
	i := smallImage(t)
	registry := startRegistry(t, realserver.RegistryOptions{})
	i.push(t, registry.Host+"/app:1")
	proxy := startProxy(t, registry.Host, nil)
	u := newUser(t)
	o := u.run("pull", "--offline", proxy.Host+"/app:1").exits(3)
	o.says("offline")
	if requests := proxy.Requests(); len(requests) != 0 {
		t.Errorf("asked %+v", requests)
	}
}

// TestStoreCommands lists, measures, removes and collects.
func TestStoreCommands(t *testing.T) {
	a, b := smallImage(t), randomImage(t, 1<<20)
	registry := startRegistry(t, realserver.RegistryOptions{})
	a.push(t, registry.Host+"/a:1")
	u := newUser(t)

	wantUsage := func(blobs int, bytes int64) {
		t.Helper()
		var df usageDoc
		u.run("df", "--json").exits(0).decode(&df)
		if df.Blobs == nil || df.Bytes == nil || df.Ingests == nil || df.IngestBytes == nil {
			t.Fatalf("df lacks a field: %+v", df)
		}
		if *df.Blobs != int64(blobs) || *df.Bytes != bytes || *df.Ingests != 0 || *df.IngestBytes != 0 {
			t.Errorf("df: %d blobs of %d bytes, %d ingests of %d; want %d of %d and none",
				*df.Blobs, *df.Bytes, *df.Ingests, *df.IngestBytes, blobs, bytes)
		}
	}
	list := func() []listedImage {
		t.Helper()
		var ls []listedImage
		o := u.run("ls", "--json").exits(0)
		o.decode(&ls)
		if ls == nil {
			t.Errorf("%s\nan empty list is [], not null", o)
		}
		return ls
	}

	if ls := list(); len(ls) != 0 {
		t.Errorf("a new store lists %+v", ls)
	}
	wantUsage(0, 0)

	u.run("pull", registry.Host+"/a:1").exits(0)
	u.run("pull", b.name()).exits(0)
	wantUsage(len(a.digests(t))+len(b.digests(t)), a.size(t)+b.size(t))
	ls := list()
	if len(ls) != 2 {
		t.Fatalf("ls: %+v, want two images", ls)
	}
	for _, l := range ls {
		want := a
		if l.Digest == b.desc.Digest {
			want = b
		}
		if l.Digest != want.desc.Digest || l.MediaType != want.desc.MediaType || l.Name == "" || l.ResolvedBy == nil || l.Time == "" {
			t.Errorf("ls: %+v is not %+v", l, want.desc)
		}
	}
	u.run("ls").exits(0)
	u.run("df").exits(0)

	u.run("gc").exits(0)
	wantUsage(len(a.digests(t))+len(b.digests(t)), a.size(t)+b.size(t))

	u.run("rm", registry.Host+"/a:1").exits(0)
	if ls := list(); len(ls) != 1 || ls[0].Digest != b.desc.Digest {
		t.Errorf("ls after rm: %+v", ls)
	}
	u.run("gc").exits(0)
	wantUsage(len(b.digests(t)), b.size(t))
	wantOnlyStored(t, u, b.digests(t)...)
	wantStored(t, u, b, b.digests(t)...)

	if o := u.run("rm", registry.Host+"/a:1"); o.code == 0 {
		t.Errorf("%s\nit was gone already", o)
	}
}

// TestExplain holds `explain` against the contract, for the last pull and for
// one by its id.
func TestExplain(t *testing.T) {
	i := smallImage(t)
	registry := startRegistry(t, realserver.RegistryOptions{})
	i.push(t, registry.Host+"/app:1")
	empty := t.TempDir()
	nginx := startNginx(t, empty, realserver.NginxOptions{})
	u := newUser(t)
	var pull pullDoc
	u.run("pull", "--json", "--from", nginx.URL+"/", registry.Host+"/app:1").exits(0).decode(&pull)
	var later pullDoc
	u.run("pull", "--json", randomImage(t, 1000).name()).exits(0).decode(&later)

	var last, first explainDoc
	u.run("explain", "--json").exits(0).decode(&last)
	if last.Pull != later.Pull {
		t.Errorf("explain tells of pull %q, the last was %q", last.Pull, later.Pull)
	}
	u.run("explain", "--json", pull.Pull).exits(0).decode(&first)
	if first.Pull != pull.Pull || first.Name != pull.Name || len(first.Events) == 0 {
		t.Errorf("explain %s: pull %q, name %q, %d events", pull.Pull, first.Pull, first.Name, len(first.Events))
	}
	var served int64
	for _, s := range first.Sources {
		var sum int64
		for _, r := range s.Ranges {
			sum += r.Length
		}
		if sum != s.Bytes {
			t.Errorf("%s: ranges add up to %d bytes, not %d", s.URI, sum, s.Bytes)
		}
		served += s.Bytes
		switch {
		case strings.Contains(s.URI, registry.Host):
			if s.Status != "used" || s.Origin == "" {
				t.Errorf("the registry: %+v", s)
			}
		case strings.Contains(s.URI, nginx.Host):
			if s.Status == "used" || s.Bytes != 0 {
				t.Errorf("the server that has nothing: %+v", s)
			}
		}
	}
	if asked, err := nginx.Accesses(); err != nil {
		t.Fatal(err)
	} else if len(asked) > 0 && !slices.ContainsFunc(first.Events, func(event json.RawMessage) bool {
		return strings.Contains(string(event), nginx.Host) && strings.Contains(string(event), "404")
	}) {
		t.Errorf("no event tells that %s answered 404: %s", nginx.Host, first.Events)
	}
	if served != i.size(t) {
		t.Errorf("all sources together served %d bytes of %d", served, i.size(t))
	}
	text := u.run("explain", pull.Pull).exits(0).stdout
	for _, host := range []string{registry.Host, nginx.Host} {
		if !strings.Contains(text, host) {
			t.Errorf("explain doesn't name %s:\n%s", host, text)
		}
	}
	if o := u.run("explain", "no-such-pull"); o.code == 0 {
		t.Errorf("%s\nthere is no such pull", o)
	}
}

// TestDefaultStore keeps things where XDG says.
func TestDefaultStore(t *testing.T) {
	i := randomImage(t, 1000)
	u := newUser(t)
	u.exec("pull", i.name()).exits(0)
	want := filepath.Join(u.home, ".local", "share", "waybill", "blobs", "sha256", i.desc.Digest.Encoded())
	if _, err := os.Stat(want); err != nil {
		t.Error(err)
	}
	other := t.TempDir()
	u.setenv("XDG_DATA_HOME", other)
	u.exec("pull", i.name()).exits(0)
	if _, err := os.Stat(filepath.Join(other, "waybill", "blobs", "sha256", i.desc.Digest.Encoded())); err != nil {
		t.Error(err)
	}
}
