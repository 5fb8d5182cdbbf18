package mirrors

import (
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/registry"
)

// HTTPFor returns a function for registry.Options.HTTPFor: it makes a client
// with base's options for each place that the files have settings for, or whose
// certificate need not be verified, and returns nil for all others. What is set
// holds for the place's host alone, not for where that redirects to.
func (c *Config) HTTPFor(base httpclient.Options) func(registry.Place) *httpclient.Client {
	return func(p registry.Place) *httpclient.Client {
		e, ok := c.Settings(p)
		if !ok && !p.Insecure {
			return nil
		}
		o, server := base, p.Server()
		o.Insecure = func(host string) bool {
			return host == server && p.Insecure || base.Insecure != nil && base.Insecure(host)
		}
		o.Host = func(host string) httpclient.Host {
			switch {
			case host == server:
				return httpclient.Host{Authorities: e.CAs, Certificates: e.ClientCerts, Header: e.Header, DialTimeout: e.DialTimeout}
			case base.Host != nil:
				return base.Host(host)
			}
			return httpclient.Host{}
		}
		return httpclient.New(o)
	}
}
