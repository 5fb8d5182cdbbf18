package config

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestNamePolicy(t *testing.T) {
	m := newMachine(t)
	system := m.write(t, "etc/config.toml", `
[resolve]
freshness = "stale-ok"
stale-after = "700ms"
abd = ["/srv/abd.d"]
[name."*"]
policy = "first"
[name."registry.example"]
resolvers = ["mirrors", "registry"]
policy = "agree"
`)
	user := m.write(t, userFile, `
[name."registry.example/team/*"]
freshness = "pinned"
[name."registry.example/team/app"]
resolvers = ["registry"]
[name."registry.example/team/app*"]
resolvers = ["mirrors", "store"]
[name."parcel:example.com"]
resolvers = ["parcel"]
`)
	c := m.load(t)
	if c.Resolve.StaleAfter != 700*time.Millisecond || !slices.Equal(c.Resolve.ABD, []string{"/srv/abd.d"}) {
		t.Errorf("got %+v", c.Resolve)
	}
	for _, tt := range []struct {
		what, name, resolvers string
		agree                 bool
		freshness             string
	}{
		{"nothing but the usual", "docker.io/library/alpine:3", "", false, "stale-ok"},
		{"a host", "registry.example/other:1", "mirrors registry", true, "stale-ok"},
		{"a host that begins alike", "registry.example.com/app:1", "", false, "stale-ok"},
		{"each key from the longest that sets it", "registry.example/team/tool:1", "mirrors registry", true, "pinned"},
		{"with the star is less than without", "registry.example/team/app:1", "registry", true, "pinned"},
		{"a digest", "registry.example/team/app@sha256:00", "registry", true, "pinned"},
		{"the star goes on within a part", "registry.example/team/apple:1", "mirrors store", true, "pinned"},
		{"another kind of name", "parcel:example.com/app", "parcel", false, "stale-ok"},
	} {
		got := c.NamePolicy(tt.name)
		if strings.Join(got.Resolvers, " ") != tt.resolvers || got.Agree != tt.agree || got.Freshness != tt.freshness {
			t.Errorf("%s: %s: got %+v", tt.what, tt.name, got)
		}
	}
	from := c.NamePolicy("registry.example/team/app:1").From
	if from["resolvers"] != user+":5" || from["policy"] != system+":10" || from["freshness"] != user+":3" {
		t.Errorf("from %v", from)
	}
	for key, want := range map[string]string{
		`name."registry.example".policy`:           "agree from " + system + ":10",
		`name."registry.example".resolvers`:        "mirrors registry from " + system + ":9",
		`name."registry.example/team/*".freshness`: "pinned from " + user + ":3",
		"resolve.freshness":                        "stale-ok from " + system + ":3",
	} {
		if got := get(t, c, key); got != want {
			t.Errorf("%s: got %s, want %s", key, got, want)
		}
	}
	if err := c.Override("resolve.freshness", "fresh", "--freshness"); err != nil {
		t.Fatal(err)
	}
	if got := c.NamePolicy("registry.example/team/app:1"); got.Freshness != "fresh" || got.From["freshness"] != "--freshness" {
		t.Errorf("a flag goes for all names; got %+v", got)
	}
}

// A later file replaces what an earlier one says of the same pattern, key by
// key.
func TestNamePolicyMerged(t *testing.T) {
	m := newMachine(t)
	m.write(t, "etc/config.toml", "[name.x]\npolicy = 'agree'\nresolvers = ['registry', 'store']\n")
	m.write(t, userFile, "[name.x]\npolicy = 'first'\n")
	if got := m.load(t).NamePolicy("x/y"); got.Agree || len(got.Resolvers) != 2 {
		t.Errorf("got %+v", got)
	}
	if got := newMachine(t).load(t); len(got.Resolve.ABD) != 2 || got.From("resolve.abd") != "default" {
		t.Errorf("by default abd is configured in %q", got.Resolve.ABD)
	}
}

func TestNamePolicyRefused(t *testing.T) {
	for _, tt := range []struct{ what, text, says string }{
		{"unknown resolver", "[name.x]\nresolvers = ['registry', 'mirror']", `:2: name.x.resolvers: ["registry" "mirror"] is not a list of some of registry, mirrors, xdg, well-known, parcel, abd, appc, place, store, each once; did you mean "mirrors"?`},
		{"nothing like it", "[name.x]\nresolvers = ['frobnicate']", `store, each once`},
		{"none", "[name.x]\nresolvers = []", `is not a list of some of`},
		{"twice", "[name.x]\nresolvers = ['abd', 'abd']", `each once`},
		{"not a list", "[name.x]\nresolvers = 'registry'", `"registry" is not a list`},
		{"unknown policy", "[name.x]\npolicy = 'all'", `one of first, agree`},
		{"unknown freshness", "[name.x]\nfreshness = 'stale'", `one of fresh, stale-ok, pinned`},
		{"misspelt key", "[name.x]\nresolver = ['abd']", `did you mean resolvers?`},
		{"no pattern", "[name]\npolicy = 'first'", `not a table; write [name.policy]`},
		{"pattern without quotes", "[name.registry.example]\npolicy = 'first'", `write [name."registry.example"]`},
		{"star in the middle", "[name.'a*b']\npolicy = 'first'", `'*' can only stand at the end`},
		{"scheme", "[name.'docker://a']\npolicy = 'first'", `without docker://`},
		{"digest", "[name.'a@sha256:x']\npolicy = 'first'", `a digest says by itself`},
		{"empty", "[name.'']\npolicy = 'first'", `empty; write the beginning`},
		{"space", "[name.'a b']\npolicy = 'first'", `has a space`},
		{"misspelt section", "[names.x]\npolicy = 'first'", `did you mean [name."PATTERN"]?`},
	} {
		t.Run(tt.what, func(t *testing.T) {
			m := newMachine(t)
			m.write(t, userFile, tt.text)
			_, err := Load(m.options())
			if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %q", err, tt.says)
			}
		})
	}
}

// TestPatterns reads the patterns of spec/names.md.
func TestPatterns(t *testing.T) {
	content, err := os.ReadFile("../spec/vectors/names/policies.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Comment, Pattern, Name string
		Matches                bool
	}
	if err := json.Unmarshal(content, &vectors); err != nil || len(vectors) == 0 {
		t.Fatalf("%d vectors, %v", len(vectors), err)
	}
	for _, v := range vectors {
		if err := checkPattern(v.Pattern); err != nil {
			t.Errorf("%s: %v", v.Comment, err)
		}
		if got := matches(v.Pattern, v.Name); got != v.Matches {
			t.Errorf("%s: %s, %s: got %v", v.Comment, v.Pattern, v.Name, got)
		}
	}
}
