package httpclient_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waybill-project/waybill/transport/httpclient"
)

func TestHostCertificates(t *testing.T) {
	ca := newCA(t)
	srv := mutualTLS(t, ca, true)
	other := mutualTLS(t, ca, true)
	host := strings.TrimPrefix(srv.URL, "https://")
	cert := issue(t, ca)
	both := filepath.Join(t.TempDir(), "both.pem")
	var joined []byte
	for _, file := range []string{cert.CertFile, cert.KeyFile} {
		pem, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		joined = append(joined, pem...)
	}
	if err := os.WriteFile(both, joined, 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		host httpclient.Host
		url  string
		says string // of the error
	}{
		{"key in a file of its own", httpclient.Host{Authorities: []string{ca.File}, Certificates: [][2]string{{cert.CertFile, cert.KeyFile}}}, srv.URL, ""},
		{"key in the same file", httpclient.Host{Authorities: []string{ca.File}, Certificates: [][2]string{{both, ""}}}, srv.URL, ""},
		{"another host", httpclient.Host{Authorities: []string{ca.File}, Certificates: [][2]string{{both, ""}}}, other.URL, "unknown authority"},
		{"no certificate", httpclient.Host{Authorities: []string{ca.File}}, srv.URL, "certificate"},
		{"no authority", httpclient.Host{Certificates: [][2]string{{both, ""}}}, srv.URL, "unknown authority"},
		{"no such file", httpclient.Host{Authorities: []string{"/nowhere/ca.crt"}}, srv.URL, "/nowhere/ca.crt"},
		{"no key", httpclient.Host{Certificates: [][2]string{{cert.CertFile, ""}}}, srv.URL, filepath.Base(cert.CertFile)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := httpclient.New(httpclient.Options{CertDirs: []string{}, Host: func(h string) httpclient.Host {
				if h == host {
					return tt.host
				}
				return httpclient.Host{}
			}})
			defer c.CloseIdleConnections()
			resp, err := c.Do(t.Context(), &httpclient.Request{URL: tt.url})
			if err == nil {
				resp.Body.Close()
			}
			if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("error %v, want one that says %q", err, tt.says)
			}
		})
	}
}

func TestServersCannotRepeatAHostHeader(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_ = r.Header.Write(w)
	}))
	defer srv.Close()
	c := httpclient.New(httpclient.Options{Host: func(string) httpclient.Host {
		return httpclient.Host{Header: http.Header{"X-Token": {"s3cret"}, "Authorization": {"Bearer t0ken"}}}
	}})
	defer c.CloseIdleConnections()
	_, err := c.Do(t.Context(), &httpclient.Request{URL: srv.URL})
	if err == nil || strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "t0ken") {
		t.Errorf("error %v", err)
	}
}

func TestHostHeaderStaysWithItsOrigin(t *testing.T) {
	seen := map[string][]string{}
	handler := func(name string, to func() string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			seen[name] = append(seen[name], r.URL.Path+" "+r.Header.Get("X-Token")+" "+r.Header.Get("Accept"))
			if to != nil && r.URL.Path != "/end" {
				http.Redirect(w, r, to(), http.StatusTemporaryRedirect)
			}
		}
	}
	var first, second *httptest.Server
	second = httptest.NewServer(handler("second", func() string { return first.URL + "/end" }))
	defer second.Close()
	first = httptest.NewServer(handler("first", func() string { return second.URL }))
	defer first.Close()
	c := httpclient.New(httpclient.Options{Host: func(h string) httpclient.Host {
		if h != strings.TrimPrefix(first.URL, "http://") {
			return httpclient.Host{}
		}
		return httpclient.Host{Header: http.Header{"x-token": {"s3cret"}, "Accept": {"overridden"}}, DialTimeout: time.Second}
	}})
	defer c.CloseIdleConnections()
	resp, err := c.Do(t.Context(), &httpclient.Request{URL: first.URL + "/start", Header: http.Header{"Accept": {"ours"}}})
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	// Having left, it doesn't come back.
	if got := strings.Join(seen["first"], ", "); got != "/start s3cret ours, /end  ours" {
		t.Errorf("the origin saw %q", got)
	}
	if got := strings.Join(seen["second"], ", "); got != "/  ours" {
		t.Errorf("the other saw %q", got)
	}
}
