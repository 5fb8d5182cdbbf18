package netclass

import (
	"context"
	"fmt"
	"net"
	"net/netip"
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

// Dialer makes connections to addresses of at least some class.
type Dialer struct {
	// Dialer makes the connections. Its Control and ControlContext must not
	// be set.
	Dialer net.Dialer
	// Floor is the narrowest class that may be dialled. The zero value allows
	// every address.
	Floor Class
}

// DialContext connects to address. Every address its host resolves to is
// checked before it is dialled; where all are too narrow the error is, or
// wraps, a [*RefusedError] and nothing was sent.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	nd := d.Dialer
	nd.ControlContext = func(_ context.Context, _, address string, _ syscall.RawConn) error {
		return d.check(address)
	}
	return nd.DialContext(ctx, network, address)
}

// check judges the address of one attempt to connect.
func (d *Dialer) check(address string) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("dial %s: not an IP address with port", address)
	}
	if c := Of(ap.Addr()); c < d.Floor {
		return &RefusedError{Address: address, Class: c, Floor: d.Floor}
	}
	return nil
}
