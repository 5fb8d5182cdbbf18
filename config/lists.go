package config

import (
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// boolean is true or false.
type boolean struct{ p *bool }

func (v boolean) set(raw any) bool {
	b, ok := raw.(bool)
	if ok {
		*v.p = b
	}
	return ok
}

func (v boolean) parse(text string) bool {
	switch text {
	case "true":
		*v.p = true
	case "false":
		*v.p = false
	default:
		return false
	}
	return true
}

func (v boolean) String() string { return strconv.FormatBool(*v.p) }

func (v boolean) accepts() string { return "true or false" }

// port is the number of a port, 0 for any that is free.
type port struct{ p *int }

func (v port) set(raw any) bool {
	n, ok := raw.(int64)
	if !ok || n < 0 || n > 65535 {
		return false
	}
	*v.p = int(n)
	return true
}

func (v port) parse(text string) bool {
	n, err := strconv.ParseInt(text, 10, 64)
	return err == nil && v.set(n)
}

func (v port) String() string { return strconv.Itoa(*v.p) }

func (v port) accepts() string { return "a port from 0 (any that is free) to 65535" }

// unlimited is the rate that isn't limited.
const unlimited = "unlimited"

// address is an IP address, or empty for any.
type address struct{ p *netip.Addr }

func (v address) set(raw any) bool {
	text, ok := raw.(string)
	return ok && v.parse(text)
}

func (v address) parse(text string) bool {
	if text == "" {
		*v.p = netip.Addr{}
		return true
	}
	a, err := netip.ParseAddr(text)
	if err != nil {
		return false
	}
	*v.p = a
	return true
}

func (v address) String() string {
	if !v.p.IsValid() {
		return ""
	}
	return v.p.String()
}

func (v address) accepts() string { return `an IP address, or "" for every one of this machine` }

// rate is a number of bytes a second, or 0 for any.
type rate struct{ p *int64 }

func (v rate) set(raw any) bool {
	text, ok := raw.(string)
	if ok && text == unlimited {
		*v.p = 0
		return true
	}
	return size(v).set(raw)
}

func (v rate) parse(text string) bool {
	if text == unlimited {
		*v.p = 0
		return true
	}
	return size(v).parse(text)
}

func (v rate) String() string {
	if *v.p == 0 {
		return unlimited
	}
	return formatBytes(*v.p)
}

func (v rate) accepts() string {
	return `a number of bytes a second, such as "500kB" or "10MB", or "unlimited"`
}

// list is a list of texts of one form; empty means none.
type list struct {
	p    *[]string
	ok   func(string) bool
	what string
}

func (v list) set(raw any) bool {
	elements, ok := raw.([]any)
	if !ok {
		return false
	}
	texts := make([]string, len(elements))
	for i, e := range elements {
		if texts[i], ok = e.(string); !ok {
			return false
		}
	}
	return v.setAll(texts)
}

func (v list) parse(text string) bool { return v.setAll(strings.Fields(text)) }

func (v list) setAll(texts []string) bool {
	if len(texts) > maxList || slices.ContainsFunc(texts, func(s string) bool { return !v.ok(s) }) {
		return false
	}
	*v.p = texts
	return true
}

// networks is a list of networks; empty means none.
type networks struct{ p *[]netip.Prefix }

func (v networks) set(raw any) bool {
	var texts []string
	return list{&texts, func(string) bool { return true }, ""}.set(raw) && v.setAll(texts)
}

func (v networks) parse(text string) bool { return v.setAll(strings.Fields(text)) }

func (v networks) setAll(texts []string) bool {
	all := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		p, err := netip.ParsePrefix(text)
		if addr, no := netip.ParseAddr(text); no == nil && addr.Zone() == "" {
			p, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		// A mapped address is compared as the IPv4 address it is.
		if err != nil || p != p.Masked() || p.Addr().Is4In6() {
			return false
		}
		all[i] = p
	}
	*v.p = all
	return len(all) <= maxList
}

func (v networks) String() string {
	texts := make([]string, len(*v.p))
	for i, p := range *v.p {
		texts[i] = p.String()
	}
	return strings.Join(texts, " ")
}

func (v networks) accepts() string {
	return `a list of networks, such as ["10.20.0.0/16", "fd00:20::/32"]`
}

// maxList is how long a list may be.
const maxList = 256

func (v list) String() string { return strings.Join(*v.p, " ") }

func (v list) accepts() string { return "a list of " + v.what }

// webURLs are URLs of web servers, without user information.
func webURLs(p *[]string) list {
	return list{p, isWebURL, "URLs that begin with https:// or http://"}
}

func isWebURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && u.User == nil && oneLine(s) == s && !strings.Contains(s, " ")
}

// webOrigins are web servers, without a path.
func webOrigins(p *[]string) list {
	return list{p, func(s string) bool {
		scheme, host, _ := strings.Cut(s, "://")
		_, err := canonicalHost(host)
		return isWebURL(scheme+"://"+host) && err == nil
	}, "web servers, https://HOST[:PORT]"}
}

// hostPorts are addresses with a port.
func hostPorts(p *[]string) list {
	return list{p, func(s string) bool {
		host, port, err := net.SplitHostPort(s)
		n, numErr := strconv.Atoi(port)
		return err == nil && numErr == nil && host != "" && n > 0 && n < 65536 && oneLine(s) == s && !strings.Contains(s, " ")
	}, "HOST:PORT"}
}
