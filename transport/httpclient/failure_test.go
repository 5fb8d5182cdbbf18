package httpclient_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
)

func TestErrorsQuoteTheServerInOneCleanLine(t *testing.T) {
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("user:hunter2"))
	tests := []struct {
		name, body, authorization, want string
	}{
		{"plain", "no such blob", "", "answered 404 Not Found: no such blob"},
		{"empty", "", "", "answered 404 Not Found"},
		{"a page that only says so", "<html>\r\n<head><title>404 Not Found</title></head><body>nginx</body></html>", "", "answered 404 Not Found"},
		{"a page", "<!DOCTYPE html>\n<HTML lang=en><Title>Blocked by\nthe office</Title>…", "", "answered 404 Not Found: Blocked by the office"},
		{"lines and escapes", "a\r\n\tb\x1b[31m\x00c\xff", "", "answered 404 Not Found: a b[31mc"},
		{"long", strings.Repeat("é", 5000), "", "answered 404 Not Found: " + strings.Repeat("é", 150) + "…"},
		{"repeats a token", "bad token s3cr3t", "Bearer s3cr3t", "answered 404 Not Found: bad token …"},
		{"repeats a password", "bad password hunter2 " + basic[6:], basic, "answered 404 Not Found: bad password … …"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(404)
				_, _ = io.WriteString(w, tt.body)
			}))
			defer srv.Close()
			_, err := get(newClient(t, httpclient.Options{}), httpclient.Request{URL: srv.URL + "/x?sig=abc", Authorization: tt.authorization})
			checkKind(t, err, transport.ErrNotFound, "")
			if want := srv.URL + "/x?…: " + tt.want; err.Error() != want {
				t.Errorf("error %q, want %q", err, want)
			}
		})
	}
}

func TestSecretOfABodyIsNotShown(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(400)
		_, _ = io.Copy(w, r.Body)
	}))
	defer srv.Close()
	_, err := get(newClient(t, httpclient.Options{}), httpclient.Request{
		Method: http.MethodPost, URL: srv.URL, Body: "refresh_token=hunter2&x=y", Secret: "hunter2",
	})
	checkKind(t, err, transport.ErrPermanent, "answered 400 Bad Request: refresh_token=…&x=y")
}

// TestStalledErrorBodyIsNotAwaited would hang if it were.
func TestStalledErrorBodyIsNotAwaited(t *testing.T) {
	t.Parallel()
	for _, code := range []int{302, 500} {
		release := make(chan struct{})
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/after" {
				w.WriteHeader(500)
				return
			}
			w.Header().Set("Location", "/after")
			w.Header().Set("Content-Length", "100")
			w.WriteHeader(code)
			w.(http.Flusher).Flush()
			<-release
		}))
		_, err := get(newClient(t, httpclient.Options{}), httpclient.Request{URL: srv.URL})
		checkKind(t, err, transport.ErrTemporary, "answered 500")
		close(release)
		srv.Close()
	}
}

func TestEndlessErrorBodyIsCut(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(500)
		for {
			if _, err := io.WriteString(w, strings.Repeat("x", 4096)); err != nil {
				return
			}
		}
	}))
	defer srv.Close()
	_, err := get(newClient(t, httpclient.Options{}), httpclient.Request{URL: srv.URL})
	checkKind(t, err, transport.ErrTemporary, "answered 500")
}

// rawServer answers every request with the same bytes and hangs up.
func rawServer(t *testing.T, answer string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = http.ReadRequest(bufio.NewReader(c))
			_, _ = io.WriteString(c, answer)
			c.Close()
		}
	}()
	return l.Addr().String()
}

func TestFailures(t *testing.T) {
	closed := rawServer(t, "")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	plain := httptest.NewServer(http.HandlerFunc(hello))
	defer plain.Close()
	unknownCA := httptest.NewUnstartedServer(http.HandlerFunc(hello))
	unknownCA.Config.ErrorLog = quiet
	unknownCA.StartTLS()
	defer unknownCA.Close()

	// A label of 64 bytes, which resolvers know not to exist without asking.
	nowhere := strings.Repeat("x", 64) + ".invalid"
	tests := []struct {
		name, url string
		kind      error
		text      string
		noTLS     bool
	}{
		{"not HTTP", "http://" + rawServer(t, "220 ftp ready\r\n"), transport.ErrPermanent, "malformed HTTP", false},
		{"malformed header", "http://" + rawServer(t, "HTTP/1.1 200 OK\r\nno colon\r\n\r\n"), transport.ErrPermanent, "malformed", false},
		{"hangs up", "http://" + closed, transport.ErrTemporary, "EOF", false},
		{"hangs up on TLS", "https://" + closed, transport.ErrTemporary, "TLS handshake", true},
		{"nobody there", "http://" + nobody, transport.ErrTemporary, "refused", false},
		{"no such name", "http://" + nowhere, transport.ErrTemporary, "", false},
		{"plain HTTP for https", strings.Replace(plain.URL, "http:", "https:", 1), transport.ErrPermanent, "TLS handshake", true},
		{"unknown authority", unknownCA.URL, transport.ErrPermanent, "certificate", false},
		{"other scheme", "ftp://127.0.0.1/", transport.ErrPermanent, `scheme "ftp"`, false},
		{"no host", "http:///x", transport.ErrPermanent, "names no host", false},
		{"user information", "http://u:hunter2@127.0.0.1/", transport.ErrPermanent, "user information", false},
		{"malformed with password", "http://u:hunter2@host:pö/", transport.ErrPermanent, "malformed URL", false},
	}
	c := newClient(t, httpclient.Options{})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := get(c, httpclient.Request{URL: tt.url})
			checkKind(t, err, tt.kind, tt.text)
			if got := httpclient.NoTLS(err); got != tt.noTLS {
				t.Errorf("NoTLS = %v, want %v", got, tt.noTLS)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("error shows the password: %v", err)
			}
		})
	}
}

func TestContextError(t *testing.T) {
	cause := errors.New("slow source")
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	if err := httpclient.ContextError(ctx); !errors.Is(err, context.Canceled) || !errors.Is(err, cause) {
		t.Errorf("ContextError = %v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stop()
	if err := httpclient.ContextError(ctx); err != context.Canceled {
		t.Errorf("ContextError = %v, want context.Canceled itself", err)
	}
}

func TestNoGoroutineIsLeftBehind(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/missing":
			http.NotFound(w, r)
		case "/moved":
			redirectTo("/", 302)(w, r)
		default:
			_, _ = io.WriteString(w, strings.Repeat("x", 1<<20))
		}
	}))
	defer srv.Close()
	before := runtime.NumGoroutine()
	c := httpclient.New(httpclient.Options{CertDirs: []string{}})
	for range 20 {
		for _, path := range []string{"/", "/missing", "/moved"} {
			resp, err := c.Do(context.Background(), &httpclient.Request{URL: srv.URL + path})
			if err == nil {
				resp.Body.Close() // abandoned
			}
		}
	}
	c.CloseIdleConnections()
	srv.CloseClientConnections()
	for range 200 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, %d before", runtime.NumGoroutine(), before)
}

func TestParseRetryAfter(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := []struct {
		in   string
		want time.Duration
	}{
		{"0", 0}, {"120", 2 * time.Minute}, {" 5 ", 5 * time.Second},
		{"3600", time.Hour}, {"3601", time.Hour}, {"99999999999999999999999", time.Hour},
		{"Fri, 02 Jan 2026 03:05:05 GMT", time.Minute},
		{"Friday, 02-Jan-26 03:05:05 GMT", time.Minute},
		{"Fri, 02 Jan 2026 03:04:00 GMT", 0},
		{"Fri, 02 Jan 2099 03:04:00 GMT", time.Hour},
		{"-5", 0}, {"+5", 0}, {"1.5", 0}, {"soon", 0}, {"", 0},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			if got := httpclient.ParseRetryAfter(tt.in, now); got != tt.want {
				t.Errorf("ParseRetryAfter(%q) = %v, want %v", tt.in, got, tt.want)
			}
		})
	}
}

func TestRetryAfterIsByTheServersClock(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", "Thu, 01 Jan 2015 00:00:00 GMT")
		w.Header().Set("Retry-After", "Thu, 01 Jan 2015 00:00:30 GMT")
		w.WriteHeader(429)
	}))
	defer srv.Close()
	_, err := get(newClient(t, httpclient.Options{}), httpclient.Request{URL: srv.URL})
	var te *transport.Error
	if !errors.As(err, &te) || te.RetryAfter != 30*time.Second {
		t.Errorf("error %+v, want RetryAfter 30s", te)
	}
}

func FuzzParseRetryAfter(f *testing.F) {
	for _, s := range []string{"1", "Fri, 02 Jan 2026 03:05:05 GMT", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d := httpclient.ParseRetryAfter(s, time.Unix(1e9, 0)); d < 0 || d > httpclient.MaxRetryAfter {
			t.Fatalf("ParseRetryAfter(%q) = %v", s, d)
		}
	})
}

func FuzzOneLine(f *testing.F) {
	f.Add("a\nb\x1b[0m")
	f.Fuzz(func(t *testing.T, s string) {
		got := httpclient.OneLine(s)
		if !utf8.ValidString(got) || len(got) > 310 || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("OneLine(%q) = %q", s, got)
		}
	})
}
