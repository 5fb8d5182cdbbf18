package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/test/realserver"
)

// two are registries that know the same tag: the origin of the name, and a
// mirror of it in containers' own file.
func two(t *testing.T, u *user) (origin, mirror *realserver.Registry, name string) {
	t.Helper()
	origin, mirror = startRegistry(t, realserver.RegistryOptions{}), startRegistry(t, realserver.RegistryOptions{})
	u.file(".config/containers/registries.conf", fmt.Sprintf(`
[[registry]]
prefix = "%[1]s/team"
location = "%[1]s/team"
[[registry.mirror]]
location = "%[2]s/copies"
insecure = true
`, origin.Host, mirror.Host))
	return origin, mirror, origin.Host + "/team/app:1"
}

// policy writes the user's configuration, in place of what there is.
func (u *user) policy(text string, args ...any) string {
	u.t.Helper()
	return u.file(configFile, fmt.Sprintf(text, args...))
}

// TestNamesAgree: where all have to agree on a tag, two registries that say the
// same are two witnesses; where they don't, both answers are shown and nothing
// is pulled.
func TestNamesAgree(t *testing.T) {
	t.Parallel()
	i, other := smallImage(t), randomImage(t, 1000)
	u := newUser(t)
	origin, mirror, name := two(t, u)
	i.push(t, name)
	i.push(t, mirror.Host+"/copies/app:1")
	file := u.policy("[name.%q]\npolicy = 'agree'\n", origin.Host+"/team/*")

	var doc resolveDoc
	u.run("resolve", name, "--json").exits(0).decode(&doc)
	if doc.Descriptor.Digest != string(i.desc.Digest) || len(doc.By) != 2 ||
		!strings.Contains(doc.By[0].URI, mirror.Host+"/copies/app") || !strings.Contains(doc.By[1].URI, origin.Host+"/team/app") {
		t.Errorf("resolve says %+v", doc)
	}
	u.run("pull", name).exits(0)
	wantStored(t, u, i, i.digests(t)...)
	u.run("pull", name).exits(0) // both are asked by HEAD, and agree
	u.run("resolve", name, "--offline", "--json").exits(0).decode(&doc)
	if len(doc.By) != 2 || doc.By[0].Resolver != "store" || !strings.Contains(doc.By[1].URI, origin.Host) {
		t.Errorf("the record has lost a witness: %+v", doc.By)
	}
	shown := strings.Join(strings.Fields(u.exec("config").exits(0).stdout), " ")
	if want := fmt.Sprintf("name.%q.policy agree %s:2", origin.Host+"/team/*", file); !strings.Contains(shown, want) {
		t.Errorf("config doesn't show %s:\n%s", want, shown)
	}

	other.push(t, mirror.Host+"/copies/app:1")
	for _, command := range []string{"resolve", "pull"} {
		u.run(command, name).exits(5).says("no agreement", mirror.Host, string(other.desc.Digest), origin.Host, string(i.desc.Digest))
	}
	u.run("pull", origin.Host+"/team/app@"+string(i.desc.Digest)).exits(0) // a digest leaves nothing to agree on
	i.push(t, origin.Host+"/team/app:2")
	u.run("resolve", origin.Host+"/team/app:2").exits(5).says("doesn't know it", mirror.Host)
	u.run("resolve", origin.Host+"/team/app:3").exits(3)

	mirror.Stop()
	u.run("resolve", name).exits(1).says("not all can be asked", mirror.Host)

	u.policy("[name.%q]\npolicy = 'agree'\nresolvers = ['registry']\n", origin.Host)
	u.run("resolve", name).exits(5).says("only one to ask")
}

// TestNamesFirst: resolvers are asked in the order configured, and the first
// answer counts.
func TestNamesFirst(t *testing.T) {
	t.Parallel()
	i, other := smallImage(t), randomImage(t, 1000)
	u := newUser(t)
	origin, mirror, name := two(t, u)
	i.push(t, name)
	other.push(t, mirror.Host+"/copies/app:1")
	digest := func() string { return strings.TrimSpace(u.run("resolve", name).exits(0).stdout) }

	if got := digest(); got != string(other.desc.Digest) {
		t.Errorf("usually the mirror is asked first; got %s", got)
	}
	u.policy("[name.%q]\nresolvers = ['registry', 'mirrors']\n", origin.Host)
	if got := digest(); got != string(i.desc.Digest) {
		t.Errorf("the registry was to be asked first; got %s", got)
	}
	origin.Stop()
	if got := digest(); got != string(other.desc.Digest) {
		t.Errorf("the mirror was to stand in; got %s", got)
	}
	u.policy("[name.%q]\nresolvers = ['registry']\n", origin.Host)
	u.run("resolve", name).exits(1).says(origin.Host)

	u.policy("[name.%q]\nresolvers = ['parcel']\n", origin.Host)
	u.run("resolve", name).exits(2).says("config.toml:2", "none of the resolvers parcel", "mirrors, registry")
	u.policy("[name.%q]\nresolvers = ['mirrors']\n", origin.Host)
	u.run("resolve", origin.Host+"/elsewhere/app:1").exits(5).says("nobody to ask")
	u.policy("[name.'*']\nresolvers = ['regitsry']\n")
	u.run("resolve", name).exits(2).says("config.toml:2", `did you mean "registry"?`)
}

// TestStaleOK: with upstream stopped, the last known answer does where that is
// allowed, at once and with a warning. That a tag is gone is an answer.
func TestStaleOK(t *testing.T) {
	t.Parallel()
	i := smallImage(t)
	u := newUser(t)
	registry := startRegistry(t, realserver.RegistryOptions{})
	name := registry.Host + "/team/app:1"
	i.push(t, name)
	u.run("pull", name).exits(0)
	var before []struct{ Time string }
	u.run("ls", "--json").exits(0).decode(&before)
	registry.Stop()

	u.run("pull", name).exits(1).says(registry.Host)
	u.policy("[name.%q]\nfreshness = 'stale-ok'\n", registry.Host)
	// Nothing is asked twice: what waits for upstream would say so.
	u.run("pull", name).exits(0).says("warning", " old", registry.Host, string(i.desc.Digest)).never("asking again")
	u.run("resolve", name).exits(0).says(" old", registry.Host).never("asking again")
	u.run("bundle", name, filepath.Join(u.home, "bundle")).exits(0).never("asking again")
	u.run("pull", registry.Host+"/team/app:2").exits(1) // never seen
	var after []struct{ Time string }
	u.run("ls", "--json").exits(0).decode(&after)
	if len(after) != 1 || after[0].Time != before[0].Time {
		t.Errorf("the record of %v became %v: it must keep the date of the answer", before, after)
	}

	if err := registry.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	u.run("pull", name).exits(0).never(" old")
	peer(t, "skopeo", "delete", "--tls-verify=false", "docker://"+name)
	u.run("pull", name).exits(3)
}

// TestStaleOKSilence: an upstream that takes the connection and never says
// anything counts as down after the time that is configured.
func TestStaleOKSilence(t *testing.T) {
	t.Parallel()
	i := smallImage(t)
	u := newUser(t)
	registry := startRegistry(t, realserver.RegistryOptions{})
	name := registry.Host + "/team/app:1"
	i.push(t, name)
	u.run("pull", name).exits(0)
	if err := registry.Pause(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // before the registry is told to end
		if err := registry.Resume(); err != nil {
			t.Error(err)
		}
	})
	u.policy("[resolve]\nfreshness = 'stale-ok'\nstale-after = '300ms'\n")
	u.run("pull", name).exits(0).says("no answer in 300ms", " old").never("asking again")
}

// TestPinned: a tag that was seen stays what it was, and nobody is asked, until
// it is forgotten.
func TestPinned(t *testing.T) {
	t.Parallel()
	i, moved := smallImage(t), randomImage(t, 1000)
	u := newUser(t)
	registry := startRegistry(t, realserver.RegistryOptions{})
	name := registry.Host + "/team/app:1"
	u.policy("[name.%q]\nfreshness = 'pinned'\n", name)
	digest := func(args ...string) string {
		return strings.TrimSpace(u.run(append([]string{"pull", name}, args...)...).exits(0).stdout)
	}
	i.push(t, name)
	if got := digest(); got != string(i.desc.Digest) {
		t.Fatalf("pulled %s", got)
	}
	moved.push(t, name)
	if got := digest(); got != string(i.desc.Digest) {
		t.Errorf("the pin didn't hold: %s", got)
	}
	registry.Stop()
	if got := digest(); got != string(i.desc.Digest) {
		t.Errorf("with the registry stopped: %s", got)
	}
	if err := registry.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	u.run("rm", name).exits(0)
	if got := digest(); got != string(moved.desc.Digest) {
		t.Errorf("forgotten, and yet %s", got)
	}
}

// TestAgreeWithStore: with the store as a witness, a tag that moves is refused.
func TestAgreeWithStore(t *testing.T) {
	t.Parallel()
	i, moved := smallImage(t), randomImage(t, 1000)
	u := newUser(t)
	registry := startRegistry(t, realserver.RegistryOptions{})
	name := registry.Host + "/team/app:1"
	u.policy("[name.%q]\nresolvers = ['registry', 'store']\npolicy = 'agree'\n", registry.Host)
	i.push(t, name)
	u.run("pull", name).exits(0)
	u.run("pull", name).exits(0)
	moved.push(t, name)
	u.run("pull", name).exits(5).says("no agreement", string(i.desc.Digest), string(moved.desc.Digest), "(store, ")
	if _, err := os.Stat(u.blob(moved.desc.Digest)); err == nil {
		t.Error("what was refused is in the store")
	}
}
