package httpclient

import (
	"crypto/tls"
	"net/http"
	"net/url"
	"time"
)

// Host is what one host is asked with besides what all are.
type Host struct {
	// Authorities are files of authorities trusted beside the system's (PEM).
	Authorities []string
	// Certificates are files of a certificate of the client's and of its key,
	// empty where that is in the same file (PEM).
	Certificates [][2]string
	// Header is sent with every request, but not after a redirect has left the
	// origin: it may hold secrets. A header of the request's own counts more.
	Header http.Header
	// DialTimeout bounds the making of a connection; 0 is the usual.
	DialTimeout time.Duration
}

// host returns what the host of u is asked with.
func (c *Client) host(u *url.URL) Host {
	if c.options.Host == nil {
		return Host{}
	}
	return c.options.Host(u.Host)
}

// hasConnections reports whether connections are made with h, and so can't be
// shared.
func (h Host) hasConnections() bool {
	return len(h.Authorities) > 0 || len(h.Certificates) > 0 || h.DialTimeout > 0
}

// secrets returns what in the headers must not be shown. What is shorter than
// four bytes is none, and would leave nothing of an error.
func (h Host) secrets() []string {
	var all []string
	for _, values := range h.Header {
		for _, v := range values {
			for _, s := range append(secretsOf(v), v) {
				if len(s) > 3 {
					all = append(all, s)
				}
			}
		}
	}
	return all
}

// addTo adds h's certificates to those of config.
func (h Host) addTo(config *tls.Config) error {
	for _, path := range h.Authorities {
		if err := addAuthority(config, path); err != nil {
			return err
		}
	}
	for _, pair := range h.Certificates {
		cert, err := keyPair(pair[0], pair[1])
		if err != nil {
			return err
		}
		config.Certificates = append(config.Certificates, cert)
	}
	return nil
}
