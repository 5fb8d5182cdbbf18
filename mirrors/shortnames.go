package mirrors

import (
	"fmt"
	"iter"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/distribution/reference"
)

// hostPort is a registry as it stands in a name.
var hostPort = regexp.MustCompile("^(?:" + reference.DomainRegexp.String() + ")$")

// Search yields the registries to look for a name without one in, in order
// (unqualified-search-registries).
func (c *Config) Search() iter.Seq[SearchRegistry] { return slices.Values(c.registries.search) }

// Alias returns what a name without a registry, tag and digest stands for
// ([aliases]); ok is false where no file says.
func (c *Config) Alias(name string) (a Alias, ok bool) {
	a, ok = c.registries.aliases[name]
	return a, ok && a.Name != ""
}

// ShortName returns what a name without a registry, tag and digest may stand for,
// in the order to ask: its alias, or else itself at each of the search registries.
// There is nothing where no file says anything of it; Docker Hub is meant then.
// With the mode enforcing it is an [*Error] that there are several: podman would
// have the user choose.
func (c *Config) ShortName(name string) ([]Alias, error) {
	if c.blind != nil {
		return nil, c.blind
	}
	mode := c.ShortNameMode()
	if a, ok := c.Alias(name); ok && mode != Disabled {
		return []Alias{a}, nil
	}
	var all []Alias
	for s := range c.Search() {
		named, err := reference.ParseNormalizedNamed(s.Host + "/" + name)
		if err != nil {
			return nil, &Error{s.From, clip(s.Host+"/"+name) + " is not HOST/REPOSITORY"}
		}
		all = append(all, Alias{named.Name(), s.From})
	}
	if mode == Enforcing && len(all) > 1 {
		var names []string
		for _, a := range all {
			names = append(names, a.Name)
		}
		return nil, &Error{all[0].From, clip(name) + " could be any of " + strings.Join(names, ", ") + "; write the one that is meant, or give it an alias"}
	}
	return all, nil
}

// ShortNameMode returns the mode that the files choose.
func (c *Config) ShortNameMode() ShortNameMode { return c.registries.mode }

// parseShortNames reads what a registries.conf says of names without a
// registry.
func parseShortNames(root table, conf *registriesConf) error {
	const search = "unqualified-search-registries"
	hosts, err := root.texts(search)
	if err != nil {
		return err
	}
	if hosts != nil {
		conf.search = []SearchRegistry{} // an empty list overrides an earlier file's
	}
	for _, host := range hosts {
		if host = strings.TrimRight(host, "/"); !hostPort.MatchString(host) {
			return root.fail(search, "%q is not HOST[:PORT]", clip(host))
		}
		conf.search = append(conf.search, SearchRegistry{canonicalHost(host), root.from(search)})
	}
	mode, err := root.text("short-name-mode")
	if err != nil {
		return err
	}
	conf.mode, conf.modeFrom = ShortNameMode(mode), root.from("short-name-mode")
	if !slices.Contains([]ShortNameMode{"", Enforcing, Permissive, Disabled}, conf.mode) {
		return root.fail("short-name-mode", "is %q, want enforcing, permissive or disabled", clip(mode))
	}
	aliases, err := root.sub("aliases")
	if err != nil {
		return err
	}
	conf.aliases = map[string]Alias{}
	for _, short := range slices.Sorted(maps.Keys(aliases.values)) {
		full, err := parseAlias(aliases, short)
		if err != nil {
			return err
		}
		conf.aliases[short] = Alias{full, aliases.from(short)}
	}
	return nil
}

// parseAlias returns what short stands for; "" where it is erased.
func parseAlias(aliases table, short string) (string, error) {
	named, err := bareName(short)
	if err != nil || hasRegistry(named) {
		return "", aliases.fail(short, "is not a name without registry, tag and digest")
	}
	full, err := aliases.text(short)
	if full == "" || err != nil {
		return "", err
	}
	if named, err = bareName(full); err != nil || !hasRegistry(named) {
		return "", aliases.fail(short, "stands for %q, want HOST/REPOSITORY without tag and digest", clip(full))
	}
	normal, err := reference.ParseNormalizedNamed(full)
	if err != nil {
		return "", aliases.fail(short, "stands for %q, want HOST/REPOSITORY without tag and digest", clip(full))
	}
	return normal.Name(), nil
}

// bareName parses a name as it is, without tag and digest.
func bareName(s string) (reference.Named, error) {
	ref, err := reference.Parse(s)
	if err != nil {
		return nil, err
	}
	named, ok := ref.(reference.Named)
	if !ok || !reference.IsNameOnly(named) {
		return nil, fmt.Errorf("%q is not a bare name", s)
	}
	return named, nil
}

// hasRegistry reports whether a name begins with a registry.
func hasRegistry(n reference.Named) bool {
	host := reference.Domain(n)
	return strings.ContainsAny(host, ".:") || host == "localhost"
}
