package config

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// nameSection is the section with a table for each pattern of names.
const nameSection = "name"

// The keys of a pattern of names.
const (
	nameResolvers = "resolvers"
	namePolicy    = "policy"
	nameFreshness = "freshness"
)

// nameKeys are the keys of a pattern, in the order they are shown.
var nameKeys = []string{nameResolvers, namePolicy, nameFreshness}

// The words that the keys about names take.
var (
	policies    = []string{"first", "agree"}
	freshnesses = []string{"fresh", "stale-ok", "pinned"}
	resolvers   = []string{"registry", "mirrors", "xdg", "well-known", "parcel", "abd", "appc", "place", "store"}
)

// NamePolicy is how names are resolved.
type NamePolicy struct {
	// Resolvers are who is asked, in order; nil means the usual ones.
	Resolvers []string
	// Agree says that all of them have to give the same answer; otherwise the
	// first one's counts.
	Agree bool
	// Freshness is fresh, stale-ok or pinned.
	Freshness string
	// From says where each of the keys resolvers, policy and freshness has its
	// value from, as [Config.From].
	From map[string]string
}

// NamePolicy returns how a name is resolved, given in the form that package
// name writes. Of the patterns that match, each key has its value from the
// longest one that sets it. What [Config.Override] was told of
// resolve.freshness goes for all names.
func (c *Config) NamePolicy(name string) NamePolicy {
	p := NamePolicy{Freshness: c.Resolve.Freshness, From: map[string]string{
		nameResolvers: "default", namePolicy: "default", nameFreshness: c.From("resolve.freshness"),
	}}
	for _, pattern := range c.sortedPatterns() { // longest last
		if !matches(pattern, name) {
			continue
		}
		set := c.names[pattern]
		for _, key := range nameKeys {
			from, ok := c.from[toml.Key{nameSection, pattern, key}.String()]
			if !ok {
				continue
			}
			switch key {
			case nameResolvers:
				p.Resolvers = slices.Clone(set.resolvers)
			case namePolicy:
				p.Agree = set.policy == "agree"
			case nameFreshness:
				if c.overridden["resolve.freshness"] {
					continue
				}
				p.Freshness = set.freshness
			}
			p.From[key] = from
		}
	}
	return p
}

// matches reports whether a pattern is for a name: it is the name, or what the
// name goes on after with a "/", ":", "#", "," or "@"; or it ends in "*" and the
// name begins with the rest.
func matches(pattern, name string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(name, prefix)
	}
	rest, ok := strings.CutPrefix(name, pattern)
	return ok && (rest == "" || strings.ContainsRune("/:#,@", rune(rest[0])))
}

// nameTable is what is set for a pattern; zero values are not set.
type nameTable struct {
	resolvers         []string
	policy, freshness string
}

// lookupName finds the value of a key in the names' section.
func (c *Config) lookupName(key toml.Key) (bound, error) {
	if len(key) != 3 {
		return bound{}, fmt.Errorf(`not a key of a name; write [name."PATTERN"] and below it %s`, strings.Join(nameKeys, ", "))
	}
	if err := checkPattern(key[1]); err != nil {
		return bound{}, err
	}
	if !slices.Contains(nameKeys, key[2]) {
		return bound{}, unknownKey(key)
	}
	t := c.names[key[1]]
	if t == nil {
		t = &nameTable{}
		c.names[key[1]] = t
	}
	return bound{key.String(), t.value(key[2])}, nil
}

// value returns the value of one of nameKeys.
func (t *nameTable) value(key string) value {
	switch key {
	case nameResolvers:
		return choice{&t.resolvers, resolvers}
	case namePolicy:
		return word{&t.policy, policies}
	}
	return word{&t.freshness, freshnesses}
}

// sortedPatterns returns the patterns of names, shorter ones first.
func (c *Config) sortedPatterns() []string {
	all := make([]string, 0, len(c.names))
	for p := range c.names {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b string) int { return cmp.Or(cmp.Compare(length(a), length(b)), cmp.Compare(a, b)) })
	return all
}

// length is how specific a pattern is. One without "*" is more so than the same
// with it.
func length(pattern string) int {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return 2 * len(prefix)
	}
	return 2*len(pattern) + 1
}

// nameValues returns the values of the patterns of names, as they are shown.
func (c *Config) nameValues() []Value {
	var all []Value
	for _, pattern := range c.sortedPatterns() {
		for _, name := range nameKeys {
			key := toml.Key{nameSection, pattern, name}.String()
			if from, ok := c.from[key]; ok {
				all = append(all, Value{key, c.names[pattern].value(name).String(), from})
			}
		}
	}
	return all
}

// checkPattern says why s can't be a pattern of names.
func checkPattern(s string) error {
	bad := func(why string) error {
		return errors.New(why + "; write the beginning of names, such as registry.example/team or registry.example/*")
	}
	switch {
	case s == "":
		return bad("empty")
	case len(s) > 1024:
		return bad("longer than 1024 bytes")
	case oneLine(s) != s || strings.Contains(s, " "):
		return bad("has a space or a character that isn't printable")
	case strings.Contains(strings.TrimSuffix(s, "*"), "*"):
		return bad("'*' can only stand at the end")
	case strings.HasPrefix(s, "docker://"):
		return bad("names of registries are written without docker:// here")
	case strings.Contains(s, "@"):
		return bad("a digest says by itself what a name means")
	}
	return nil
}

// choice is a list of some of a few words, each once, at least one.
type choice struct {
	p     *[]string
	words []string
}

func (v choice) set(raw any) bool {
	return list{v.p, func(s string) bool { return slices.Contains(v.words, s) }, ""}.set(raw) && v.sound()
}

func (v choice) parse(text string) bool {
	return list{v.p, func(s string) bool { return slices.Contains(v.words, s) }, ""}.parse(text) && v.sound()
}

func (v choice) sound() bool {
	seen := map[string]bool{}
	for _, s := range *v.p {
		if seen[s] {
			return false
		}
		seen[s] = true
	}
	return len(seen) > 0
}

func (v choice) String() string { return strings.Join(*v.p, " ") }

func (v choice) accepts() string {
	return "a list of some of " + strings.Join(v.words, ", ") + ", each once"
}

// meant returns the word that a wrong one in raw is closest to, or "".
func (v choice) meant(raw any) string {
	all, _ := raw.([]any)
	if text, ok := raw.(string); ok {
		for _, s := range strings.Fields(text) {
			all = append(all, s)
		}
	}
	for _, e := range all {
		s, ok := e.(string)
		if !ok || slices.Contains(v.words, s) || len(s) > 64 {
			continue
		}
		best, least := "", 1+len(s)/3
		for _, w := range v.words {
			if d := distance(strings.ToLower(s), w); d <= least {
				best, least = w, d-1
			}
		}
		return best
	}
	return ""
}
