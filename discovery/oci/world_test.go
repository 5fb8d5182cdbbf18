package oci_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-project/waybill/discovery"
	"github.com/waybill-project/waybill/discovery/oci"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/webdoc"
)

// world is hosts on port 443, with certificates, that are one server of the
// test's behind a proxy.
type world struct {
	proxy   *realserver.Proxy
	certs   string // a directory as httpclient.Options.CertDirs wants it
	env     map[string]string
	all     bool
	timeout time.Duration

	mu    sync.Mutex
	pages map[string]http.HandlerFunc // by host and path
	asked []string
	notes []discovery.Note
}

// newWorld makes one of the given hosts.
func newWorld(t *testing.T, hosts ...string) *world {
	t.Helper()
	w := &world{certs: t.TempDir(), pages: map[string]http.HandlerFunc{}, env: map[string]string{"XDG_CONFIG_DIRS": t.TempDir(), "XDG_CONFIG_HOME": t.TempDir()}}
	server := httptest.NewUnstartedServer(w)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	cert, authority := certificate(t, hosts)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	server.StartTLS()
	t.Cleanup(server.Close)
	w.at(t, server.Listener.Addr().String(), authority, hosts...)
	return w
}

// at has the hosts be the server at addr, whose certificate is of authority
// (PEM).
func (w *world) at(t *testing.T, addr string, authority []byte, hosts ...string) {
	t.Helper()
	to := map[string]string{}
	for _, h := range hosts {
		to[h+":443"] = addr
		dir := filepath.Join(w.certs, h)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "ca.crt"), authority, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	proxy, err := realserver.StartProxy(addr, to)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Stop)
	w.proxy = proxy
}

// certificate makes one for the hosts, signed by itself.
func certificate(t *testing.T, hosts []string) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range hosts {
		if ip := net.ParseIP(strings.Trim(h, "[]")); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// ServeHTTP answers with the page of the host and path.
func (w *world) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	at := r.Host + r.URL.EscapedPath()
	w.mu.Lock()
	w.asked = append(w.asked, at)
	page := w.pages[at]
	w.mu.Unlock()
	if page == nil {
		http.NotFound(rw, r)
		return
	}
	page(rw, r)
}

// page puts content at a host and path.
func (w *world) page(at, mediaType, content string) {
	w.pages[at] = func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", mediaType)
		_, _ = io.WriteString(rw, content)
	}
}

// wellKnown puts a discovery document on a host.
func (w *world) wellKnown(host, content string) {
	w.page(host+oci.WellKnown, oci.MediaTypeRefEngines, content)
}

// config puts a local discovery document into one of the directories.
func (w *world) config(t *testing.T, dir, content string) string {
	t.Helper()
	file := filepath.Join(dir, "oci-discovery", "ref-engine-discovery.json")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// resolve resolves a name as a program would, and notes what was asked and told.
func (w *world) resolve(t *testing.T, name string) (oci.Answer, error) {
	t.Helper()
	n, err := oci.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	proxy, err := url.Parse(w.proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	client := httpclient.New(httpclient.Options{
		CertDirs: []string{w.certs},
		Proxy: func(r *http.Request) (*url.URL, error) {
			if r.URL.Port() != "" {
				return nil, nil // a server of its own
			}
			return proxy, nil
		},
	})
	t.Cleanup(client.CloseIdleConnections)
	w.mu.Lock()
	w.asked, w.notes = nil, nil
	w.mu.Unlock()
	w.proxy.Reset()
	r := oci.New(oci.Options{
		Docs: webdoc.New(client, w.timeout), All: w.all,
		Env:  func(key string) string { return w.env[key] },
		Note: func(n discovery.Note) { w.notes = append(w.notes, n) },
	})
	return r.Resolve(t.Context(), n)
}

// wasAsked checks which pages were asked for, in any order.
func (w *world) wasAsked(t *testing.T, want ...string) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	got := slices.Clone(w.asked)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("asked for %q; want %q", got, want)
	}
}

// wasNoted checks that there is a note with the text about the place.
func (w *world) wasNoted(t *testing.T, where, text string) {
	t.Helper()
	for _, n := range w.notes {
		if strings.Contains(n.Where, where) && strings.Contains(n.Text, text) {
			return
		}
	}
	t.Errorf("no note on %q with %q in %+v", where, text, w.notes)
}

// docs returns a client that reaches nobody.
func (w *world) docs(t *testing.T) *webdoc.Client {
	t.Helper()
	refuse := func(*http.Request) (*url.URL, error) { return nil, http.ErrNotSupported }
	return webdoc.New(httpclient.New(httpclient.Options{Proxy: refuse, CertDirs: []string{}}), 0)
}

func mustURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
