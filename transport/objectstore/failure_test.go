package objectstore_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/objectstore"
)

func TestParseError(t *testing.T) {
	tests := []struct{ name, text, code, message string }{
		{"Google's", `<?xml version='1.0' encoding='UTF-8'?><Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist.</Message></Error>`,
			"NoSuchBucket", "The specified bucket does not exist."},
		{"with details", `<Error><Code>AccessDenied</Code><Message>Access denied.</Message><Details>Anonymous caller &amp; co.</Details></Error>`,
			"AccessDenied", "Access denied. Anonymous caller & co."},
		{"cut off", `<?xml version="1.0"?><Error><Code>ServerBusy</Code><Message>The server is`, "ServerBusy", "The server is"},
		{"cut off in a tag", `<Error><Code>ServerBusy</Code><Mess`, "ServerBusy", ""},
		{"cut off in an entity", `<Error><Code>A</Code><Message>a &am`, "A", "a"},
		{"two lines", "<Error><Code>A</Code><Message>one\ntwo\x1b[31m</Message></Error>", "A", "one two[31m"},
		{"a code that is none", `<Error><Code>see &lt;a&gt; there</Code><Message>m</Message></Error>`, "", "m"},
		{"a code that is too long", `<Error><Code>` + strings.Repeat("a", 101) + `</Code></Error>`, "", ""},
		{"deeper elements", `<Error><a><Code>No</Code></a><Code>Yes</Code></Error>`, "Yes", ""},
		{"HTML", "<html><body>Bad gateway</body></html>", "", "<html><body>Bad gateway</body></html>"},
		{"JSON", `{"error":"x"}`, "", `{"error":"x"}`},
		{"nothing", "", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if code, message := objectstore.ParseError(tt.text); code != tt.code || message != tt.message {
				t.Errorf("got %q, %q; want %q, %q", code, message, tt.code, tt.message)
			}
		})
	}
}

func FuzzParseError(f *testing.F) {
	f.Add(`<?xml version="1.0"?><Error><Code>A</Code><Message>m</Message><Details>d</Details></Error>`)
	f.Add(`<Error><Code>A</Code><Message>a &am`)
	f.Add("<Error><Error></Error></Error></Error>")
	f.Fuzz(func(t *testing.T, text string) {
		code, message := objectstore.ParseError(text)
		if strings.ContainsAny(code+message, "\n\r\x00\x1b") || !utf8.ValidString(code+message) {
			t.Errorf("%q, %q are not fit to be shown", code, message)
		}
		if len(code) > 100 || len(message) > 400 {
			t.Errorf("%d and %d bytes", len(code), len(message))
		}
	})
}

func TestExplain(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Code", r.URL.Query().Get("code"))
		w.WriteHeader(http.StatusConflict)
		if r.Method != http.MethodHead {
			w.Write([]byte("<Error><Code>Busy</Code><Message>go away with your " + r.URL.Query().Get("sig") + "</Message></Error>"))
		}
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	client := httpclient.New(httpclient.Options{CertDirs: []string{}})
	defer client.CloseIdleConnections()
	dialect := objectstore.Dialect{CodeHeader: "X-Code", Kind: func(e *objectstore.ServiceError) error {
		if e.Code == "Busy" {
			return transport.ErrThrottled
		}
		return nil
	}}
	hint := func(kind error) string { return "that was: " + kind.Error() }
	tests := []struct {
		name, method, query string
		kind                error
		want                string
	}{
		{"by the body", "GET", "?sig=hunter2", transport.ErrThrottled,
			"gs://b/o: " + host + " answered 409 Busy: go away with your … (that was: throttled)"},
		{"by the header", "HEAD", "?code=Busy", transport.ErrThrottled, "gs://b/o: " + host + " answered 409 Busy (that was: throttled)"},
		{"by the status", "HEAD", "?code=Other", transport.ErrPermanent, "gs://b/o: " + host + " answered 409 Other (that was: permanent failure)"},
		{"without a code", "HEAD", "", transport.ErrPermanent, "gs://b/o: " + host + " answered 409 Conflict (that was: permanent failure)"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := client.Do(context.Background(), &httpclient.Request{Method: tt.method, URL: server.URL + "/o" + tt.query})
			err = dialect.Explain(err, "gs://b/o", hint, "", "hunter2")
			var service *objectstore.ServiceError
			if err.Error() != tt.want || !errors.Is(err, tt.kind) || !errors.As(err, &service) {
				t.Errorf("got %v (kind %q: %v); want %s", err, tt.kind, errors.Is(err, tt.kind), tt.want)
			}
			var status *httpclient.StatusError
			if !errors.As(err, &status) || strings.Contains(status.Error(), "hunter2") {
				t.Errorf("status %v", status)
			}
		})
	}
	t.Run("other errors", func(t *testing.T) {
		other := errors.New("other")
		if got := dialect.Explain(other, "gs://b/o", hint); got != other {
			t.Errorf("got %v", got)
		}
		got := dialect.Explain(transport.Errorf(transport.ErrRefused, "https://h/o?sig=hunter2", "no"), "gs://b/o", hint)
		if got.Error() != "gs://b/o: no" || !errors.Is(got, transport.ErrRefused) {
			t.Errorf("got %v", got)
		}
	})
}
