package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// hostSection is the section with a table for each host.
const hostSection = "host"

// The keys of a host.
const (
	hostPlainHTTP = "plain-http"
	hostInsecure  = "insecure"
	hostTrusted   = "trusted"
)

// hostKeys are the keys of a host, in the order they are shown.
var hostKeys = []string{hostPlainHTTP, hostInsecure, hostTrusted}

// hostKey is a key of a host.
type hostKey struct{ host, name string }

// String returns the key as it is shown.
func (k hostKey) String() string { return toml.Key{hostSection, k.host, k.name}.String() }

// HostPlainHTTP reports whether host may be asked over plain HTTP where it
// doesn't speak TLS.
//
// Here as below, host is as in a URL, HOST or HOST:PORT. What is configured for
// exactly that comes first, then what is for HOST without a port.
func (c *Config) HostPlainHTTP(host string) bool {
	allowed, ok := c.hostValue(host, hostPlainHTTP)
	if !ok && c.plainHTTP != nil {
		return c.plainHTTP(host)
	}
	return allowed
}

// HostInsecure reports whether the certificate of host need not be verified.
func (c *Config) HostInsecure(host string) bool {
	insecure, _ := c.hostValue(host, hostInsecure)
	return insecure
}

// HostTrusted reports whether host may be reached whoever names it, whatever
// network it is in.
func (c *Config) HostTrusted(host string) bool {
	trusted, _ := c.hostValue(host, hostTrusted)
	return trusted
}

// hostValue returns what is configured for a host, and whether anything is.
func (c *Config) hostValue(host, name string) (set, ok bool) {
	host, err := canonicalHost(host)
	if err != nil {
		return false, false
	}
	if set, ok = c.hosts[hostKey{host, name}]; ok {
		return set, true
	}
	bare, _ := cutPort(host)
	set, ok = c.hosts[hostKey{bare, name}]
	return set, ok
}

// lookupHost finds the value of a key in the hosts' section.
func (c *Config) lookupHost(key toml.Key) (bound, error) {
	if len(key) != 3 {
		return bound{}, fmt.Errorf(`not a key of a host; write [host."HOST:PORT"] and below it %s`, strings.Join(hostKeys, ", "))
	}
	host, err := canonicalHost(key[1])
	if err != nil {
		return bound{}, err
	}
	if !slices.Contains(hostKeys, key[2]) {
		return bound{}, unknownKey(key)
	}
	k := hostKey{host, key[2]}
	return bound{k.String(), hostFlag{c.hosts, k}}, nil
}

// hostFlag is a boolean of a host.
type hostFlag struct {
	hosts map[hostKey]bool
	key   hostKey
}

func (v hostFlag) set(raw any) bool {
	b, ok := raw.(bool)
	if ok {
		v.hosts[v.key] = b
	}
	return ok
}

func (v hostFlag) parse(text string) bool {
	return (text == "true" || text == "false") && v.set(text == "true")
}

func (v hostFlag) String() string { return strconv.FormatBool(v.hosts[v.key]) }

func (v hostFlag) accepts() string { return "true or false" }

// sortedHostKeys returns the keys that are set, by host and then as hostKeys
// has them.
func (c *Config) sortedHostKeys() []hostKey {
	keys := make([]hostKey, 0, len(c.hosts))
	for k := range c.hosts {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b hostKey) int {
		return cmp.Or(cmp.Compare(a.host, b.host), cmp.Compare(slices.Index(hostKeys, a.name), slices.Index(hostKeys, b.name)))
	})
	return keys
}

// canonicalHost returns HOST or HOST:PORT in the form hosts are compared in:
// lower case, addresses as netip writes them.
func canonicalHost(s string) (string, error) {
	bad := func(why string) (string, error) {
		return "", fmt.Errorf("%s; write HOST or HOST:PORT, such as registry.example:5000 or [::1]:5000", why)
	}
	if strings.Contains(s, "://") {
		return bad("a URL, not a host")
	}
	host, port := cutPort(s)
	if port != "" {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 || !isDigits(port) {
			return bad("port is not a number from 1 to 65535")
		}
		port = ":" + strconv.FormatUint(n, 10)
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		addr, err := netip.ParseAddr(strings.TrimSuffix(inner, "]"))
		if err != nil || !strings.HasSuffix(inner, "]") || !addr.Is6() {
			return bad("not an IPv6 address in brackets")
		}
		return "[" + addr.String() + "]" + port, nil
	}
	if err := checkHostName(host); err != nil {
		return bad(err.Error())
	}
	return strings.ToLower(host) + port, nil
}

// cutPort splits HOST:PORT; port is empty where there is no colon after HOST.
func cutPort(s string) (host, port string) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 || strings.HasSuffix(s, "]") {
		return s, ""
	}
	if i == len(s)-1 {
		return s, "" // the colon is not a host's, and will be refused
	}
	return s[:i], s[i+1:]
}

// checkHostName says why s can't be a host name or an IPv4 address.
func checkHostName(s string) error {
	switch {
	case s == "":
		return errors.New("no host")
	case len(s) > 253:
		return errors.New("longer than the 253 bytes of a host name")
	case strings.Contains(s, "/"):
		return errors.New("a host has no path")
	}
	for _, r := range s {
		if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_", r) {
			return fmt.Errorf("%q is not in host names", r)
		}
	}
	return nil
}
