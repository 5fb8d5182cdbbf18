// Package webhosts serves made-up hosts over HTTPS, at port 443 as far as
// clients can tell, for tests of discovery protocols: each host has a
// certificate of its own, by an authority that only the site's client trusts.
package webhosts

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/webdoc"
)

// Files are what a host serves: paths, with the query where there is one, and
// content.
type Files map[string]string

// ServeHTTP implements [http.Handler].
func (f Files) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	content, ok := f[r.URL.RequestURI()]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write([]byte(content))
}

// Site is a number of hosts.
type Site struct {
	// Docs gets documents of them.
	Docs *webdoc.Client

	mu   sync.Mutex
	seen []string
}

// Start serves the hosts until the test ends. All other hosts don't exist.
func Start(t testing.TB, hosts map[string]http.Handler) *Site {
	t.Helper()
	s := &Site{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen = append(s.seen, "https://"+r.Host+r.URL.RequestURI())
		s.mu.Unlock()
		hosts[r.Host].ServeHTTP(w, r)
	}))
	names := slices.Sorted(maps.Keys(hosts))
	certificate := issue(t, names)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.StartTLS()
	t.Cleanup(server.Close)
	to := map[string]string{}
	for _, n := range names {
		to[n+":443"] = server.Listener.Addr().String()
	}
	s.Docs = Docs(t, to, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}))
	return s
}

// Docs returns a client for which HOST:443 is at the address that to names, and
// which trusts the certificate (PEM) for these hosts.
func Docs(t testing.TB, to map[string]string, certificate []byte) *webdoc.Client {
	t.Helper()
	proxy, err := realserver.StartProxy("", to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Stop)
	certs := t.TempDir()
	for hostport := range to {
		host := hostport[:len(hostport)-len(":443")]
		dir := filepath.Join(certs, host)
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "ca.crt"), certificate, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	proxyURL, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	client := httpclient.New(httpclient.Options{CertDirs: []string{certs}, Proxy: http.ProxyURL(proxyURL)})
	t.Cleanup(client.CloseIdleConnections)
	return webdoc.New(client, 0)
}

// Asked returns the URLs that were asked for so far, in order.
func (s *Site) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// issue makes a certificate for the hosts that is its own authority.
func issue(t testing.TB, hosts []string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "waybill discovery test"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		DNSNames:              hosts,
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
