package httpclient_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
)

var quiet = log.New(io.Discard, "", 0)

// mutualTLS starts a server with a certificate of ca that wants one of its
// clients, if clients is set.
func mutualTLS(t *testing.T, ca *realserver.CA, clients bool) *httptest.Server {
	t.Helper()
	cert := issue(t, ca)
	pair, err := tls.LoadX509KeyPair(cert.CertFile, cert.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pem, err := os.ReadFile(ca.File)
	if err != nil {
		t.Fatal(err)
	}
	pool.AppendCertsFromPEM(pem)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(hello))
	srv.Config.ErrorLog = quiet
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool}
	if clients {
		srv.TLS.ClientAuth = tls.RequireAndVerifyClientCert
	}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv
}

func newCA(t *testing.T) *realserver.CA {
	t.Helper()
	ca, err := realserver.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func issue(t *testing.T, ca *realserver.CA) realserver.Certificate {
	t.Helper()
	cert, err := ca.Issue(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// copyTo copies a file into a certs.d directory.
func copyTo(t *testing.T, from string, to ...string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(to...)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestCertificatesOfAHost(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	client := issue(t, ca)
	wantsNone, wantsOne := mutualTLS(t, ca, false), mutualTLS(t, ca, true)
	tests := []struct {
		name   string
		server *httptest.Server
		setUp  func(root, host string)
		kind   error
		text   string
	}{
		{"authority", wantsNone, func(root, host string) {
			copyTo(t, ca.File, root, host, "ca.crt")
		}, nil, ""},
		{"authority, as containerd names hosts", wantsNone, func(root, host string) {
			copyTo(t, ca.File, root, strings.Replace(host, ":", "_", 1)+"_", "ca.crt")
		}, nil, ""},
		{"another authority", wantsNone, func(root, host string) {
			copyTo(t, other.File, root, host, "ca.crt")
		}, transport.ErrPermanent, "unknown authority"},
		{"of another host", wantsNone, func(root, host string) {
			copyTo(t, ca.File, root, "127.0.0.1", "ca.crt")
		}, transport.ErrPermanent, "unknown authority"},
		{"client certificate", wantsOne, func(root, host string) {
			copyTo(t, ca.File, root, host, "ca.crt")
			copyTo(t, client.CertFile, root, host, "client.cert")
			copyTo(t, client.KeyFile, root, host, "client.key")
		}, nil, ""},
		{"no client certificate", wantsOne, func(root, host string) {
			copyTo(t, ca.File, root, host, "ca.crt")
		}, transport.ErrUnauthorized, "certificate required"},
		{"no key", wantsOne, func(root, host string) {
			copyTo(t, client.CertFile, root, host, "client.cert")
		}, transport.ErrPermanent, "client.key"},
		{"key alone", wantsOne, func(root, host string) {
			copyTo(t, client.KeyFile, root, host, "client.key")
		}, transport.ErrPermanent, "no client.cert beside it"},
		{"not PEM", wantsNone, func(root, host string) {
			writeFile(t, "junk", root, host, "ca.crt")
		}, transport.ErrPermanent, "ca.crt holds no certificate"},
		{"too large", wantsNone, func(root, host string) {
			writeFile(t, strings.Repeat("x", 1<<20+1), root, host, "ca.crt")
		}, transport.ErrPermanent, "larger than 1048576 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			root := t.TempDir()
			u, err := url.Parse(tt.server.URL)
			if err != nil {
				t.Fatal(err)
			}
			tt.setUp(root, u.Host)
			c := newClient(t, httpclient.Options{CertDirs: []string{filepath.Join(root, "missing"), root}})
			_, err = get(c, httpclient.Request{URL: tt.server.URL})
			if tt.kind == nil {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			checkKind(t, err, tt.kind, tt.text)
		})
	}
}

func writeFile(t *testing.T, content string, to ...string) {
	t.Helper()
	path := filepath.Join(to...)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestInsecureIsPerHost(t *testing.T) {
	ca := newCA(t)
	a, b := mutualTLS(t, ca, false), mutualTLS(t, ca, false)
	c := newClient(t, httpclient.Options{Insecure: func(host string) bool { return "https://"+host == a.URL }})
	if _, err := get(c, httpclient.Request{URL: a.URL}); err != nil {
		t.Errorf("insecure host: %v", err)
	}
	_, err := get(c, httpclient.Request{URL: b.URL})
	checkKind(t, err, transport.ErrPermanent, "unknown authority")
}

func TestDefaultCertDirs(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", "/config")
	want := "[/config/containers/certs.d /etc/containers/certs.d /etc/docker/certs.d /etc/containerd/certs.d]"
	if got := fmt.Sprint(httpclient.DefaultCertDirs()); got != want {
		t.Errorf("DefaultCertDirs = %v, want %v", got, want)
	}
}
