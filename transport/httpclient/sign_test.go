package httpclient_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
)

// sign adds what a request to an object store carries.
func sign(r *http.Request) error {
	r.Header.Set("Authorization", "AWS4-HMAC-SHA256 Signature=5ecret")
	r.Header.Set("X-Amz-Security-Token", "t0ken")
	return nil
}

func TestSignedRequestsAreNotRedirected(t *testing.T) {
	var elsewhere int
	target := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere++ }))
	defer target.Close()
	var got []string
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Authorization"), r.Header.Get("X-Amz-Security-Token"))
		w.Header().Set("X-Amz-Bucket-Region", "eu-west-1")
		http.Redirect(w, r, target.URL, http.StatusTemporaryRedirect)
	}))
	defer origin.Close()
	c := httpclient.New(httpclient.Options{CertDirs: []string{}})
	defer c.CloseIdleConnections()

	_, err := c.Do(context.Background(), &httpclient.Request{URL: origin.URL, Sign: sign})
	var status *httpclient.StatusError
	if !errors.As(err, &status) || status.Code != http.StatusTemporaryRedirect || status.Header.Get("X-Amz-Bucket-Region") != "eu-west-1" {
		t.Errorf("error %v, want the redirect itself", err)
	}
	if want := `["AWS4-HMAC-SHA256 Signature=5ecret" "t0ken"]`; fmt.Sprintf("%q", got) != want {
		t.Errorf("the origin was sent %q, want %s", got, want)
	}
	if elsewhere != 0 {
		t.Error("the redirect was followed")
	}
}

func TestServersCannotRepeatASignature(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_ = r.Header.Write(w)
	}))
	defer srv.Close()
	c := httpclient.New(httpclient.Options{CertDirs: []string{}})
	defer c.CloseIdleConnections()

	_, err := c.Do(context.Background(), &httpclient.Request{URL: srv.URL, Header: http.Header{"X-Plain": {"shown"}}, Sign: sign})
	var status *httpclient.StatusError
	if !errors.As(err, &status) || !strings.Contains(status.Text, "shown") || !strings.Contains(status.Body, "X-Plain: shown\r\n") {
		t.Fatalf("error %v, want what the server said", err)
	}
	for _, secret := range []string{"5ecret", "t0ken"} {
		if strings.Contains(err.Error()+status.Body, secret) {
			t.Errorf("%q is in the error: %v", secret, err)
		}
	}
}

func TestNothingIsSentUnsigned(t *testing.T) {
	var asked int
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer srv.Close()
	c := httpclient.New(httpclient.Options{CertDirs: []string{}})
	noKey := errors.New("no key")
	_, err := c.Do(context.Background(), &httpclient.Request{URL: srv.URL, Sign: func(*http.Request) error { return noKey }})
	if !errors.Is(err, noKey) || !errors.Is(err, transport.ErrPermanent) || asked != 0 {
		t.Errorf("error %v after %d requests, want %v after none", err, asked, noKey)
	}
}
