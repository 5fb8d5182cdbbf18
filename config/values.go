package config

import (
	"errors"
	"io/fs"
	"iter"
	"os"
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

// inForce is what the environment says beside our own configuration.
type inForce = Value

// Values yields everything in force, in an order that doesn't change: every
// key of ours, those of hosts where set, and then what can't be set here, with
// keys
//
//	config-file.PATH              "present" or "absent": the files Load looked for
//	credential-file.PATH          the same of each of registry.credential-files
//	certs-dir.PATH                the same of each of registry.certs
//	proxy.http, proxy.https, proxy.none-for
//	                              HTTP_PROXY, HTTPS_PROXY and NO_PROXY, without
//	                              user information
//
// A file that is there but can't be looked at is "unreadable". Contents of
// other tools' files are neither read nor shown.
func (c *Config) Values() iter.Seq[Value] {
	return func(yield func(Value) bool) {
		for _, s := range settings {
			if !yield(Value{s.key, s.bind(c).String(), c.From(s.key)}) {
				return
			}
		}
		for _, k := range c.sortedHostKeys() {
			if !yield(Value{k.String(), hostFlag{c.hosts, k}.String(), c.From(k.String())}) {
				return
			}
		}
		for _, f := range c.files {
			state := absent
			if f.read {
				state = present
			}
			if !yield(Value{toml.Key{"config-file", f.path}.String(), state, f.from}) {
				return
			}
		}
		for _, path := range c.Registry.CredentialFiles {
			if !yield(Value{toml.Key{"credential-file", path}.String(), state(path), c.From("registry.credential-files")}) {
				return
			}
		}
		for _, path := range c.Registry.Certs {
			if !yield(Value{toml.Key{"certs-dir", path}.String(), state(path), c.From("registry.certs")}) {
				return
			}
		}
		for _, v := range c.env {
			if !yield(v) {
				return
			}
		}
	}
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
// as net/http and curl read them.
func proxies(env func(string) string) []inForce {
	var all []inForce
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
	scheme, _, ok := strings.Cut(proxy[:i], "://")
	if ok {
		scheme += "://"
	} else {
		scheme = ""
	}
	return scheme + "xxxxx" + proxy[i:]
}
