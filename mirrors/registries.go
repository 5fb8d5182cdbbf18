package mirrors

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"

	"github.com/distribution/reference"
)

// registriesConf is what registries.conf and its drop-ins say together.
type registriesConf struct {
	registries []registryTable // by prefix, each once
	search     []SearchRegistry
	aliases    map[string]Alias
	mode       ShortNameMode
	modeFrom   string // FILE:LINE
}

// registryTable is a [[registry]] (containers-registries.conf(5), "Namespaced
// [[registry]] settings").
type registryTable struct {
	from     string
	prefix   string
	location location
	blocked  bool
	mirrors  []location // [[registry.mirror]]
}

// location is where the images of a prefix lie.
type location struct {
	from       string
	name       string // instead of the prefix; empty means the name as it is
	insecure   bool
	digestOnly bool
	tagOnly    bool
}

// SearchRegistry is a registry to look for names without one in.
type SearchRegistry struct {
	// Host is HOST or HOST:PORT.
	Host string
	// From is the FILE:LINE that says so.
	From string
}

// Alias is what a name without a registry stands for.
type Alias struct {
	// Name is HOST/REPOSITORY.
	Name string
	// From is the FILE:LINE that says so.
	From string
}

// ShortNameMode says what to do about a name without a registry that has no
// alias (containers-registries.conf(5), "Short-Name Aliasing: Modes").
type ShortNameMode string

// The modes there are. Empty means that no file chooses one, which is
// permissive.
const (
	Enforcing  ShortNameMode = "enforcing"
	Permissive ShortNameMode = "permissive"
	Disabled   ShortNameMode = "disabled"
)

// loadRegistries reads registries.conf and what lies in registries.conf.d, in
// the order of containers-registries.conf.d(5).
func loadRegistries(opts Options) (registriesConf, error) {
	files, err := registriesFiles(opts)
	if err != nil {
		return registriesConf{}, err
	}
	all := registriesConf{aliases: map[string]Alias{}}
	for _, path := range files {
		text, ok, err := readFile(path)
		if err != nil {
			return registriesConf{}, err
		}
		if !ok { // of the usual ones
			continue
		}
		file, err := parseTOML(path, text, opts.Note)
		if err != nil {
			return registriesConf{}, err
		}
		conf, err := parseRegistries(file)
		if err != nil {
			return registriesConf{}, err
		}
		all.add(conf)
	}
	return all, nil
}

// registriesFiles returns the files to read, in order.
func registriesFiles(opts Options) ([]string, error) {
	system := filepath.Join(opts.Etc, "containers")
	user := ""
	if opts.Home != "" {
		// Not $XDG_CONFIG_HOME: containers-registries.conf(5).
		user = filepath.Join(opts.Home, ".config", "containers")
	}
	const conf = "registries.conf"
	dropIns := []string{system, user}
	main := opts.RegistriesConf
	who := ""
	if main == "" {
		main, who = opts.Env("CONTAINERS_REGISTRIES_CONF"), "$CONTAINERS_REGISTRIES_CONF: "
	}
	if main != "" {
		if _, ok, err := readFile(main); err != nil {
			return nil, err
		} else if !ok {
			return nil, &Error{main, who + "no such file"}
		}
	} else if exists(user, conf) {
		main, dropIns = filepath.Join(user, conf), []string{user}
	} else {
		main = filepath.Join(system, conf)
	}
	files := []string{main}
	for _, dir := range dropIns {
		if dir == "" {
			continue
		}
		dir = filepath.Join(dir, conf+".d")
		entries, err := readDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !e.IsDir() && strings.HasSuffix(e.Name(), ".conf") {
				files = append(files, filepath.Join(dir, e.Name()))
			}
		}
	}
	return files, nil
}

// add overrides what r says with what a later file says. Of two tables with the
// same prefix the later file's counts, as a whole.
func (r *registriesConf) add(later registriesConf) {
	for _, reg := range later.registries {
		r.registries = slices.DeleteFunc(r.registries, func(old registryTable) bool { return old.prefix == reg.prefix })
		r.registries = append(r.registries, reg)
	}
	slices.SortFunc(r.registries, func(a, b registryTable) int { return cmp.Compare(a.prefix, b.prefix) })
	if later.search != nil {
		r.search = later.search
	}
	for name, alias := range later.aliases {
		r.aliases[name] = alias
	}
	if later.mode != "" {
		r.mode, r.modeFrom = later.mode, later.modeFrom
	}
}

// parseRegistries reads one file.
func parseRegistries(file tomlFile) (registriesConf, error) {
	root := file.root()
	conf := registriesConf{}
	if _, v1 := root.values["registries"]; v1 {
		return conf, root.fail("registries", "version 1 of the format is not read; write [[registry]] tables, and unqualified-search-registries, as version 2 has them (containers-registries.conf(5))")
	}
	root.known("registry", "unqualified-search-registries", "aliases", "short-name-mode", "credential-helpers", "additional-layer-store-auth-helper")
	list, err := root.tables("registry")
	if err != nil {
		return conf, err
	}
	for _, t := range list {
		reg, err := parseRegistry(t)
		if err != nil {
			return conf, err
		}
		if slices.ContainsFunc(conf.registries, func(r registryTable) bool { return r.prefix == reg.prefix }) {
			file.note(Note{reg.from, "passed over: an earlier [[registry]] has the same prefix"})
			continue
		}
		conf.registries = append(conf.registries, reg)
	}
	if err := contradictions(conf.registries); err != nil {
		return conf, err
	}
	return conf, parseShortNames(root, &conf)
}

// parseRegistry reads a [[registry]].
func parseRegistry(t table) (registryTable, error) {
	t.known("prefix", "location", "insecure", "blocked", "mirror", "mirror-by-digest-only")
	reg := registryTable{from: t.self()}
	var err error
	if reg.location, err = parseLocation(t); err != nil {
		return reg, err
	}
	if _, set := t.values["pull-from-mirror"]; set {
		return reg, t.fail("pull-from-mirror", "is for [[registry.mirror]] only")
	}
	if reg.prefix, err = t.place("prefix"); err != nil {
		return reg, err
	}
	wild := strings.HasPrefix(reg.prefix, "*.")
	switch {
	case reg.prefix == "" && reg.location.name == "":
		return reg, &Error{reg.from, "[[registry]] has neither prefix nor location"}
	case reg.prefix == "":
		reg.prefix = reg.location.name
	case reg.location.name == "" && !wild:
		return reg, t.fail("prefix", "needs a location, unless it is of the form *.HOST")
	case wild && strings.ContainsAny(reg.prefix, "/@:"):
		return reg, t.fail("prefix", "%q has more than a host behind the *, want *.HOST", clip(reg.prefix))
	}
	if reg.blocked, _, err = t.boolean("blocked"); err != nil {
		return reg, err
	}
	digestOnly, _, err := t.boolean("mirror-by-digest-only")
	if err != nil {
		return reg, err
	}
	reg.mirrors, err = parseMirrors(t, digestOnly)
	return reg, err
}

// parseMirrors reads the [[registry.mirror]] of a registry.
func parseMirrors(registry table, digestOnly bool) ([]location, error) {
	list, err := registry.tables("mirror")
	if err != nil {
		return nil, err
	}
	var mirrors []location
	for _, t := range list {
		t.known("location", "insecure", "pull-from-mirror")
		m, err := parseLocation(t)
		if err != nil {
			return nil, err
		}
		if m.name == "" {
			return nil, &Error{t.self(), "[[registry.mirror]] has no location"}
		}
		from, err := t.text("pull-from-mirror")
		if err != nil {
			return nil, err
		}
		m.digestOnly = digestOnly
		switch from {
		case "", "all":
		case "digest-only":
			m.digestOnly = true
		case "tag-only":
			m.tagOnly = true
		default:
			return nil, t.fail("pull-from-mirror", "is %q, want all, digest-only or tag-only", clip(from))
		}
		if digestOnly && from != "" {
			return nil, t.fail("pull-from-mirror", "can't be set beside mirror-by-digest-only of the [[registry]]")
		}
		mirrors = append(mirrors, m)
	}
	return mirrors, nil
}

// parseLocation reads what registries and mirrors have in common.
func parseLocation(t table) (location, error) {
	l := location{from: t.self()}
	var err error
	if l.name, err = t.place("location"); err != nil {
		return l, err
	}
	l.insecure, _, err = t.boolean("insecure")
	return l, err
}

// place returns the HOST[:PORT][/REPOSITORY] at key, its host in the form in
// which names have it.
func (t table) place(key string) (string, error) {
	s, err := t.text(key)
	if err != nil {
		return "", err
	}
	if strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://") {
		return "", t.fail(key, "%q has a scheme, want HOST[:PORT][/NAMESPACE]", clip(s))
	}
	host, rest, below := strings.Cut(strings.TrimRight(s, "/"), "/")
	host = canonicalHost(host)
	if !below {
		return host, nil
	}
	return host + "/" + rest, nil
}

// contradictions refuses tables of one file that disagree about the same
// location, as the tools do: which one counts would depend on the name.
func contradictions(tables []registryTable) error {
	first := map[string]registryTable{}
	for _, reg := range tables {
		key := cmp.Or(reg.location.name, reg.prefix)
		old, ok := first[key]
		switch {
		case !ok:
			first[key] = reg
		case old.location.insecure != reg.location.insecure:
			return &Error{reg.from, "insecure is set otherwise than for the same location at " + old.from}
		case old.blocked != reg.blocked:
			return &Error{reg.from, "blocked is set otherwise than for the same location at " + old.from}
		}
	}
	return nil
}

// find returns the table with the longest prefix of HOST/REPOSITORY. Of two as
// long, *.HOST comes first, as in the tools.
func (r *registriesConf) find(name string) (registryTable, bool) {
	var best registryTable
	for _, reg := range r.registries {
		if len(reg.prefix) > len(best.prefix) && matchLength(name, reg.prefix) >= 0 {
			best = reg
		}
	}
	return best, best.prefix != ""
}

// matchLength returns how much of HOST/REPOSITORY a prefix stands for, or -1.
// The prefix example.com stands for example.com:5000 too: not as documented, but
// as in all the tools.
func matchLength(name, prefix string) int {
	if domain, ok := strings.CutPrefix(prefix, "*"); ok && strings.HasPrefix(domain, ".") {
		host := name[:strings.IndexAny(name+"/", "/:")]
		if strings.HasSuffix(host, domain) && host != domain {
			return len(host)
		}
		return -1
	}
	rest, ok := strings.CutPrefix(name, prefix)
	if !ok || rest != "" && !strings.HasPrefix(rest, "/") && !strings.HasPrefix(rest, ":") {
		return -1
	}
	return len(prefix)
}

// rewrite returns where l has HOST/REPOSITORY, which has a prefix of n bytes.
func (l location) rewrite(name string, n int) (host, repository string, err error) {
	if l.name != "" {
		name = l.name + name[n:]
	}
	named, err := reference.ParseNamed(name)
	if err != nil {
		return "", "", &Error{l.from, "makes " + clip(name) + " of the name, which is not HOST/REPOSITORY"}
	}
	return reference.Domain(named), reference.Path(named), nil
}
