package oci

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/publicsuffix"
)

// WellKnown is the path of a host's discovery document.
const WellKnown = "/.well-known/oci-host-ref-engines"

// hosts returns whom to ask about names at host: itself and then its DNS
// ancestors, down to the one below a public suffix
// (well-known-uri-ref-engine-discovery.md; publicsuffix.org). Addresses have no
// ancestors. left, where it isn't empty, says who is left out.
func hosts(host string) (ask []string, left string) {
	host = strings.ToLower(host)
	if host[0] == '[' || endsInNumber(host) {
		return []string{host}, ""
	}
	suffix, icann := publicsuffix.PublicSuffix(host)
	if host == suffix {
		// One label that is on no list, as "localhost", is the rule "*".
		if icann || strings.Contains(suffix, ".") {
			return nil, fmt.Sprintf("%s is a public suffix, and none is asked", host)
		}
		return []string{host}, ""
	}
	for h := host; h != suffix; _, h, _ = strings.Cut(h, ".") {
		if len(ask) > MaxAncestors {
			return ask, fmt.Sprintf("%s and what is above it aren't asked: the limit is %d ancestors", h, MaxAncestors)
		}
		ask = append(ask, h)
	}
	return ask, ""
}

// endsInNumber reports whether host is an IPv4 address or what resolvers take
// for one ("127.1"): its last label is a number.
func endsInNumber(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	return strings.Trim(last, "0123456789") == "" ||
		strings.HasPrefix(last, "0x") && strings.Trim(last[2:], "0123456789abcdef") == ""
}
