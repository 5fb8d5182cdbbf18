package registry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-project/waybill/credentials"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/registry"
)

// bearer is a registry that wants the token of the moment from a realm.
type bearer struct {
	*fake
	realm  string
	mu     sync.Mutex
	wanted string
}

func (b *bearer) want(token string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wanted = token
}

func newBearer(t testing.TB, realm string) *bearer {
	b := &bearer{realm: realm, wanted: "t1"}
	b.fake = newFake(t, func(f *fake, w http.ResponseWriter, r *http.Request) {
		b.mu.Lock()
		wanted := b.wanted
		b.mu.Unlock()
		if r.Header.Get("Authorization") != "Bearer "+wanted {
			challenge(w, fmt.Sprintf(`Bearer realm=%q,service="svc"`, b.realm))
			return
		}
		serveHello(w, r)
	})
	return b
}

// issuer is a token service that answers with the same object always.
func issuer(t testing.TB, answer any) *fake {
	return newFake(t, func(_ *fake, w http.ResponseWriter, r *http.Request) { writeJSON(w, answer) })
}

type object = map[string]any

func TestTokenIsFetchedOnceAndRenewedWhenRefused(t *testing.T) {
	n := 0
	tokens := newFake(t, func(_ *fake, w http.ResponseWriter, r *http.Request) {
		n++
		writeJSON(w, object{"token": fmt.Sprint("t", n), "expires_in": 300})
	})
	r := newBearer(t, tokens.URL+"/token?x=y")
	c := fakeClient(t, registry.Options{})
	get := func() {
		t.Helper()
		if _, err := read(c, route(r.host, "team/app"), hello, 0, 5); err != nil {
			t.Fatal(err)
		}
	}
	ask := "GET /token?client_id=waybill&scope=repository%3Ateam%2Fapp%3Apull&service=svc&x=y"
	get()
	r.check(t, "the registry", "GET "+helloPath, "GET "+helloPath+" Bearer t1")
	tokens.check(t, "the token service", ask)
	get()
	r.check(t, "the registry", "GET "+helloPath+" Bearer t1")
	tokens.check(t, "the token service")

	r.want("t2")
	get()
	r.check(t, "the registry", "GET "+helloPath+" Bearer t1", "GET "+helloPath+" Bearer t2")
	tokens.check(t, "the token service", ask)

	// Another repository needs another token, and is known to.
	r.want("t3")
	if _, err := read(c, route(r.host, "team/web"), hello, 0, 5); err != nil {
		t.Fatal(err)
	}
	if got := r.take(); len(got) != 1 || !strings.HasSuffix(got[0], "Bearer t3") {
		t.Errorf("the registry was asked %q", got)
	}

	// A token that is refused when fresh is refused for good.
	r.want("never")
	_, err := read(c, route(r.host, "team/app"), hello, 0, 5)
	checkKind(t, err, transport.ErrUnauthorized, "401")
	r.check(t, "the registry", "GET "+helloPath+" Bearer t2", "GET "+helloPath+" Bearer t4")
	if strings.Contains(err.Error(), "t4") {
		t.Errorf("error shows the token: %v", err)
	}
}

func TestManyReadersShareOneToken(t *testing.T) {
	release := make(chan struct{})
	tokens := newFake(t, func(_ *fake, w http.ResponseWriter, r *http.Request) {
		<-release
		writeJSON(w, object{"access_token": "t1", "expires_in": 300})
	})
	r := newBearer(t, tokens.URL)
	c := fakeClient(t, registry.Options{})

	// The first to ask gives up; those who wait with it don't suffer.
	ctx, cancel := context.WithCancel(context.Background())
	first := make(chan error)
	go func() {
		_, err := c.Open(ctx, route(r.host, "team/app"), hello, 0, 5)
		first <- err
	}()
	for len(tokens.take()) == 0 {
		time.Sleep(time.Millisecond)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := read(c, route(r.host, "team/app"), hello, 0, 5); err != nil {
				t.Error(err)
			}
		})
	}
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first reader got %v, want context.Canceled", err)
	}
	close(release)
	wg.Wait()
	if n := len(tokens.take()); n != 0 {
		t.Errorf("%d more tokens were asked for", n)
	}
}

func TestCredentials(t *testing.T) {
	tests := []struct {
		name       string
		credential credentials.Credential
		tokens     []string // what the token service is asked
		registry   string   // the Authorization the registry is sent
	}{
		{"password", credentials.Credential{Username: "ann", Password: "pw"},
			[]string{"GET /token?account=ann&client_id=waybill&scope=repository%3Ateam%2Fapp%3Apull&service=svc Basic YW5uOnB3"}, "Bearer t1"},
		{"identity token", credentials.Credential{IdentityToken: "id"},
			[]string{"POST /token client_id=waybill&grant_type=refresh_token&refresh_token=id&scope=repository%3Ateam%2Fapp%3Apull&service=svc"}, "Bearer t1"},
		{"registry token", credentials.Credential{RegistryToken: "t1"}, nil, "Bearer t1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var asked []string
			tokens := newFake(t, func(_ *fake, w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				asked = append(asked, strings.Join(strings.Fields(r.Method+" "+r.RequestURI+" "+string(body)+" "+r.Header.Get("Authorization")), " "))
				writeJSON(w, object{"token": "t1"})
			})
			r := newBearer(t, tokens.URL+"/token")
			c := fakeClient(t, registry.Options{Credentials: one{host: r.host, Credential: tt.credential}})
			if _, err := read(c, route(r.host, "team/app"), hello, 0, 5); err != nil {
				t.Fatal(err)
			}
			if fmt.Sprint(asked) != fmt.Sprint(tt.tokens) {
				t.Errorf("the token service was asked %q, want %q", asked, tt.tokens)
			}
			r.check(t, "the registry", "GET "+helloPath, "GET "+helloPath+" "+tt.registry)
		})
	}
}

func TestTokenServiceRedirectGetsNoCredentials(t *testing.T) {
	elsewhere := issuer(t, object{"token": "t1"})
	tokens := newFake(t, func(_ *fake, w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", elsewhere.URL+"/t")
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	r := newBearer(t, tokens.URL)
	ann := one{host: r.host, Credential: credentials.Credential{Username: "ann", Password: "pw"}}
	if _, err := read(fakeClient(t, registry.Options{Credentials: ann}), route(r.host, "team/app"), hello, 0, 5); err != nil {
		t.Fatal(err)
	}
	elsewhere.check(t, "the redirect target", "GET /t")

	// An identity token would be in the body, so that isn't redirected at all.
	id := one{host: r.host, Credential: credentials.Credential{IdentityToken: "id"}}
	_, err := read(fakeClient(t, registry.Options{Credentials: id}), route(r.host, "team/app"), hello, 0, 5)
	checkKind(t, err, transport.ErrPermanent, "redirects a POST")
	elsewhere.check(t, "the redirect target")
}

func TestCredentialsAreLookedUpByTheNameInUse(t *testing.T) {
	r := newBearer(t, "")
	r.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { challenge(w, `Basic realm="x"`) })
	failing := one{host: r.host, err: errors.New("credentials: config.json is not valid JSON at byte 3")}
	_, err := read(fakeClient(t, registry.Options{Credentials: failing}), route(r.host, "team/app"), hello, 0, 5)
	checkKind(t, err, transport.ErrUnauthorized, "config.json is not valid JSON at byte 3")
}

func TestTokenServiceFailures(t *testing.T) {
	status := func(code int, header ...string) func(*fake, http.ResponseWriter, *http.Request) {
		return func(_ *fake, w http.ResponseWriter, r *http.Request) {
			if len(header) > 0 {
				w.Header().Set(header[0], header[1])
			}
			w.WriteHeader(code)
			_, _ = io.WriteString(w, "sorry")
		}
	}
	answer := func(v any) func(*fake, http.ResponseWriter, *http.Request) {
		return func(_ *fake, w http.ResponseWriter, r *http.Request) { writeJSON(w, v) }
	}
	tests := []struct {
		name    string
		handler func(*fake, http.ResponseWriter, *http.Request)
		kind    error
		text    string
	}{
		{"401", status(401), transport.ErrUnauthorized, "token service answered 401 Unauthorized: sorry"},
		{"400", status(400), transport.ErrUnauthorized, "answered 400"},
		{"404", status(404), transport.ErrUnauthorized, "answered 404"},
		{"429", status(429, "Retry-After", "3"), transport.ErrThrottled, "answered 429"},
		{"500", status(500), transport.ErrTemporary, "answered 500"},
		{"not JSON", status(200), transport.ErrPermanent, "not a JSON object"},
		{"no token", answer(object{}), transport.ErrPermanent, "holds no token"},
		{"header injection", answer(object{"token": "x\r\nHost: y"}), transport.ErrPermanent, "characters no header can"},
		{"huge token", answer(object{"token": strings.Repeat("x", 65<<10)}), transport.ErrPermanent, "larger than 64 KiB"},
		{"huge answer", answer(object{"x": strings.Repeat("x", 1<<20)}), transport.ErrPermanent, "larger than 1 MiB"},
		{"breaks off", status(200, "Content-Length", "100"), transport.ErrPermanent, "breaks off"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tokens := newFake(t, tt.handler)
			r := newBearer(t, tokens.URL)
			_, err := read(fakeClient(t, registry.Options{}), route(r.host, "team/app"), hello, 0, 5)
			checkKind(t, err, tt.kind, tt.text)
			var te *transport.Error
			if errors.As(err, &te); tt.kind == transport.ErrThrottled && te.RetryAfter != 3*time.Second {
				t.Errorf("RetryAfter = %v, want 3s", te.RetryAfter)
			}
		})
	}
}

func TestChallengesNotAnswered(t *testing.T) {
	tokens := issuer(t, object{"token": "t1"})
	tests := []struct {
		name, challenge string
		kind            error
		text            string
	}{
		{"none", "", transport.ErrUnauthorized, "answered 401"},
		{"unknown scheme", "Negotiate", transport.ErrUnauthorized, "answered 401"},
		{"basic, no credential", `Basic realm="x"`, transport.ErrUnauthorized, "answered 401"},
		{"malformed", `Bearer realm="` + tokens.URL, transport.ErrPermanent, "malformed WWW-Authenticate"},
		{"no realm", `Bearer service="x"`, transport.ErrPermanent, "names no token service"},
		{"relative realm", `Bearer realm="/token"`, transport.ErrPermanent, "names no token service"},
		{"credentials in the realm", `Bearer realm="` + strings.Replace(tokens.URL, "//", "//u:p@", 1) + `"`, transport.ErrRefused, "credentials in its URL"},
		{"file", `Bearer realm="file://localhost/etc/passwd"`, transport.ErrRefused, "not https"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newFake(t, func(_ *fake, w http.ResponseWriter, _ *http.Request) { challenge(w, tt.challenge) })
			_, err := read(fakeClient(t, registry.Options{}), route(r.host, "team/app"), hello, 0, 5)
			checkKind(t, err, tt.kind, tt.text)
			tokens.check(t, "the token service")
		})
	}
}

func TestTokenServiceOfAnHTTPSRegistryIsHTTPS(t *testing.T) {
	tokens := issuer(t, object{"token": "t1"})
	r := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		challenge(w, `Bearer realm="`+tokens.URL+`"`)
	}))
	defer r.Close()
	h := httpclient.New(httpclient.Options{CertDirs: []string{}, Insecure: func(string) bool { return true }})
	t.Cleanup(h.CloseIdleConnections)
	host := strings.TrimPrefix(r.URL, "https://")
	_, err := read(fakeClient(t, registry.Options{HTTP: h}), route(host, "team/app"), hello, 0, 5)
	checkKind(t, err, transport.ErrRefused, "is not https, the registry is")
	tokens.check(t, "the token service")
}

// TestTokenServiceInANarrowerNetwork has a registry with a public name (known
// to a proxy only) name a token service on this machine (CVE-2026-33990).
func TestTokenServiceInANarrowerNetwork(t *testing.T) {
	tokens := issuer(t, object{"token": "t1"})
	r := newBearer(t, strings.Replace(tokens.URL, "127.0.0.1", "localhost", 1))
	proxy, err := realserver.StartProxy("", map[string]string{"registry.example": r.host, "registry.example:443": r.host})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Stop)
	for _, v := range []string{"NO_PROXY", "https_proxy", "no_proxy", "http_proxy"} {
		t.Setenv(v, "")
	}
	t.Setenv("HTTP_PROXY", proxy.URL)
	t.Setenv("HTTPS_PROXY", proxy.URL)
	c := fakeClient(t, registry.Options{
		PlainHTTP:   func(string) bool { return true },
		Credentials: one{host: "registry.example", Credential: credentials.Credential{Username: "ann", Password: "pw"}},
	})
	_, err = read(c, route("registry.example", "team/app"), hello, 0, 5)
	checkKind(t, err, transport.ErrRefused, "loopback address")
	tokens.check(t, "the token service")
}
