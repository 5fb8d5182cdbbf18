package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/test/realserver"
)

// story is what explain tells of the last pull.
type story struct {
	By struct {
		Resolver string
		Also     []struct{ Resolver, URI, Time string }
	}
	Sources []explainedSource
	Events  []struct{ Type, Source, Detail string }
}

func (u *user) story() (s story) {
	u.t.Helper()
	u.run("explain", "--json").exits(0).decode(&s)
	return s
}

// tells fails the test unless there is such an event, with all those texts.
func (s story) tells(t *testing.T, event string, texts ...string) {
	t.Helper()
	for _, e := range s.Events {
		if e.Type == event && !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(e.Source+" "+e.Detail, text) }) {
			return
		}
	}
	t.Errorf("no event %q with %q: %+v", event, texts, s.Events)
}

// TestStoryOfAPublishedName: of a pull by a host-based name, explain tells which
// documents were read, and who named whom; a pull where all went well says
// nothing of it.
func TestStoryOfAPublishedName(t *testing.T) {
	t.Parallel()
	i := smallImage(t)
	u := newUser(t)
	published(t, u, i)
	const document, index = "https://waybill.test/.well-known/oci-host-ref-engines", "https://waybill.test/ref/team/image"
	u.run("pull", "waybill.test/team/image#app").exits(0).never("warning", "ignored", "missing")
	s := u.story()
	s.tells(t, "document", document, "read: 1 ref engines and 1 CAS engines")
	s.tells(t, "document", index, "read: an index of 1 entries")
	s.tells(t, "resolved", index, "by oci-discovery")
	s.tells(t, "found", "https://waybill.test/blobs/", "named by oci-discovery "+document, "priority 0")
	s.tells(t, "found", "https://waybill.test/.well-known/ni/", "priority 1000")
	for _, source := range s.Sources {
		if source.Status == "unused" && source.Reason == "" {
			t.Errorf("it isn't said why %s was unused", source.URI)
		}
	}
	told := strings.Join(strings.Fields(u.run("explain").exits(0).stdout), " ")
	for _, want := range []string{"resolved by " + index + " (oci-discovery) at ", document + " read: 1 ref engines", index + " name 0 - unused said what the name means"} {
		if !strings.Contains(told, want) {
			t.Errorf("explain doesn't say %q:\n%s", want, told)
		}
	}

	// A document may not lead to files of this machine.
	v := newUser(t)
	site := startSite(t, v)
	site.putLayout(i, "")
	site.put(".well-known/oci-host-ref-engines", `{"refEngines": [{"protocol": "oci-index-template-v1", "uri": "/index.json"}],
		"casEngines": [{"protocol": "oci-cas-template-v1", "uri": "file:///etc/{encoded}"}, {"protocol": "oci-cas-template-v1", "uri": "/blobs/{algorithm}/{encoded}"}]}`)
	v.run("pull", "waybill.test/image#app").exits(0).says("ignored", "file").never("warning")
	v.story().tells(t, "ignored", document, "file")
}

// TestStoryOfWitnesses: explain names all who said what a name means, who had no
// answer, and whose answer of old stood in.
func TestStoryOfWitnesses(t *testing.T) {
	t.Parallel()
	i := smallImage(t)
	u := newUser(t)
	origin, mirror, name := two(t, u)
	i.push(t, name)
	i.push(t, mirror.Host+"/copies/app:1")
	u.policy("[name.%q]\npolicy = 'agree'\n", origin.Host)
	u.run("pull", name).exits(0)
	s := u.story()
	if len(s.By.Also) != 1 || s.By.Also[0].Resolver != "registry" || !strings.Contains(s.By.Also[0].URI, origin.Host) || s.By.Also[0].Time == "" {
		t.Errorf("the witnesses are %+v", s.By)
	}
	s.tells(t, "resolved", mirror.Host, "by registry")
	s.tells(t, "resolved", origin.Host, "by registry")
	u.run("explain").exits(0)
	told := strings.Join(strings.Fields(u.run("explain").exits(0).stdout), " ")
	if !strings.Contains(told, " and docker://"+origin.Host+"/team/app (registry) at ") {
		t.Errorf("explain doesn't name the second witness:\n%s", told)
	}

	u.policy("")
	mirror.Stop()
	u.run("pull", name).exits(0).says("unanswered", mirror.Host)
	u.story().tells(t, "unanswered", mirror.Host, "refused")

	u.policy("[resolve]\nfreshness = 'stale-ok'\n")
	origin.Stop()
	u.run("pull", name).exits(0)
	s = u.story()
	s.tells(t, "warning", "nobody can be asked", " old")
	s.tells(t, "resolved", "by store, on an answer of ")
	if told := u.run("explain").exits(0).stdout; !strings.Contains(told, "resolved by the store: docker://"+origin.Host+"/team/app said so at ") {
		t.Errorf("explain doesn't say that the answer is the store's:\n%s", told)
	}
}

// TestStoryOfTheOtherCommands: what was read is no warning to them either.
func TestStoryOfTheOtherCommands(t *testing.T) {
	t.Parallel()
	i := smallImage(t)
	u := newUser(t)
	published(t, u, i)
	const name = "waybill.test/team/image#app"
	u.run("resolve", name).exits(0).never("warning", "read:")
	u.run("resolve", "-v", name).exits(0).says("read: 1 ref engines and 1 CAS engines").never("warning")
	u.run("locate", name).exits(0).never("warning", "read:")

	v := newUser(t)
	registry := startRegistry(t, realserver.RegistryOptions{})
	i.push(t, registry.Host+"/team/app:1")
	v.run("pull", registry.Host+"/team/app:1").exits(0).never("warning", "absent", "document")
	if told := v.run("explain").exits(0).stdout; strings.Contains(told, "ASKED") {
		t.Errorf("there is nothing to tell of how a plain name was resolved:\n%s", told)
	}
}
