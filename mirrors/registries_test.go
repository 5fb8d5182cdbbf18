package mirrors_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/mirrors"
)

const registriesConf = "etc/containers/registries.conf"

// documentedRegistries is the example of containers-registries.conf(5).
const documentedRegistries = `unqualified-search-registries = ["example.com"]

[[registry]]
prefix = "example.com/foo"
insecure = false
blocked = false
location = "internal-registry-for-example.com/bar"

[[registry.mirror]]
location = "example-mirror-0.local/mirror-for-foo"

[[registry.mirror]]
location = "example-mirror-1.local/mirrors/foo"
insecure = true

[[registry]]
location = "registry.com"

[[registry.mirror]]
location = "mirror.registry.com"
`

func TestDocumentedRegistries(t *testing.T) {
	m := newMachine(t, map[string]string{registriesConf: documentedRegistries})
	c := m.load(t)
	const from = " containers " + registriesConf
	m.checkPlan(t, c, "example.com/foo/image",
		"docker://example-mirror-0.local/mirror-for-foo/image mirror"+from+":9",
		"docker://example-mirror-1.local/mirrors/foo/image?insecure=true&plain-http=allowed mirror"+from+":12",
		"docker://internal-registry-for-example.com/bar/image"+from+":3")
	m.checkPlan(t, c, "registry.com/image",
		"docker://mirror.registry.com/image mirror"+from+":19", "docker://registry.com/image"+from+":16")
	m.checkPlan(t, c, "example.com/foobar/image", "docker://example.com/foobar/image")
	if got := slices.Collect(c.Search()); len(got) != 1 || got[0].Host != "example.com" || m.short(got[0].From) != registriesConf+":1" {
		t.Errorf("search %v", got)
	}
}

// TestRewriting has the cases of containers/image (TestRewriteReferenceSuccess).
func TestRewriting(t *testing.T) {
	tests := []struct{ name, prefix, location, want string }{
		{"example.com/image", "example.com", "example.com", "example.com/image"},
		{"example.com:5000/image", "example.com:5000", "example.com:5000", "example.com:5000/image"},
		{"example.com/foo/image", "example.com/foo", "example.com", "example.com/image"},
		{"example.com/foo/image", "example.com/foo", "example.com/path", "example.com/path/image"},
		{"example.com/foo/image", "example.com/foo/", "example.com/path/", "example.com/path/image"},
		{"docker.io/library/image", "docker.io", "docker.io", "docker.io/library/image"},
		{"docker.io/library/image", "docker.io/library", "example.com", "example.com/image"},
		{"docker.io/library/image", "docker.io", "example.com", "example.com/library/image"},
		{"docker.io/library/image", "registry-1.docker.io", "example.com", "example.com/library/image"},
		{"docker.io/library/prefix/image", "docker.io/library/prefix", "example.com", "example.com/image"},
		{"docker.io/namespace/image", "*.io", "example.com", "example.com/namespace/image"},
		{"sub.example.io/library/prefix/image", "*.example.io", "example.com", "example.com/library/prefix/image"},
		{"another.sub.example.io:5000/library/image", "*.sub.example.io", "example.com", "example.com:5000/library/image"},
		{"foo.bar.io/ns1/ns2/ns3/ns4", "*.bar.io", "omg.bbq.com/roflmao", "omg.bbq.com/roflmao/ns1/ns2/ns3/ns4"},
		{"abc.internal.registry.com/foo", "*.internal.registry.com", "", "abc.internal.registry.com/foo"},
		{"alien.vs.predator.foobar.io:5000/omg", "*.foobar.io", "", "alien.vs.predator.foobar.io:5000/omg"},
		// Not as documented, but as in all the tools.
		{"example.com:5000/image", "example.com", "example.com", "example.com:5000/image"},
		// And what doesn't match.
		{"example.com/foobar", "example.com/foo", "other.example", ""},
		{"example.community/foo", "example.com", "other.example", ""},
		{"example.io/image", "*.example.io", "other.example", ""},
		{"a.example.io.evil.org/image", "*.example.io", "other.example", ""},
		{"evil.org/a.example.io", "*.example.io", "other.example", ""},
		{"docker.io/library/image", "docker.io/image", "other.example", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name+" "+tt.prefix, func(t *testing.T) {
			text := "[[registry]]\nprefix = \"" + tt.prefix + "\"\n"
			if tt.location != "" {
				text += "location = \"" + tt.location + "\"\n"
			}
			m := newMachine(t, map[string]string{registriesConf: text})
			want := "docker://" + tt.want + " containers " + registriesConf + ":1"
			if tt.want == "" {
				want = "docker://" + tt.name
			}
			m.checkPlan(t, m.load(t), tt.name, want)
		})
	}
}

func TestRewritingToWhatIsNoName(t *testing.T) {
	for _, tt := range []struct{ name, prefix, location string }{
		{"example.com:5000/image", "example.com", "example.com:5000"},
		{"example.com/foo", "example.com/foo", "example.com"},
		{"example.com/foo/image", "example.com", "example.com//path"},
		{"example.com/foo", "example.com", "mirror"},
		{"example.com/foo", "example.com", "mirror.example/UPPER"},
	} {
		m := newMachine(t, map[string]string{registriesConf: "\n[[registry]]\nprefix = \"" + tt.prefix + "\"\nlocation = \"" + tt.location + "\"\n"})
		host, repository, _ := strings.Cut(tt.name, "/")
		p, err := m.load(t).For(host, repository)
		if err == nil || !strings.HasPrefix(m.short(err.Error()), registriesConf+":2: ") {
			t.Errorf("%s with location %s: %+v, %v", tt.name, tt.location, p, err)
		}
	}
}

// TestPullFromMirror has the cases of containers/image
// (TestPullSourcesFromReference).
func TestPullFromMirror(t *testing.T) {
	const text = `[[registry]]
location = "b.com"
mirror-by-digest-only = true
[[registry.mirror]]
location = "m1.b.com"
[[registry]]
location = "g.com"
[[registry.mirror]]
pull-from-mirror = "digest-only"
location = "m1.g.com"
[[registry.mirror]]
pull-from-mirror = "tag-only"
location = "m2.g.com"
[[registry.mirror]]
location = "m3.g.com"
[[registry.mirror]]
pull-from-mirror = "all"
location = "m4.g.com"
`
	m := newMachine(t, map[string]string{registriesConf: text})
	c := m.load(t)
	const from = " containers " + registriesConf
	m.checkPlan(t, c, "b.com/x", "docker://m1.b.com/x mirror digest-only"+from+":4", "docker://b.com/x"+from+":1")
	m.checkPlan(t, c, "g.com/x", "docker://m1.g.com/x mirror digest-only"+from+":8", "docker://m2.g.com/x mirror tag-only"+from+":11",
		"docker://m3.g.com/x mirror"+from+":14", "docker://m4.g.com/x mirror"+from+":16", "docker://g.com/x"+from+":6")
}

// TestLongestPrefix has cases of containers/image (TestFindRegistry).
func TestLongestPrefix(t *testing.T) {
	const text = `[[registry]]
location = "l1.example"
prefix = "simple-prefix.com"
[[registry]]
location = "l2.example"
prefix = "complex-prefix.com:4000/with/path"
[[registry]]
location = "no-prefix.com"
[[registry]]
location = "l4.example"
prefix = "*.so.simple-prefix.com"
[[registry]]
location = "l5.example"
prefix = "*.simple-prefix.com"
[[registry]]
location = "l6.example"
prefix = "a.simple-prefix.com"
[[registry]]
location = "l7.example"
prefix = "a.simple-prefix.com/team"
[[registry]]
location = "l8.example"
prefix = "simple-prefix.com"
`
	m := newMachine(t, map[string]string{registriesConf: text})
	c := m.load(t)
	for name, want := range map[string]string{
		"simple-prefix.com/x":                     "l1.example/x",
		"complex-prefix.com:4000/with/path/x":     "l2.example/x",
		"complex-prefix.com:4000/with/x":          "complex-prefix.com:4000/with/x",
		"complex-prefix.com/with/path/x":          "complex-prefix.com/with/path/x",
		"no-prefix.com/x":                         "no-prefix.com/x",
		"b.so.simple-prefix.com/x":                "l4.example/x",
		"not.so.simple-prefix.com/x":              "l4.example/x",
		"so.simple-prefix.com/x":                  "l5.example/x",
		"not.quite.simple-prefix.com/with/path/x": "l5.example/with/path/x",
		// As long as *.simple-prefix.com, and behind it.
		"a.simple-prefix.com/x":      "l5.example/x",
		"a.simple-prefix.com/team/x": "l7.example/x",
	} {
		if got := m.plan(t, c, name); len(got) != 1 || !strings.HasPrefix(got[0]+" ", "docker://"+want+" ") {
			t.Errorf("%s: %q, want %s", name, got, want)
		}
	}
	if len(m.notes) != 1 || !strings.Contains(m.notes[0].Text, "same prefix") || m.short(m.notes[0].Where) != registriesConf+":21" {
		t.Errorf("notes %v, want one of the second simple-prefix.com", m.notes)
	}
}

func TestBlockedAndInsecure(t *testing.T) {
	m := newMachine(t, map[string]string{registriesConf: `[[registry]]
location = "bad.example"
blocked = true
[[registry]]
location = "bad.example/but/this"
blocked = false
[[registry]]
location = "index.docker.io"
blocked = true
[[registry]]
location = "old.example:5000"
insecure = true
`})
	c := m.load(t)
	m.checkPlan(t, c, "bad.example/x", "blocked by "+registriesConf+":1")
	m.checkPlan(t, c, "bad.example/but/this/x", "docker://bad.example/but/this/x containers "+registriesConf+":4")
	for _, host := range []string{"docker.io", "index.docker.io", "registry-1.docker.io"} {
		m.checkPlan(t, c, host+"/alpine", "blocked by "+registriesConf+":7")
	}
	m.checkPlan(t, c, "old.example:5000/x", "docker://old.example:5000/x?insecure=true&plain-http=allowed containers "+registriesConf+":10")
}

// TestFilesOfRegistries: which files are read, and which of two counts
// (containers-registries.conf.d(5)).
func TestFilesOfRegistries(t *testing.T) {
	const (
		system, systemD = "etc/containers/registries.conf", "etc/containers/registries.conf.d/"
		user, userD     = "home/.config/containers/registries.conf", "home/.config/containers/registries.conf.d/"
	)
	to := func(location string) string {
		return "[[registry]]\nprefix = \"x.example\"\nlocation = \"" + location + ".example\"\n"
	}
	tests := []struct {
		name  string
		files map[string]string
		env   string
		want  string
	}{
		{"system", map[string]string{system: to("system")}, "", "system"},
		{"drop-in", map[string]string{system: to("system"), systemD + "a.conf": to("a"), systemD + "b.conf": to("b")}, "", "b"},
		{"not a drop-in", map[string]string{system: to("system"), systemD + "a.conf.bak": to("a"), systemD + "b.conf/c.conf": to("c")}, "", "system"},
		{"drop-in alone", map[string]string{systemD + "a.conf": to("a")}, "", "a"},
		{"user's drop-in", map[string]string{systemD + "z.conf": to("z"), userD + "a.conf": to("a")}, "", "a"},
		{"user's file", map[string]string{system: to("system"), systemD + "z.conf": to("z"), user: to("user")}, "", "user"},
		{"user's file and drop-in", map[string]string{systemD + "z.conf": to("z"), user: to("user"), userD + "a.conf": to("a")}, "", "a"},
		{"user's empty file", map[string]string{system: to("system"), systemD + "z.conf": to("z"), user: ""}, "", "x"},
		{"environment", map[string]string{system: to("system"), user: to("user"), "named": to("named")}, "named", "named"},
		{"environment and drop-ins", map[string]string{"named": to("named"), systemD + "a.conf": to("a"), userD + "b.conf": to("b")}, "named", "b"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t, tt.files)
			if tt.env != "" {
				m.env["CONTAINERS_REGISTRIES_CONF"] = filepath.Join(m.dir, tt.env)
			}
			got := m.plan(t, m.load(t), "x.example/i")
			if len(got) != 1 || !strings.HasPrefix(got[0]+" ", "docker://"+tt.want+".example/i ") {
				t.Errorf("got %q, want %s", got, tt.want)
			}
		})
	}
}

func TestDropInsOverride(t *testing.T) {
	m := newMachine(t, map[string]string{
		registriesConf:               "unqualified-search-registries = [\"a.example\", \"b.example:5000\"]\nshort-name-mode = \"enforcing\"\n[[registry]]\nlocation = \"x.example\"\n[[registry.mirror]]\nlocation = \"m.example\"\n[aliases]\none = \"a.example/one\"\ntwo = \"docker.io/two\"\n\"team/three\" = \"localhost/three\"\n",
		registriesConf + ".d/a.conf": "short-name-mode = \"disabled\"\n[[registry]]\nlocation = \"y.example\"\n[aliases]\none = \"\"\ntwo = \"b.example:5000/2\"\n",
		registriesConf + ".d/b.conf": "[[registry]]\nlocation = \"x.example\"\n",
	})
	c := m.load(t)
	// The whole table is overridden, mirrors too.
	m.checkPlan(t, c, "x.example/i", "docker://x.example/i containers "+registriesConf+".d/b.conf:1")
	if got := slices.Collect(c.Search()); len(got) != 2 || got[1].Host != "b.example:5000" {
		t.Errorf("search %v", got)
	}
	if c.ShortNameMode() != mirrors.Disabled {
		t.Errorf("mode %q", c.ShortNameMode())
	}
	for name, want := range map[string]mirrors.Alias{
		"one": {}, "four": {},
		"two":        {Name: "b.example:5000/2", From: registriesConf + ".d/a.conf:6"},
		"team/three": {Name: "localhost/three", From: registriesConf + ":10"},
	} {
		got, ok := c.Alias(name)
		if got.From = m.short(got.From); ok != (want.Name != "") || ok && got != want {
			t.Errorf("alias %s is %+v, %v; want %+v", name, got, ok, want)
		}
	}
	m.write(t, registriesConf+".d/c.conf", "unqualified-search-registries = []")
	if got := slices.Collect(m.load(t).Search()); len(got) != 0 {
		t.Errorf("an empty list leaves %v", got)
	}
}

func TestMalformedRegistries(t *testing.T) {
	testErrors(t, registriesConf, []errorTest{
		{"not TOML", "\n[[registry]", ":2", "not valid TOML"},
		{"not UTF-8", "a = 1\n\xff", ":2", "not UTF-8"},
		{"version 1", "\n[registries.search]\nregistries = [\"docker.io\"]", ":2", "version 1 of the format is not read"},
		{"registry is a table", "[registry]\nlocation = \"a\"", ":1", "want a list of tables"},
		{"empty registry", "\n[[registry]]\n", ":2", "neither prefix nor location"},
		{"prefix alone", "[[registry]]\nprefix = \"a.example\"", ":2", "needs a location"},
		{"location is a number", "[[registry]]\nlocation = 1", ":2", "location: is a number, want a string"},
		{"location with a scheme", "[[registry]]\nlocation = \"https://a\"", ":2", "has a scheme"},
		{"prefix with a scheme", "[[registry]]\nlocation = \"a\"\nprefix = \"http://a\"", ":3", "has a scheme"},
		{"wildcard with a path", "[[registry]]\nlocation = \"a\"\nprefix = \"*.example.com/foo\"", ":3", "want *.HOST"},
		{"wildcard with a port", "[[registry]]\nlocation = \"a\"\nprefix = \"*.example.com:5000\"", ":3", "want *.HOST"},
		{"insecure is a string", "[[registry]]\nlocation = \"a\"\ninsecure = \"true\"", ":3", "want true or false"},
		{"blocked is a date", "[[registry]]\nlocation = \"a\"\nblocked = 2020-01-01", ":3", "is a date or time, want true or false"},
		{"pull-from-mirror of a registry", "[[registry]]\nlocation = \"a\"\npull-from-mirror = \"all\"", ":3", "for [[registry.mirror]] only"},
		{"mirror without location", "[[registry]]\nlocation = \"a\"\n[[registry.mirror]]\ninsecure = true", ":3", "has no location"},
		{"second mirror of second registry", "[[registry]]\nlocation = \"a\"\n[[registry.mirror]]\nlocation = \"b\"\n[[registry]]\nlocation = \"c\"\n[[registry.mirror]]\nlocation = \"d\"\n[[registry.mirror]]\n\nlocation = 1", ":11", "want a string"},
		{"pull-from-mirror", "[[registry]]\nlocation = \"a\"\n[[registry.mirror]]\nlocation = \"b\"\npull-from-mirror = \"some\"", ":5", `is "some", want all, digest-only or tag-only`},
		{"both limits", "[[registry]]\nlocation = \"a\"\nmirror-by-digest-only = true\n[[registry.mirror]]\nlocation = \"b\"\npull-from-mirror = \"all\"", ":6", "beside mirror-by-digest-only"},
		{"contradicting insecure", "[[registry]]\nlocation = \"a.example\"\n[[registry]]\nprefix = \"b.example\"\nlocation = \"a.example\"\ninsecure = true", ":3", "insecure is set otherwise"},
		{"contradicting blocked", "[[registry]]\nlocation = \"a.example\"\n[[registry]]\nprefix = \"b.example\"\nlocation = \"a.example\"\nblocked = true", ":3", "blocked is set otherwise"},
		{"search with a path", "unqualified-search-registries = [\"a.example/b\"]", ":1", `"a.example/b" is not HOST[:PORT]`},
		{"search is a string", "unqualified-search-registries = \"a.example\"", ":1", "want a list of strings"},
		{"mode", "short-name-mode = \"maybe\"", ":1", `is "maybe", want enforcing, permissive or disabled`},
		{"alias with a tag", "[aliases]\n\"a:1\" = \"b.example/a\"", ":2", "is not a name without"},
		{"alias with a registry", "[aliases]\n\"b.example/a\" = \"b.example/a\"", ":2", "is not a name without"},
		{"alias to a tag", "[aliases]\na = \"b.example/a:1\"", ":2", "stands for"},
		{"alias to a digest", "[aliases]\na = \"b.example/a@sha256:" + strings.Repeat("a", 64) + "\"", ":2", "stands for"},
		{"alias to a short name", "[aliases]\na = \"team/a\"", ":2", "stands for"},
		{"alias to a number", "[aliases]\na = 1", ":2", "want a string"},
	})
}
