package mirrors

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Value is one thing that the files say, for people.
type Value struct {
	// Kind is the tool whose file says so.
	Kind Kind
	// Key says what it is about: mirror."docker.io", blocked."example.com", …
	Key string
	// Value is the value in short, in one line and without secrets.
	Value string
	// From is FILE:LINE.
	From string
}

// Values yields everything in force: mirrors, replacements, what is blocked or
// insecure, search registries and aliases; by tool, and within each in the order
// in which it counts.
func (c *Config) Values() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		for _, list := range []iter.Seq[Value]{c.registries.values, c.cri.values, c.containerdValues, c.docker.values} {
			for v := range list {
				v.Value = oneLine(v.Value)
				if !yield(v) {
					return
				}
			}
		}
	}
}

// about returns a key.
func about(what, name string) string { return what + "." + strconv.Quote(name) }

// words joins what is said of a place.
func words(place string, said ...string) string {
	said = slices.DeleteFunc(said, func(s string) bool { return s == "" })
	if len(said) == 0 {
		return place
	}
	return place + " (" + strings.Join(said, ", ") + ")"
}

// when returns word where it applies.
func when(applies bool, word string) string {
	if applies {
		return word
	}
	return ""
}

// values yields what registries.conf says.
func (r *registriesConf) values(yield func(Value) bool) {
	say := func(key, value, from string) bool { return yield(Value{Containers, key, value, from}) }
	for _, reg := range r.registries {
		if !reg.values(say) {
			return
		}
	}
	if len(r.search) > 0 {
		var hosts []string
		for _, s := range r.search {
			hosts = append(hosts, s.Host)
		}
		if !say("unqualified-search-registries", strings.Join(hosts, ", "), r.search[0].From) {
			return
		}
	}
	if r.mode != "" && !say("short-name-mode", string(r.mode), r.modeFrom) {
		return
	}
	for _, short := range slices.Sorted(maps.Keys(r.aliases)) {
		if a := r.aliases[short]; a.Name != "" && !say(about("alias", short), a.Name, a.From) {
			return
		}
	}
}

// values says what a [[registry]] does, until say returns false.
func (reg registryTable) values(say func(key, value, from string) bool) bool {
	if reg.blocked {
		return say(about("blocked", reg.prefix), "true", reg.from)
	}
	for _, m := range reg.mirrors {
		value := words(m.name, when(m.digestOnly, "digest-only"), when(m.tagOnly, "tag-only"), when(m.insecure, "insecure"))
		if !say(about("mirror", reg.prefix), value, m.from) {
			return false
		}
	}
	if l := reg.location; l.name != "" && l.name != reg.prefix || l.insecure {
		return say(about("location", reg.prefix), words(cmp.Or(l.name, reg.prefix), when(l.insecure, "insecure")), l.from)
	}
	return true
}

// containerdValues yields what the files of containerd say: of the directories
// of one name, those that count.
func (c *Config) containerdValues(yield func(Value) bool) {
	for _, root := range c.containerd {
		for _, name := range slices.Sorted(maps.Keys(root)) {
			d := root[name]
			registry := registryOf(name)
			if d == nil || registry != anyRegistry && findHostDir(c.containerd, registry) != d || registry == anyRegistry && !c.firstDefault(d) {
				continue
			}
			for _, h := range d.hosts {
				if !yield(Value{Containerd, about("mirror", registry), h.show(), h.from}) {
					return
				}
			}
			if server, ok := d.lastFor(registry); ok && !yield(Value{Containerd, about("server", registry), server.show(), server.from}) {
				return
			}
		}
	}
}

// lastFor returns the host that d has asked last, where there is something to say
// of it.
func (d *hostDir) lastFor(registry string) (hostTable, bool) {
	h := d.server
	if d.serverSet {
		return h, true
	}
	h.scheme, h.host, h.base, h.pull, h.resolve = "https", registry, "", true, true
	settled := h.skipVerify != nil || len(h.ca) > 0 || len(h.client) > 0 || len(h.header) > 0 || h.dialTimeout > 0
	return h, settled && registry != anyRegistry
}

// firstDefault reports whether d is the _default that is used.
func (c *Config) firstDefault(d *hostDir) bool {
	for _, root := range c.containerd {
		if first, ok := root[anyRegistry]; ok {
			return first == d
		}
	}
	return false
}

// registryOf returns the registry that a directory's name stands for.
func registryOf(dir string) string {
	if dir == anyRegistry {
		return dir
	}
	if host, ok := strings.CutSuffix(dir, "_"); ok {
		if i := strings.LastIndexByte(host, '_'); i > 0 {
			return host[:i] + ":" + host[i+1:]
		}
	}
	return dir
}

// show returns h for people. Of headers only the names are shown: their values
// may be secrets.
func (h hostTable) show() string {
	base := h.base
	switch base {
	case "":
		base = "/v2"
	case "/":
		base = ""
	}
	said := []string{
		when(h.pull, "pull"), when(h.resolve, "resolve"),
		when(h.skipVerify != nil && *h.skipVerify, "insecure"),
		when(len(h.ca) > 0, "ca "+strings.Join(h.ca, " ")), when(len(h.client) > 0, "client certificate"),
	}
	for _, name := range slices.Sorted(maps.Keys(h.header)) {
		said = append(said, "header "+name)
	}
	if h.dialTimeout > 0 {
		said = append(said, "dial timeout "+h.dialTimeout.String())
	}
	return words(h.scheme+"://"+h.host+base, said...)
}

// values yields what daemon.json says.
func (d *daemonConf) values(yield func(Value) bool) {
	for _, m := range d.mirrors {
		if !yield(Value{Docker, about("mirror", hub), m.scheme + "://" + m.host + strings.TrimSuffix(m.base, "/v2"), m.from}) {
			return
		}
	}
	for _, e := range d.insecure {
		what := e.host
		if what == "" {
			what = e.network.String()
		}
		if !yield(Value{Docker, about("insecure", what), "true", e.from}) {
			return
		}
	}
}
