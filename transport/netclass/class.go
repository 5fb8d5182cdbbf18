package netclass

import (
	"fmt"
	"net"
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// Class is how wide a network is. Classes are ordered: the smaller, the
// narrower.
type Class uint8

// The classes, narrowest first.
const (
	// Loopback is this machine: 127.0.0.0/8, ::1, the unspecified addresses
	// (which dial to this machine), and every address that is not valid for a
	// connection to one other machine (multicast, broadcast, reserved), so
	// that nothing unforeseen counts as wide.
	Loopback Class = iota
	// LinkLocal is the wire this machine is on: 169.254.0.0/16, fe80::/10.
	// Clouds serve their machines' secrets there.
	LinkLocal
	// Private is an organisation's own network: RFC 1918, RFC 4193, shared
	// (RFC 6598), benchmarking, documentation and other special-purpose ranges
	// of RFC 6890.
	Private
	// Public is the internet.
	Public
)

// String returns the class in words, as used in errors: "loopback",
// "link-local", "private", "public".
func (c Class) String() string {
	switch c {
	case Loopback:
		return "loopback"
	case LinkLocal:
		return "link-local"
	case Private:
		return "private"
	case Public:
		return "public"
	}
	return fmt.Sprintf("Class(%d)", uint8(c))
}

// special lists the ranges of the IANA special-purpose address registries
// (RFC 6890 and its updates) that are not [Public], beside those netip knows.
var special = []struct {
	prefix netip.Prefix
	class  Class
}{
	{netip.MustParsePrefix("0.0.0.0/8"), Loopback},       // "this host", RFC 1122
	{netip.MustParsePrefix("100.64.0.0/10"), Private},    // shared, RFC 6598
	{netip.MustParsePrefix("192.0.0.0/24"), Private},     // protocol assignments, RFC 6890
	{netip.MustParsePrefix("192.0.2.0/24"), Private},     // documentation, RFC 5737
	{netip.MustParsePrefix("192.88.99.0/24"), Private},   // 6to4 relays, RFC 7526
	{netip.MustParsePrefix("198.18.0.0/15"), Private},    // benchmarking, RFC 2544
	{netip.MustParsePrefix("198.51.100.0/24"), Private},  // documentation
	{netip.MustParsePrefix("203.0.113.0/24"), Private},   // documentation
	{netip.MustParsePrefix("240.0.0.0/4"), Loopback},     // reserved and broadcast
	{netip.MustParsePrefix("100::/64"), Private},         // discard, RFC 6666
	{netip.MustParsePrefix("100:0:0:1::/64"), Private},   // dummy, RFC 9780
	{netip.MustParsePrefix("2001:db8::/32"), Private},    // documentation, RFC 3849
	{netip.MustParsePrefix("3fff::/20"), Private},        // documentation, RFC 9637
	{netip.MustParsePrefix("5f00::/16"), Private},        // segment routing, RFC 9602
	{netip.MustParsePrefix("64:ff9b:1::/48"), LinkLocal}, // local NAT64, RFC 8215: see Of
	{netip.MustParsePrefix("fec0::/10"), Private},        // site-local, RFC 3879
}

// embedding lists the IPv6 ranges whose addresses lead to the IPv4 address
// they hold, and at which byte it stands.
var embedding = []struct {
	prefix netip.Prefix
	at     int
}{
	{netip.MustParsePrefix("::/96"), 12},           // IPv4-compatible, RFC 4291 §2.5.5.1
	{netip.MustParsePrefix("::ffff:0:0:0/96"), 12}, // IPv4-translated, RFC 2765 §2.1
	{netip.MustParsePrefix("64:ff9b::/96"), 12},    // NAT64, RFC 6052
	{netip.MustParsePrefix("2002::/16"), 2},        // 6to4, RFC 3056
}

// teredo addresses hold the client's IPv4 address inverted in their last four
// bytes (RFC 4380 §4).
var teredo = netip.MustParsePrefix("2001::/32")

// protocols are addresses of protocols, not of hosts (RFC 2928): benchmarking
// (RFC 5180), anycast that ends at the next router (RFC 7723), identifiers that
// aren't routed (RFC 4843, RFC 7343).
var protocols = netip.MustParsePrefix("2001::/23")

// Of returns the class of the network addr is in. An IPv4 address in an IPv6
// form (mapped, NAT64, 6to4, Teredo, …) has the class of the IPv4 address. The
// local NAT64 range 64:ff9b:1::/48 may hold an IPv4 address at any of several
// places and counts as [LinkLocal]. The zero Addr is [Loopback].
func Of(addr netip.Addr) Class {
	addr = addr.Unmap().WithZone("")
	switch {
	case !addr.IsValid(), addr.IsLoopback(), addr.IsUnspecified(), addr.IsMulticast():
		return Loopback
	case addr.IsLinkLocalUnicast():
		return LinkLocal
	case addr.IsPrivate():
		return Private
	}
	for _, s := range special {
		if s.prefix.Contains(addr) {
			return s.class
		}
	}
	if !addr.Is6() {
		return Public
	}
	b := addr.As16()
	for _, e := range embedding {
		if e.prefix.Contains(addr) {
			return Of(netip.AddrFrom4([4]byte(b[e.at : e.at+4])))
		}
	}
	switch {
	case teredo.Contains(addr):
		return Of(netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]}))
	case protocols.Contains(addr):
		return Private
	}
	return Public
}

// OfAddr returns the class of the address of a connection. What is not an IP
// address (a Unix socket) is on this machine: [Loopback].
func OfAddr(addr net.Addr) Class {
	if addr == nil {
		return Loopback
	}
	ap, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return Loopback
	}
	return Of(ap.Addr())
}

// insideNames are domains that by agreement are no part of the internet's: those
// of mDNS (RFC 6762), of homes (RFC 8375), and of whoever uses .internal.
var insideNames = []string{".local", ".home.arpa", ".internal"}

// OfHost returns the class that can be told from a host alone, without
// resolving it: that of an IP address (with or without the brackets of a URI),
// [Loopback] for localhost and names below it (RFC 6761 §6.3), [Private] for
// names below .local, .home.arpa and .internal, and false for any other name.
// Number forms that old resolvers take for an address (127.1, 0x7f000001) count
// as [Loopback]. What isn't ASCII is read as it would be looked up (UTS 46): full-width
// digits are digits. What can't be read so is [Loopback].
func OfHost(host string) (Class, bool) {
	if strings.ContainsFunc(host, func(r rune) bool { return r > '~' }) {
		ascii, err := idna.Lookup.ToASCII(host)
		if err != nil {
			return Loopback, true
		}
		host = ascii
	}
	host = strings.TrimRight(strings.ToLower(host), ".")
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if addr, err := netip.ParseAddr(host); err == nil {
		return Of(addr), true
	}
	if host == localhost || belowLocalhost(host) || numeric(host) {
		return Loopback, true
	}
	for _, inside := range insideNames {
		if strings.HasSuffix(host, inside) {
			return Private, true
		}
	}
	return 0, false
}

// localhost is this machine's name for itself.
const localhost = "localhost"

// belowLocalhost reports whether host is a name below localhost.
func belowLocalhost(host string) bool {
	return strings.HasSuffix(strings.TrimSuffix(strings.ToLower(host), "."), "."+localhost)
}

// numeric reports whether the last label of host is a number, which no name in
// the DNS has, so that host is an address in some lenient notation.
func numeric(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}
