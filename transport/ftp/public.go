package ftp

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/waybill-project/waybill/transport/netclass"
)

// errUserNamed: credentials aren't for others to name or to choose.
var errUserNamed = errors.New("somebody else named the place with a user, which is refused")

// dialer returns what makes the connections to a server.
func (o Options) dialer() func(server) dialFunc {
	if !o.Public {
		dial := o.Dial
		if dial == nil {
			dial = (&net.Dialer{Timeout: dialTimeout}).DialContext
		}
		return func(server) dialFunc { return dial }
	}
	guarded := netclass.Dialer{Dialer: net.Dialer{Timeout: dialTimeout}, Floor: netclass.Public, Trusted: o.TrustedNetworks}
	return func(s server) dialFunc {
		d := guarded
		if o.Trusted != nil && (o.Trusted(s.written()) || o.Trusted(s.address())) {
			d.Floor = netclass.Loopback
		}
		return func(ctx context.Context, network, address string) (net.Conn, error) {
			return d.DialContext(ctx, network, address)
		}
	}
}

// written returns the host as URIs have it: with the port where that isn't the
// scheme's usual one.
func (s server) written() string {
	switch {
	case s.port != s.usualPort():
		return s.address()
	case strings.Contains(s.host, ":"):
		return "[" + s.host + "]"
	}
	return s.host
}
