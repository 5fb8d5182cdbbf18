package netclass

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
)

// RefusedError says that a connection was not made, since the address is in a
// narrower network than allowed.
type RefusedError struct {
	// Address is what would have been dialled: an IP address with port, or a
	// host where that alone decided.
	Address string
	// Class is the class Address is in.
	Class Class
	// Floor is the narrowest class that was allowed.
	Floor Class
}

// Error names the address and both classes.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("%s is a %s address, and a place in a %s network may not send us there", e.Address, e.Class, e.Floor)
}

// Networks are those that local configuration says may be reached whoever names
// an address in them.
type Networks []netip.Prefix

// Contain reports whether addr is in one of them.
func (n Networks) Contain(addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(n, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// Dialer makes connections to addresses of at least some class.
type Dialer struct {
	// Dialer makes the connections. Its Control and ControlContext must not
	// be set.
	Dialer net.Dialer
	// Floor is the narrowest class that may be dialled. The zero value allows
	// every address.
	Floor Class
	// Trusted are the networks that may be dialled whatever the floor is.
	Trusted Networks
}

// DialContext connects to address. Every address its host resolves to is
// checked before it is dialled; where all are too narrow the error is, or
// wraps, a [*RefusedError] and nothing was sent. What a host alone tells to be this
// machine, or an address in a lenient notation (127.1), isn't looked up where
// that is too narrow, unless networks are trusted: what it resolves to depends on
// who resolves it. A name below
// localhost that nobody resolves is this machine (RFC 6761 §6.3).
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if host, _, err := net.SplitHostPort(address); err == nil && d.Floor > Loopback && len(d.Trusted) == 0 {
		_, notIP := netip.ParseAddr(host)
		if class, known := OfHost(host); notIP != nil && known && class == Loopback {
			return nil, &RefusedError{Address: address, Class: class, Floor: d.Floor}
		}
	}
	nd := d.Dialer
	nd.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
		return d.check(address)
	}
	conn, err := nd.DialContext(ctx, network, address)
	if host, port, split := net.SplitHostPort(address); split == nil && belowLocalhost(host) && errors.As(err, new(*net.DNSError)) {
		return nd.DialContext(ctx, network, net.JoinHostPort(localhost, port))
	}
	return conn, err
}

// check judges the address of one attempt to connect.
func (d *Dialer) check(address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("dial %s: not an IP address with port", address)
	}
	if c := Of(ap.Addr()); c < d.Floor && !d.Trusted.Contain(ap.Addr()) {
		return &RefusedError{Address: address, Class: c, Floor: d.Floor}
	}
	return nil
}
