package realserver

import (
	"context"
	"fmt"
	"net"
	"os"
)

// DNS is a running dnsmasq that knows some TXT records and passes no question
// on.
type DNS struct {
	*Process
	// Resolver asks it, and nobody else.
	Resolver *net.Resolver
}

// StartDNS starts a dnsmasq with TXT records by name, several to a name if need
// be: what DNSLink is made of.
func StartDNS(ctx context.Context, dir string, records map[string][]string) (*DNS, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("directory of dnsmasq: %w", err)
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	_, port, _ := net.SplitHostPort(addr)
	args := []string{
		"--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null", "--pid-file", "--user=",
		"--listen-address=127.0.0.1", "--bind-interfaces", "--port=" + port, "--local=/example/",
	}
	for name, values := range records {
		for _, v := range values {
			args = append(args, fmt.Sprintf("--txt-record=%s,%s", name, v))
		}
	}
	d := &DNS{Resolver: &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, network, addr)
	}}}
	d.Process, err = start(ctx, dir, dialable("tcp", addr), "dnsmasq", args...)
	if err != nil {
		return nil, err
	}
	return d, nil
}
