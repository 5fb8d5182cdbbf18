package mirrors

import (
	"strings"

	"github.com/distribution/reference"

	"github.com/waybill-project/waybill/transport/registry"
)

// Plan says whom to ask for a repository.
type Plan struct {
	// Endpoints are the places, in the order to ask them: mirrors, then the
	// registry or what replaces it. There are none where the files leave none
	// that may be pulled from.
	Endpoints []Endpoint
	// Blocked says that images of this name must not be pulled; From is the
	// FILE:LINE that says so. There are no Endpoints then.
	Blocked bool
	From    string
}

// For returns the plan for a repository at a registry, HOST[:PORT]. Docker Hub
// is docker.io, index.docker.io or registry-1.docker.io. Without a file that
// speaks of it, the plan is the registry itself. It is an [*Error] where
// registries.conf makes something of the name that is no name, or can't be read.
func (c *Config) For(host, repository string) (Plan, error) {
	if c.blind != nil {
		return Plan{}, c.blind
	}
	host = canonicalHost(host)
	if host == hub && !strings.Contains(repository, "/") {
		repository = "library/" + repository
	}
	// The parser for what people type would take a host without a dot for a part
	// of the repository.
	named, err := reference.WithName(host + "/" + repository)
	if err != nil || reference.Domain(named) != host {
		return Plan{}, &Error{host + "/" + clip(repository), "not HOST/REPOSITORY"}
	}
	p := planner{host: host, repository: reference.Path(named), seen: map[same]bool{}}
	if reg, ok := c.registries.find(named.Name()); ok {
		if reg.blocked {
			return Plan{Blocked: true, From: reg.from}, nil
		}
		if err := p.addRegistries(reg, named.Name()); err != nil {
			return Plan{}, err
		}
	}
	p.addContainerd(c.containerd)
	p.addDocker(&c.docker)
	return p.plan(), nil
}

// Settings returns the endpoint behind a place that [Endpoint.Place] made, for
// what doesn't stand in its URI: authorities, certificates, headers. Ok is false
// where no file has any for it.
func (c *Config) Settings(place registry.Place) (e Endpoint, ok bool) {
	// Only containerd's files have settings, and only for one registry each:
	// the one in ns, or the place's own.
	host := place.NS
	if host == "" {
		host = canonicalHost(place.Host)
	}
	p := planner{host: host, seen: map[same]bool{}}
	p.addContainerd(c.containerd)
	for _, e := range p.plan().Endpoints {
		if e.Place() == place && e.HasSettings() {
			return e, true
		}
	}
	return Endpoint{}, false
}

// planner collects endpoints for one repository.
type planner struct {
	host, repository string
	mirrors          []Endpoint
	// own are endpoints for the registry itself, replacements those to ask
	// instead of it.
	own, replacements []Endpoint
	seen              map[same]bool
}

// plan returns what was collected, each place once.
func (p *planner) plan() Plan {
	last := p.replacements
	if len(last) == 0 {
		last = p.own
	}
	if len(last) == 0 {
		last = []Endpoint{{Scheme: "https", Host: p.host, Repository: p.repository, Resolve: true, Pull: true}}
	}
	var plan Plan
	for _, e := range append(p.mirrors, last...) {
		if (e.Pull || e.Resolve) && !p.seen[e.same()] {
			p.seen[e.same()] = true
			plan.Endpoints = append(plan.Endpoints, e)
		}
	}
	return plan
}

// addLast adds what a tool asks last: the registry itself, or another.
func (p *planner) addLast(e Endpoint) {
	if e.Host == p.host && e.Repository == p.repository {
		p.own = append(p.own, e)
	} else {
		p.replacements = append(p.replacements, e)
	}
}

// addRegistries adds what registries.conf says.
func (p *planner) addRegistries(reg registryTable, name string) error {
	n := matchLength(name, reg.prefix)
	for _, m := range reg.mirrors {
		e, err := m.endpoint(name, n)
		if err != nil {
			return err
		}
		e.Mirror = true
		p.mirrors = append(p.mirrors, e)
	}
	e, err := reg.location.endpoint(name, n)
	if err != nil {
		return err
	}
	p.addLast(e)
	return nil
}

// endpoint returns where l has HOST/REPOSITORY, which has a prefix of n bytes.
func (l location) endpoint(name string, n int) (Endpoint, error) {
	host, repository, err := l.rewrite(name, n)
	if err != nil {
		return Endpoint{}, err
	}
	return Endpoint{
		Kind: Containers, From: l.from, Scheme: "https", Host: canonicalHost(host), Repository: repository,
		Resolve: true, Pull: true, DigestOnly: l.digestOnly, TagOnly: l.tagOnly,
		// "unencrypted HTTP as well as TLS connections with untrusted
		// certificates are allowed" (containers-registries.conf(5)).
		Insecure: l.insecure, HTTPFallback: l.insecure,
	}, nil
}

// addContainerd adds what the hosts.toml of the registry says.
func (p *planner) addContainerd(roots []hostRoot) {
	d := findHostDir(roots, p.host)
	if d == nil {
		return
	}
	for _, h := range d.hosts {
		e := p.fromHost(h)
		e.Mirror = true
		p.mirrors = append(p.mirrors, e)
	}
	server := d.server
	if !d.serverSet {
		// Its settings are for the registry itself, which can do everything.
		server.scheme, server.host, server.base = "https", p.host, ""
		server.pull, server.resolve = true, true
	}
	p.addLast(p.fromHost(server))
}

// fromHost returns the endpoint for a host of a hosts.toml.
func (p *planner) fromHost(h hostTable) Endpoint {
	e := Endpoint{
		Kind: Containerd, From: h.from, Scheme: h.scheme, Host: h.host, Base: h.base, Repository: p.repository,
		Resolve: h.resolve, Pull: h.pull,
		Insecure: h.skipVerify != nil && *h.skipVerify, CAs: h.ca, ClientCerts: h.client,
		Header: h.header, DialTimeout: h.dialTimeout,
	}
	if h.host != p.host {
		e.NS = p.host
	}
	// As containerd: settings for TLS say that an http:// host, unless at port
	// 80, is to be asked over TLS first.
	if tls := h.skipVerify != nil || len(h.ca) > 0 || len(h.client) > 0; tls && h.scheme == "http" && !strings.HasSuffix(h.host, ":80") {
		e.Scheme, e.HTTPFallback = "https", true
	}
	return e
}

// addDocker adds what daemon.json says: mirrors of Docker Hub alone, asked
// without ?ns=.
func (p *planner) addDocker(d *daemonConf) {
	if p.host == hub {
		for _, m := range d.mirrors {
			_, insecure := d.insecureAt(m.host)
			p.mirrors = append(p.mirrors, Endpoint{
				Kind: Docker, From: m.from, Mirror: true, Scheme: m.scheme, Host: m.host, Base: m.base,
				Repository: p.repository, Resolve: true, Pull: true, Insecure: insecure && m.scheme == "https",
			})
		}
		return // Docker Hub is always secure
	}
	if entry, ok := d.insecureAt(p.host); ok {
		p.own = append(p.own, Endpoint{
			Kind: Docker, From: entry.from, Scheme: "https", Host: p.host, Repository: p.repository,
			Resolve: true, Pull: true, Insecure: true, HTTPFallback: true,
		})
	}
}
