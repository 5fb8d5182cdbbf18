package s3_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/s3"
)

// serve answers with the blob.
func serve(w http.ResponseWriter, r *http.Request) {
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader(string(content)))
}

// cloud is a fake of Amazon: whatever host is asked for, it answers.
type cloud struct {
	transport *s3.Transport
	mu        sync.Mutex
	requests  []string // host, "signed for REGION" or "anonymous"
}

// newCloud starts one. It is reached as a proxy.
func newCloud(t *testing.T, answer http.HandlerFunc) *cloud {
	t.Helper()
	c := &cloud{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := "anonymous"
		if a := r.Header.Get("Authorization"); a != "" {
			who = "signed for " + strings.Split(a, "/")[2]
		}
		c.mu.Lock()
		c.requests = append(c.requests, r.Host+" "+who)
		c.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	proxy, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	c.transport = s3.New(httpclient.New(httpclient.Options{
		CertDirs: []string{}, Proxy: func(*http.Request) (*url.URL, error) { return proxy, nil },
	}))
	t.Cleanup(func() { c.transport.Close() })
	return c
}

// check compares the requests made so far, and forgets them.
func (c *cloud) check(t *testing.T, want ...string) {
	t.Helper()
	if got := strings.Join(c.requests, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("requests:\n%s\nwant:\n%s", got, strings.Join(want, "\n"))
	}
	c.requests = nil
}

func keys(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
}

func TestRegionIsLearnt(t *testing.T) {
	for _, tt := range []struct {
		name, endpoint, env string
		anonymous           bool
		answer              func(http.ResponseWriter, *http.Request)
		want                []string
		then                string
	}{
		{
			name: "from a redirect", endpoint: "http://s3.amazonaws.com", env: "ap-south-1",
			answer: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Amz-Bucket-Region", "eu-west-3")
				refuse(w, 301, "PermanentRedirect", "<Endpoint>images.s3.eu-west-3.amazonaws.com</Endpoint>")
			},
			want: []string{"images.s3.ap-south-1.amazonaws.com signed for ap-south-1", "images.s3.eu-west-3.amazonaws.com signed for eu-west-3"},
			then: "images.s3.eu-west-3.amazonaws.com signed for eu-west-3",
		},
		{
			name: "by an anonymous request", endpoint: "http://s3.us-east-2.amazonaws.com", anonymous: true,
			answer: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Amz-Bucket-Region", "eu-west-3")
				w.WriteHeader(307)
			},
			want: []string{"images.s3.us-east-2.amazonaws.com anonymous", "images.s3.eu-west-3.amazonaws.com anonymous"},
			then: "images.s3.eu-west-3.amazonaws.com anonymous",
		},
		{
			name: "from a refused signature", endpoint: "http://storage.example:9000",
			answer: func(w http.ResponseWriter, _ *http.Request) {
				refuse(w, 400, "AuthorizationHeaderMalformed", "<Region>eu-west-3</Region>")
			},
			want: []string{"storage.example:9000 signed for us-east-1", "storage.example:9000 signed for eu-west-3"},
			then: "storage.example:9000 signed for eu-west-3",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			isolate(t)
			keys(t)
			t.Setenv("AWS_REGION", tt.env)
			c := newCloud(t, func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.Host+r.Header.Get("Authorization"), "eu-west-3") {
					serve(w, r)
					return
				}
				tt.answer(w, r)
			})
			uri := "s3://" + bucket + "?endpoint=" + tt.endpoint
			if tt.anonymous {
				uri += "&anonymous=true"
			}
			if err := read(t.Context(), c.transport, uri); err != nil {
				t.Fatal(err)
			}
			c.check(t, tt.want...)
			if err := read(t.Context(), c.transport, uri); err != nil {
				t.Fatal(err)
			}
			c.check(t, tt.then)
		})
	}
}

func TestRefusals(t *testing.T) {
	answer := func(status int, code, more string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { refuse(w, status, code, more) }
	}
	for _, tt := range []struct {
		name   string
		answer http.HandlerFunc
		kind   error
		text   []string
	}{
		{"access denied", answer(403, "AccessDenied", ""), transport.ErrUnauthorized, []string{"the environment (AWS_ACCESS_KEY_ID)", "no such object", "AccessDenied: The words"}},
		{"expired", answer(400, "ExpiredToken", ""), transport.ErrUnauthorized, []string{"the credentials of the environment (AWS_ACCESS_KEY_ID) have expired; renew them"}},
		{"token of another server", answer(400, "InvalidToken", ""), transport.ErrUnauthorized, []string{"session token of the environment"}},
		{"unknown key", answer(403, "InvalidAccessKeyId", ""), transport.ErrUnauthorized, []string{"doesn't know the access key"}},
		{"bare 401", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }, transport.ErrUnauthorized, []string{"401"}},
		{"archived", answer(403, "InvalidObjectState", ""), transport.ErrPermanent, []string{"restore the object"}},
		{"slow down", answer(503, "SlowDown", ""), transport.ErrThrottled, []string{"SlowDown"}},
		{"bare 503", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }, transport.ErrThrottled, []string{"503"}},
		{"internal error", answer(500, "InternalError", ""), transport.ErrTemporary, []string{"InternalError"}},
		{"request timeout", answer(400, "RequestTimeout", ""), transport.ErrTemporary, []string{"RequestTimeout"}},
		{"unknown code", answer(400, "Whatever", ""), transport.ErrPermanent, []string{"Whatever"}},
		{"region that is none", answer(400, "AuthorizationHeaderMalformed", "<Region>../x</Region>"), transport.ErrPermanent, []string{"Malformed"}},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://u:hunter2@elsewhere.example/x?sig=hunter2", http.StatusFound)
		}, transport.ErrPermanent, []string{"redirects to https://elsewhere.example; if you trust it"}},
		{"region of another endpoint", answer(301, "PermanentRedirect", "<Region>eu-west-3</Region>"), transport.ErrPermanent, []string{"the bucket is in region eu-west-3"}},
		{"regions without end", func() http.HandlerFunc {
			n := 0
			return func(w http.ResponseWriter, _ *http.Request) {
				n++
				refuse(w, 400, "AuthorizationHeaderMalformed", fmt.Sprintf("<Region>r-%d</Region>", n))
			}
		}(), transport.ErrPermanent, []string{"Malformed"}},
		{"what it was sent", func(w http.ResponseWriter, r *http.Request) {
			refuse(w, 403, "SignatureDoesNotMatch", fmt.Sprint(r.Header))
		}, transport.ErrUnauthorized, []string{"secret key of the environment"}},
		{"what it was sent, as text", func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, fmt.Sprint("you said ", r.Header), http.StatusTeapot)
		}, transport.ErrPermanent, []string{"you said"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			isolate(t)
			keys(t)
			t.Setenv("AWS_SESSION_TOKEN", "t0ken")
			err := read(t.Context(), newTransport(t), fake(t, tt.answer).URI)
			checkError(t, err, tt.kind, tt.text...)
			if tt.kind == transport.ErrUnauthorized && errors.Is(err, transport.ErrNotFound) {
				t.Errorf("a refusal must not count as not found: %v", err)
			}
		})
	}
}

func TestExpiredCredentialsAreReadAnew(t *testing.T) {
	dir := isolate(t)
	store := func(token string) {
		write(t, filepath.Join(dir, "credentials"), "[default]\naws_access_key_id = AKIA"+token+
			"\naws_secret_access_key = hunter2\naws_session_token = "+token+"t0ken\n")
	}
	store("old")
	valid := "oldt0ken"
	route := fake(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amz-Security-Token") != valid {
			refuse(w, 400, "ExpiredToken", "")
			return
		}
		serve(w, r)
	})
	tr := newTransport(t)
	if err := read(t.Context(), tr, route.URI); err != nil {
		t.Fatal(err)
	}
	valid = "newt0ken"
	checkError(t, read(t.Context(), tr, route.URI), transport.ErrUnauthorized,
		`the credentials of profile "default" in `+filepath.Join(dir, "credentials")+" have expired; renew them")
	store("new")
	if err := read(t.Context(), tr, route.URI); err != nil {
		t.Errorf("after they were renewed: %v", err)
	}
	store("last")
	valid = "lastt0ken"
	if err := read(t.Context(), tr, route.URI); err != nil {
		t.Errorf("renewed before anybody noticed: %v", err)
	}
}

func TestClockSkew(t *testing.T) {
	for _, tt := range []struct {
		name  string
		ahead time.Duration
		text  string // of the error; "" for none
	}{
		{"two hours", 2 * time.Hour, ""},
		{"back", -2 * time.Hour, ""},
		{"a year", 365 * 24 * time.Hour, "apart; set the clock"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			isolate(t)
			keys(t)
			requests := 0
			route := fake(t, func(w http.ResponseWriter, r *http.Request) {
				requests++
				now := time.Now().Add(tt.ahead)
				w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
				signed, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
				if err != nil || now.Sub(signed).Abs() > 15*time.Minute {
					refuse(w, 403, "RequestTimeTooSkewed", "")
					return
				}
				serve(w, r)
			})
			tr := newTransport(t)
			err := read(t.Context(), tr, route.URI)
			if tt.text != "" {
				checkError(t, err, transport.ErrUnauthorized, tt.text)
				return
			}
			if err != nil || requests != 2 {
				t.Fatalf("%d requests, %v; want 2", requests, err)
			}
			if err := read(t.Context(), tr, route.URI); err != nil || requests != 3 {
				t.Errorf("%d requests in all, %v; want 3", requests, err)
			}
		})
	}
}

// metadata starts a fake of the machine's metadata service and returns how
// often it was asked.
func metadata(t *testing.T, hasRole bool) *int {
	t.Helper()
	asked := new(int)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked++
		switch {
		case r.URL.Path == "/latest/api/token":
			w.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
			fmt.Fprint(w, "t0ken")
		case !hasRole:
			w.WriteHeader(404)
		case strings.HasSuffix(r.URL.Path, "/security-credentials/"):
			fmt.Fprint(w, "role")
		default:
			fmt.Fprintf(w, `{"Code":"Success","AccessKeyId":"ASIAROLE","SecretAccessKey":"hunter2","Token":"t0ken","Expiration":%q}`,
				time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
		}
	}))
	t.Cleanup(server.Close)
	t.Setenv("AWS_EC2_METADATA_DISABLED", "")
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.URL)
	return asked
}

func TestMachineCredentials(t *testing.T) {
	const amazon, other = "http://s3.eu-west-1.amazonaws.com", "http://storage.example"
	private := func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amz-Security-Token") != "t0ken" {
			refuse(w, 403, "AccessDenied", "")
			return
		}
		serve(w, r)
	}
	anonymous, signed := "images.s3.eu-west-1.amazonaws.com anonymous", "images.s3.eu-west-1.amazonaws.com signed for eu-west-1"
	for _, tt := range []struct {
		name     string
		endpoint string
		hasRole  bool
		answer   http.HandlerFunc
		asks     bool
		text     string // of the error; "" for none
		want     []string
	}{
		{"private bucket", amazon, true, private, true, "", []string{anonymous, signed, signed}},
		{"public bucket", amazon, true, serve, false, "", []string{anonymous, anonymous}},
		{"machine without a role", amazon, false, private, true, "the machine's metadata service has none either", []string{anonymous, anonymous, anonymous, anonymous}},
		{"another's endpoint", other, true, private, false, "no AWS credentials were found", nil},
		{"anonymous on purpose", amazon + "&anonymous=true", true, private, false, "anonymous=true", nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			isolate(t)
			asked := metadata(t, tt.hasRole)
			c := newCloud(t, tt.answer)
			first := 0
			for i := range 2 {
				err := read(t.Context(), c.transport, "s3://"+bucket+"?endpoint="+tt.endpoint)
				switch {
				case tt.text != "":
					checkError(t, err, transport.ErrUnauthorized, tt.text)
				case err != nil:
					t.Fatal(err)
				}
				if i == 0 {
					first = *asked
				}
			}
			if tt.want != nil {
				c.check(t, tt.want...)
			}
			if (*asked > 0) != tt.asks || *asked != first {
				t.Errorf("the metadata service was asked %d times for the first, %d for both; want it to be asked: %v, and once", first, *asked, tt.asks)
			}
		})
	}
}

func TestContainerCredentials(t *testing.T) {
	isolate(t)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"AccessKeyId":"ASIATASK","SecretAccessKey":"hunter2","Token":"t0ken","Expiration":%q}`,
			time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	}))
	defer server.Close()
	t.Setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", server.URL)
	route := fake(t, func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.Header.Get("Authorization"), "Credential=ASIATASK/") || r.Header.Get("X-Amz-Security-Token") != "t0ken" {
			refuse(w, 403, "AccessDenied", "")
			return
		}
		serve(w, r)
	})
	if err := read(t.Context(), newTransport(t), route.URI); err != nil {
		t.Error(err)
	}
}

func TestCancelledWhileCredentialsAreAwaited(t *testing.T) {
	mute := make(chan struct{})
	asked := make(chan struct{}, 10)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- struct{}{}
		<-mute
	}))
	defer server.Close()
	defer close(mute)
	for _, tt := range []struct{ name, variable, uri string }{
		{"container", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "?endpoint=http://127.0.0.1:1"},
		{"machine", "AWS_EC2_METADATA_SERVICE_ENDPOINT", "?endpoint=http://s3.amazonaws.com"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			isolate(t)
			t.Setenv("AWS_EC2_METADATA_DISABLED", "")
			t.Setenv(tt.variable, server.URL)
			c := newCloud(t, func(w http.ResponseWriter, _ *http.Request) { refuse(w, 403, "AccessDenied", "") })
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-asked
				cancel()
			}()
			if err := read(ctx, c.transport, "s3://"+bucket+tt.uri); !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want that it was cancelled", err)
			}
		})
	}
}
