package mirrors

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// daemonConf is what daemon.json says.
type daemonConf struct {
	mirrors  []dockerMirror
	insecure []insecureEntry
}

// dockerMirror is an entry of registry-mirrors.
type dockerMirror struct {
	from               string
	scheme, host, base string
}

// insecureEntry is an entry of insecure-registries: a host or a network.
type insecureEntry struct {
	from    string
	host    string
	network netip.Prefix
}

// matches reports whether a HOST[:PORT] is meant.
func (e insecureEntry) matches(host string) bool {
	if e.host != "" {
		return e.host == host
	}
	u := url.URL{Host: host}
	addr, err := netip.ParseAddr(u.Hostname())
	return err == nil && e.network.Contains(addr.Unmap())
}

// insecureAt returns the entry that exempts a host from verification.
func (d *daemonConf) insecureAt(host string) (insecureEntry, bool) {
	i := slices.IndexFunc(d.insecure, func(e insecureEntry) bool { return e.matches(host) })
	if i < 0 {
		return insecureEntry{}, false
	}
	return d.insecure[i], true
}

// loadDocker reads daemon.json.
func loadDocker(opts Options) (daemonConf, error) {
	path := opts.DockerDaemon
	if path == "" {
		path = filepath.Join(opts.Etc, "docker", "daemon.json")
		if user := userConfig(opts, "docker", "daemon.json"); user != "" && exists(user) {
			path = user
		}
	}
	text, ok, err := readFile(path)
	if !ok && err == nil && opts.DockerDaemon != "" {
		return daemonConf{}, &Error{path, "no such file"}
	}
	var conf daemonConf
	if err == nil && strings.TrimSpace(text) != "" { // empty is fine with docker
		conf, err = parseDaemon(path, strings.TrimPrefix(text, "\ufeff"))
	}
	return conf, passOver(opts, err)
}

// exists reports whether there is a file or directory. What can't be told is
// left for reading it to say.
func exists(path ...string) bool {
	if path[0] == "" {
		return false
	}
	_, err := os.Stat(filepath.Join(path...))
	return !errors.Is(err, os.ErrNotExist)
}

// parseDaemon reads a daemon.json.
func parseDaemon(path, text string) (daemonConf, error) {
	p := daemonParser{path: path, text: text, dec: json.NewDecoder(strings.NewReader(text))}
	var conf daemonConf
	if err := p.object(map[string]func() error{
		"registry-mirrors":    func() (err error) { conf.mirrors, err = p.mirrors(); return err },
		"insecure-registries": func() (err error) { conf.insecure, err = p.insecure(); return err },
	}); err != nil {
		return daemonConf{}, err
	}
	return conf, nil
}

// daemonParser reads a daemon.json value by value, to know on which line each
// stands.
type daemonParser struct {
	path, text string
	dec        *json.Decoder
}

// from returns FILE:LINE of what was read last.
func (p *daemonParser) from() string { return p.at(p.dec.InputOffset()) }

func (p *daemonParser) at(offset int64) string {
	return fmt.Sprintf("%s:%d", p.path, 1+strings.Count(p.text[:min(int(offset), len(p.text))], "\n"))
}

// fail returns an error about what was read last.
func (p *daemonParser) fail(format string, args ...any) error {
	return &Error{p.from(), fmt.Sprintf(format, args...)}
}

// invalid returns the error for what the decoder refused.
func (p *daemonParser) invalid(err error) error {
	if e := (*json.SyntaxError)(nil); errors.As(err, &e) {
		return &Error{p.at(e.Offset), "not valid JSON: " + clip(err.Error())}
	}
	return &Error{p.at(int64(len(p.text))), "not valid JSON: it breaks off"}
}

// object reads an object that is all of the text, each value by the function
// for its key.
func (p *daemonParser) object(values map[string]func() error) error {
	if t, err := p.dec.Token(); err != nil {
		return p.invalid(err)
	} else if t != json.Delim('{') {
		return p.fail("not a JSON object")
	}
	for p.dec.More() {
		t, err := p.dec.Token()
		if err != nil {
			return p.invalid(err)
		}
		key, _ := t.(string)
		read := values[key]
		if read == nil {
			read = func() error { return p.skip() }
		}
		if err := read(); err != nil {
			return err
		}
	}
	if _, err := p.dec.Token(); err != nil {
		return p.invalid(err)
	}
	if _, err := p.dec.Token(); err == nil {
		return p.fail("not valid JSON: something follows the object")
	} else if !errors.Is(err, io.EOF) {
		return p.invalid(err)
	}
	return nil
}

// skip reads over a value.
func (p *daemonParser) skip() error {
	var v json.RawMessage
	if err := p.dec.Decode(&v); err != nil {
		return p.invalid(err)
	}
	return nil
}

// texts reads a list of strings, or null, and calls each with every one.
func (p *daemonParser) texts(key string, each func(string) error) error {
	t, err := p.dec.Token()
	switch {
	case err != nil:
		return p.invalid(err)
	case t == nil:
		return nil
	case t != json.Delim('['):
		return p.fail("%s: want a list of strings", key)
	}
	for p.dec.More() {
		t, err := p.dec.Token()
		if err != nil {
			return p.invalid(err)
		}
		s, ok := t.(string)
		if !ok {
			return p.fail("%s: want a list of strings", key)
		}
		if err := each(s); err != nil {
			return err
		}
	}
	if _, err := p.dec.Token(); err != nil {
		return p.invalid(err)
	}
	return nil
}

// mirrors reads registry-mirrors.
func (p *daemonParser) mirrors() (all []dockerMirror, err error) {
	err = p.texts("registry-mirrors", func(s string) error {
		u, err := url.Parse(s)
		switch {
		case err != nil, u.Scheme != "http" && u.Scheme != "https", !isHost(u.Host):
			return p.fail("registry-mirrors: an entry is not https://HOST[:PORT][/PATH] or http://…")
		case u.User != nil:
			return p.fail("registry-mirrors: an entry holds user information; log in to it instead")
		case u.RawQuery != "" || u.Fragment != "":
			return p.fail("registry-mirrors: an entry holds a query or a fragment")
		}
		base := canonicalBase(strings.TrimSuffix(u.EscapedPath(), "/") + "/v2")
		all = append(all, dockerMirror{p.from(), u.Scheme, canonicalHost(u.Host), base})
		return nil
	})
	return all, err
}

// insecure reads insecure-registries.
func (p *daemonParser) insecure() (all []insecureEntry, err error) {
	err = p.texts("insecure-registries", func(s string) error {
		if scheme, rest, ok := strings.Cut(s, "://"); ok && (strings.EqualFold(scheme, "http") || strings.EqualFold(scheme, "https")) {
			s = rest // as docker
		}
		e := insecureEntry{from: p.from()}
		if network, err := netip.ParsePrefix(s); err == nil {
			e.network = network.Masked()
		} else if e.host = canonicalHost(s); !hostPort.MatchString(s) {
			return p.fail("insecure-registries: %q is neither HOST[:PORT] nor a network such as 10.0.0.0/8", clip(s))
		}
		all = append(all, e)
		return nil
	})
	return all, err
}
