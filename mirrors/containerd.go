package mirrors

import (
	"errors"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// hostsFile is the file in the directory of a registry.
const hostsFile = "hosts.toml"

// anyRegistry is the directory for registries that have none.
const anyRegistry = "_default"

// hostRoot is what one config_path holds: directories by name. One without a
// hosts.toml says nothing, but keeps _default from being used.
type hostRoot map[string]*hostDir

// hostDir is what a hosts.toml says.
type hostDir struct {
	name   string
	hosts  []hostTable
	server hostTable // its host is empty where the registry itself is meant
	// serverSet says that a server is named: the registry isn't asked, unless it
	// is the server.
	serverSet bool
}

// hostTable is a host of a hosts.toml (containerd's docs/hosts.md, "hosts.toml
// Content Description").
type hostTable struct {
	from          string
	scheme, host  string
	base          string // see Endpoint.Base
	pull, resolve bool
	skipVerify    *bool
	ca            []string
	client        [][2]string
	header        http.Header
	dialTimeout   time.Duration
}

// loadContainerd reads config.toml, and every hosts.toml there is.
func loadContainerd(opts Options) (containerdConfig, []hostRoot, error) {
	var config containerdConfig
	dirs := opts.ContainerdDirs
	if dirs == nil {
		var err error
		config, err = loadContainerdConfig(opts)
		if err := passOver(opts, err); err != nil {
			return config, nil, err
		}
		if dirs = config.dirs; dirs == nil {
			dirs = []string{filepath.Join(opts.Etc, "containerd", "certs.d")}
		}
	}
	var roots []hostRoot
	for _, dir := range dirs {
		root, err := loadHostRoot(dir, opts)
		if err := passOver(opts, err); err != nil {
			return config, nil, err
		}
		roots = append(roots, root)
	}
	return config, roots, nil
}

func loadHostRoot(dir string, opts Options) (hostRoot, error) {
	entries, err := readDir(dir)
	if err != nil {
		return nil, err
	}
	root := hostRoot{}
	for _, e := range entries {
		// A symbolic link to a directory is one to containerd.
		if info, err := os.Stat(filepath.Join(dir, e.Name())); err != nil || !info.IsDir() {
			continue
		}
		d, err := loadHostDir(filepath.Join(dir, e.Name()), opts)
		if err := passOver(opts, err); err != nil {
			return nil, err
		}
		root[e.Name()] = d
	}
	return root, nil
}

// loadHostDir reads the hosts.toml in a directory; nil where there is none.
func loadHostDir(dir string, opts Options) (*hostDir, error) {
	path := filepath.Join(dir, hostsFile)
	text, ok, err := readFile(path)
	if err != nil || !ok || text == "" {
		return nil, err
	}
	file, err := parseTOML(path, text, opts.Note)
	if err != nil {
		return nil, err
	}
	return parseHosts(file)
}

// hostKeys are the keys of each host.
var hostKeys = []string{"capabilities", "ca", "client", "skip_verify", "header", "override_path", "dial_timeout"}

// parseHosts reads a hosts.toml.
func parseHosts(file tomlFile) (*hostDir, error) {
	root := file.root()
	root.known(append([]string{"server", "host"}, hostKeys...)...)
	d := &hostDir{name: filepath.Base(filepath.Dir(file.path))}
	hosts, err := root.sub("host")
	if err != nil {
		return nil, err
	}
	for _, uri := range d.order(file) {
		t, err := hosts.sub(uri)
		if err != nil {
			return nil, err
		}
		t.known(hostKeys...)
		h, err := parseHost(t, uri)
		if err != nil {
			return nil, err
		}
		d.hosts = append(d.hosts, h)
	}
	server, err := root.text("server")
	if err != nil {
		return nil, err
	}
	d.serverSet = server != ""
	d.server, err = parseHost(root, server)
	if d.serverSet {
		d.server.from = root.from("server")
	}
	return d, err
}

// order returns the hosts in the order of the text, which decides who is asked
// first.
func (d *hostDir) order(file tomlFile) []string {
	var uris []string
	for key := range file.doc.Keys() {
		if len(key) > 1 && key[0] == "host" && !slices.Contains(uris, key[1]) {
			uris = append(uris, key[1])
		}
	}
	return uris
}

// parseHost reads the host that a URI names, or the settings of the registry
// itself where the URI is empty.
func parseHost(t table, uri string) (hostTable, error) {
	h := hostTable{from: t.self()}
	override, _, err := t.boolean("override_path")
	if err != nil {
		return h, err
	}
	if uri != "" || len(t.path) > 0 {
		if err := h.setURI(uri, override); err != nil {
			return h, &Error{h.from, "host " + err.Error()}
		}
	}
	if err := h.setCapabilities(t); err != nil {
		return h, err
	}
	if skip, set, err := t.boolean("skip_verify"); err != nil {
		return h, err
	} else if set {
		h.skipVerify = &skip
	}
	if h.ca, err = t.paths("ca"); err != nil {
		return h, err
	}
	if h.client, err = t.keyPairs("client"); err != nil {
		return h, err
	}
	if h.header, err = parseHeader(t); err != nil {
		return h, err
	}
	timeout, err := t.text("dial_timeout")
	if err != nil || timeout == "" {
		return h, err
	}
	if h.dialTimeout, err = time.ParseDuration(timeout); err != nil || h.dialTimeout < 0 {
		return h, t.fail("dial_timeout", "%q is not a duration such as 1s", clip(timeout))
	}
	return h, nil
}

// setURI sets where h is. The path ends in /v2, added where it doesn't, unless
// override says to take it as it is.
func (h *hostTable) setURI(uri string, override bool) error {
	if !strings.Contains(uri, "://") {
		uri = "https://" + uri
	}
	u, err := url.Parse(uri)
	switch {
	case err != nil: // it quotes the URI, and any password in it
		return errors.New("is not a URL")
	case u.Scheme != "http" && u.Scheme != "https", !isHost(u.Host):
		return errors.New("is not https://HOST[:PORT][/PATH] or http://…")
	case u.User != nil:
		return errors.New("holds user information; log in to it instead")
	case u.RawQuery != "" || u.Fragment != "":
		return errors.New("holds a query or a fragment")
	}
	h.scheme, h.host = u.Scheme, canonicalHost(u.Host)
	p := u.EscapedPath()
	if p != "" {
		p = path.Clean(p)
	}
	if !override && !strings.HasSuffix(p, "/v2") {
		p = strings.TrimSuffix(p, "/") + "/v2"
	}
	h.base = canonicalBase(p)
	return nil
}

// setCapabilities sets what h is trusted with; everything, unless t says.
func (h *hostTable) setCapabilities(t table) error {
	words, err := t.texts("capabilities")
	if err != nil {
		return err
	}
	if len(words) == 0 {
		h.pull, h.resolve = true, true
	}
	for _, word := range words {
		switch strings.ToLower(word) {
		case "pull":
			h.pull = true
		case "resolve":
			h.resolve = true
		case "push", "referrers":
		default:
			return t.fail("capabilities", "%q is not pull, resolve, push or referrers", clip(word))
		}
	}
	return nil
}

// absolute returns a path of t's file made absolute.
func (t table) absolute(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(filepath.Dir(t.file.path), p)
}

// paths returns the path, or the list of them, at key.
func (t table) paths(key string) ([]string, error) {
	list := []any{t.values[key]}
	switch v := t.values[key].(type) {
	case nil:
		return nil, nil
	case []any:
		list = v
	}
	all, ok := stringList(list)
	if !ok {
		return nil, t.fail(key, "want a path or a list of paths")
	}
	for i, p := range all {
		all[i] = t.absolute(p)
	}
	return all, nil
}

// keyPairs returns the certificates at key, each with the file of its key, empty
// where that is in the same file: a path, a list of paths, or a list of pairs.
func (t table) keyPairs(key string) ([][2]string, error) {
	list, ok := t.values[key].([]any)
	if v := t.values[key]; v == nil {
		return nil, nil
	} else if !ok {
		list = []any{v}
	}
	var all [][2]string
	for _, v := range list {
		parts := []any{v, ""}
		if pair, ok := v.([]any); ok {
			parts = pair
		}
		pair, ok := stringList(parts)
		if !ok || len(pair) != 2 {
			return nil, t.fail(key, "want a path, a list of paths or a list of pairs of paths")
		}
		c := [2]string{t.absolute(pair[0]), ""}
		if pair[1] != "" {
			c[1] = t.absolute(pair[1])
		}
		all = append(all, c)
	}
	return all, nil
}

// parseHeader returns the headers to send.
func parseHeader(t table) (http.Header, error) {
	sub, err := t.sub("header")
	if err != nil || len(sub.values) == 0 {
		return nil, err
	}
	header := http.Header{}
	for name, v := range sub.values {
		list, ok := v.([]any)
		if !ok {
			list = []any{v}
		}
		values, ok := stringList(list)
		if !ok {
			return nil, sub.fail(name, "want a string or a list of strings")
		}
		// The value may be a secret.
		if !httpguts.ValidHeaderFieldName(name) || slices.ContainsFunc(values, func(v string) bool { return !httpguts.ValidHeaderFieldValue(v) }) {
			return nil, sub.fail(name, "can't be a header")
		}
		for _, value := range values {
			header.Add(name, value)
		}
	}
	return header, nil
}

// findHostDir returns what is said of a registry (HOST or HOST:PORT): by the first root
// that has a directory for it, or one for all.
func findHostDir(roots []hostRoot, host string) *hostDir {
	names := []string{host, anyRegistry}
	if i := strings.LastIndexByte(host, ':'); i > 0 {
		names = []string{host[:i] + "_" + host[i+1:] + "_", host, anyRegistry}
	}
	for _, root := range roots {
		for _, name := range names {
			if d, ok := root[name]; ok {
				return d
			}
		}
	}
	return nil
}
