package config

import (
	"errors"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
)

// Value is one value in force, as `waybill config` shows it.
type Value struct {
	// Key is the key, dotted, with parts quoted where TOML needs it.
	Key string `json:"key"`
	// Value is the value as [Config.Override] takes it.
	Value string `json:"value"`
	// From is where it comes from, as [Config.From] says.
	From string `json:"from"`
}

// Whether a file or directory is there.
const (
	present    = "present"
	absent     = "absent"
	unreadable = "unreadable"
)

// Values yields everything in force, in an order that doesn't change: every
// key of ours, those of hosts and names where set, and then what can't be set here, with
// keys
//
//	config-file.PATH              "present" or "absent": the files Load looks for
//	credential-file.PATH          the same of each of registry.credential-files
//	certs-dir.PATH                the same of each of registry.certs
//	abd-dir.PATH                  the same of each of resolve.abd
//	proxy.http, proxy.https, proxy.none-for
//	                              HTTP_PROXY, HTTPS_PROXY and NO_PROXY, without
//	                              user information
//
// A file that is there but can't be read is "unreadable". The contents of
// other tools' files are neither read nor shown.
func (c *Config) Values() iter.Seq[Value] {
	var all []Value
	for _, s := range settings {
		all = append(all, Value{s.key, s.bind(c).String(), c.From(s.key)})
	}
	for _, k := range c.sortedHostKeys() {
		all = append(all, Value{k.String(), hostFlag{c.hosts, k}.String(), c.From(k.String())})
	}
	all = append(all, c.nameValues()...)
	for _, f := range c.files {
		all = append(all, Value{toml.Key{"config-file", f.path}.String(), state(f.path), f.from})
	}
	for _, path := range c.Registry.CredentialFiles {
		all = append(all, Value{toml.Key{"credential-file", path}.String(), state(path), c.From("registry.credential-files")})
	}
	for _, path := range c.Registry.Certs {
		all = append(all, Value{toml.Key{"certs-dir", path}.String(), state(path), c.From("registry.certs")})
	}
	for _, path := range c.Resolve.ABD {
		all = append(all, Value{toml.Key{"abd-dir", path}.String(), state(path), c.From("resolve.abd")})
	}
	return slices.Values(append(all, c.proxies...))
}

// state returns whether there is something at path that can be opened.
func state(path string) string {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return absent
	}
	// Opening anything else, a pipe or a device, could block or do something.
	if err != nil || !info.Mode().IsRegular() && !info.IsDir() {
		return unreadable
	}
	f, err := os.Open(path)
	if err != nil {
		return unreadable
	}
	_ = f.Close()
	return present
}

// proxies returns the proxies of the environment, in upper or else lower case,
// as golang.org/x/net/http/httpproxy reads them.
func proxies(env func(string) string) []Value {
	var all []Value
	for _, p := range []struct{ key, variable string }{
		{"proxy.http", "HTTP_PROXY"},
		{"proxy.https", "HTTPS_PROXY"},
		{"proxy.none-for", "NO_PROXY"},
	} {
		v := Value{Key: p.key, From: "default"}
		for _, name := range []string{p.variable, strings.ToLower(p.variable)} {
			if text := env(name); text != "" {
				v.Value, v.From = oneLine(withoutUser(text)), name
				break
			}
		}
		all = append(all, v)
	}
	return all
}

// withoutUser replaces the user information of a proxy. Proxies are commonly
// written without a scheme, and passwords unescaped, so this does not rely on
// a URL parser: all up to the last "@" counts.
func withoutUser(proxy string) string {
	i := strings.LastIndexByte(proxy, '@')
	if i < 0 {
		return proxy
	}
	for _, scheme := range []string{"http://", "https://", "socks5://", "socks5h://"} {
		if strings.HasPrefix(strings.ToLower(proxy), scheme) {
			return scheme + "xxxxx" + proxy[i:]
		}
	}
	return "xxxxx" + proxy[i:]
}
