package azblob_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/azblob"
	"github.com/waybill-project/waybill/transport/httpclient"
)

func TestCheck(t *testing.T) {
	tests := []struct{ uri, want string }{
		{"azblob://account1/container/images/app%20one", ""},
		{"azblob://account1/container", ""},
		{"azblob://account1/container/", ""},
		{"azblob://account1/$root", ""},
		{"azblob://account1/container?endpoint=http://127.0.0.1:10000/account1&anonymous=true", ""},
		{"azblob://account1.blob.core.windows.net/container/p", ""},
		{"azblob://account1-secondary.blob.core.windows.net/container/p", ""},
		{"azblob://account1.z07.blob.storage.azure.net/container/p", ""},
		{"azblob://my-container/p?storage_account=account1", ""},
		{"azblob:account1/container", "write azblob://ACCOUNT/CONTAINER/PREFIX"},
		{"azblob://account1", "names no container"},
		{"azblob:///container/p", `"" is no name of an account`},
		{"azblob://my-container/p", `"my-container" is no name of an account; write azblob://ACCOUNT/CONTAINER/PREFIX`},
		{"azblob://account1/p?storage_account=another1", ""},
		{"azblob://account.example/container", "no host of Azure Blob Storage"},
		{"azblob://account1/Container/p", `"Container" is no name of a container`},
		{"azblob://account1/-a-/p", `"-a-" is no name of a container`},
		{"azblob://account1:443/container", `"account1:443" is no name of an account`},
		{"azblob://ann:hunter2@account1/container", "holds user information"},
		{"azblob://account1/%zz?sig=hunter2", "malformed URI"},
		{"azblob://account1/container#hunter2", "holds a fragment"},
		{"azblob://account1/container/../p", `path segment ".."`},
		{"azblob://account1/container?sv=2021-12-02&sig=hunter2", "set AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_SAS_TOKEN"},
		{"azblob://account1/container?se=hunter2", `unknown parameter "se"`},
		{"azblob://account1/container?anonymous=hunter2", "anonymous is true or false"},
		{"azblob://account1/container?anonymous=true&anonymous=true", "given twice"},
		{"azblob://account1/container?endpoint=https://h?sig=hunter2", "endpoint: holds a query"},
		{"azblob://account1/container?%zz", "malformed query"},
	}
	tr := newTransport(t, azblob.Options{Getenv: environment(nil)})
	for _, tt := range tests {
		t.Run(tt.uri, func(t *testing.T) {
			err := tr.Check(tt.uri)
			if tt.want == "" {
				if err != nil {
					t.Errorf("%v", err)
				}
				return
			}
			if !errors.Is(err, transport.ErrPermanent) || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want one that says %q", err, tt.want)
			}
			if _, err := tr.Open(t.Context(), transport.Route{URI: tt.uri}, blob, 0, blob.Size); !errors.Is(err, transport.ErrPermanent) {
				t.Errorf("Open: %v", err)
			}
		})
	}
}

// store is a fake that answers what Azurite doesn't.
type store struct {
	*httptest.Server
	asked []*http.Request
}

func startStore(t *testing.T, answer http.HandlerFunc) *store {
	t.Helper()
	s := &store{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked = append(s.asked, r)
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// hello answers every request with "hello".
func hello(w http.ResponseWriter, r *http.Request) {
	http.ServeContent(w, r, "", time.Time{}, strings.NewReader("hello"))
}

const testSAS = "sv=2021-12-02&sp=r&sig=hunter2%2B%3D"

// configured is the environment of who has a key, or a SAS token, for a store.
func configured(s *store, withSAS bool) func(string) string {
	variables := map[string]string{
		"AZURE_STORAGE_ACCOUNT": "account1", "AZURE_STORAGE_SERVICE_ENDPOINT": s.URL, "AZURE_STORAGE_KEY": "aHVudGVyMg==",
	}
	if withSAS {
		delete(variables, "AZURE_STORAGE_KEY")
		variables["AZURE_STORAGE_SAS_TOKEN"] = testSAS
	}
	return environment(variables)
}

func TestCredentialsStayWithTheAccount(t *testing.T) {
	other := startStore(t, hello)
	moved := startStore(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
	})
	tests := []struct {
		name, uri         string
		sas               bool
		toMoved, sasMoved bool // whether it is asked, and with the SAS token
	}{
		{"key, redirected", "azblob://account1/container", false, true, false},
		{"SAS token, redirected", "azblob://account1/container", true, true, true},
		{"key, endpoint in the URI", "azblob://account1/container?endpoint=" + other.URL, false, false, false},
		{"SAS token, endpoint in the URI", "azblob://account1/container?endpoint=" + other.URL, true, false, false},
		{"SAS token, another account", "azblob://another1/container?endpoint=" + other.URL, true, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			moved.asked, other.asked = nil, nil
			identity := func(context.Context) (string, error) { return "identity", nil }
			tr := newTransport(t, azblob.Options{Getenv: configured(moved, tt.sas), Token: identity})
			if got, err := read(t.Context(), tr, transport.Route{URI: tt.uri}, 1, 3); err != nil || got != "ell" {
				t.Errorf("read %q, %v", got, err)
			}
			if got := len(moved.asked); got > 1 || tt.toMoved != (got == 1) {
				t.Fatalf("the account's endpoint was asked %d times", got)
			}
			for _, r := range moved.asked {
				if got := r.URL.RawQuery == testSAS; got != tt.sasMoved {
					t.Errorf("the account's endpoint was asked with query %q", r.URL.RawQuery)
				}
				if got := strings.HasPrefix(r.Header.Get("Authorization"), "SharedKey account1:"); got == tt.sas {
					t.Errorf("the account's endpoint was asked with Authorization %q", r.Header.Get("Authorization"))
				}
			}
			for _, r := range other.asked {
				if r.URL.RawQuery != "" || r.Header.Get("Authorization") != "" {
					t.Errorf("the other server was asked with query %q, Authorization %q", r.URL.RawQuery, r.Header.Get("Authorization"))
				}
			}
		})
	}
}

func TestBearerTokensNeedTLS(t *testing.T) {
	s := startStore(t, hello)
	tr := newTransport(t, azblob.Options{
		Getenv: environment(map[string]string{"AZURE_STORAGE_ACCOUNT": "account1", "AZURE_STORAGE_SERVICE_ENDPOINT": s.URL}),
		Token:  func(context.Context) (string, error) { return "hunter2", nil },
	})
	if got, err := read(t.Context(), tr, transport.Route{URI: "azblob://account1/container"}, 1, 3); err != nil || got != "ell" {
		t.Errorf("read %q, %v", got, err)
	}
	if got := s.asked[0].Header.Get("Authorization"); got != "" {
		t.Errorf("Authorization was %q", got)
	}
}

func TestErrors(t *testing.T) {
	answer := func(code int, azure, message string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("x-ms-error-code", azure)
			w.WriteHeader(code)
			// A server, or a proxy before it, may repeat what it was sent.
			fmt.Fprintf(w, "\xef\xbb\xbf<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>%s</Code><Message>%s\nRequestId:1234\nTime:2026</Message><Detail>%s %s</Detail></Error>",
				azure, message, r.URL.RawQuery, r.Header.Get("Authorization"))
		}
	}
	repeats := func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, signature, _ := strings.Cut(r.Header.Get("Authorization"), ":")
		io.WriteString(w, "no "+r.URL.RawQuery+" "+r.URL.Query().Get("sig")+" "+r.Header.Get("Authorization")+" "+signature)
	}
	tests := []struct {
		name   string
		answer http.HandlerFunc
		kind   error
		want   string
	}{
		{"wrong signature", answer(403, "AuthenticationFailed", "Server failed to authenticate the request."), transport.ErrUnauthorized,
			"answered 403 AuthenticationFailed: Server failed to authenticate the request. (is the "},
		{"repeated secrets", repeats, transport.ErrUnauthorized, "answered 403 Forbidden: no "},
		{"malformed credentials", answer(400, "InvalidAuthenticationInfo", "Not in the correct format."), transport.ErrUnauthorized, "answered 400 InvalidAuthenticationInfo"},
		{"no public access", answer(409, "PublicAccessNotPermitted", "Public access is not permitted on this storage account."), transport.ErrUnauthorized, "answered 409 PublicAccessNotPermitted"},
		{"not there", answer(404, "BlobNotFound", "The specified blob does not exist."), transport.ErrNotFound, "answered 404 BlobNotFound: The specified blob does not exist."},
		{"busy", answer(503, "ServerBusy", "Egress is over the account limit."), transport.ErrThrottled, "answered 503 ServerBusy"},
		{"failing", answer(500, "OperationTimedOut", "Too slow."), transport.ErrTemporary, "answered 500 OperationTimedOut"},
		{"archived", answer(409, "BlobArchived", "This operation is not permitted on an archived blob."), transport.ErrPermanent, "answered 409 BlobArchived: This operation is not permitted"},
		{"other size", func(w http.ResponseWriter, r *http.Request) {
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader("hello!"))
		}, transport.ErrPermanent, "has 6 bytes, want 5"},
		{"ranges ignored", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }, transport.ErrRangeUnsupported, "whole blob (200)"},
	}
	for _, tt := range tests {
		for _, withSAS := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, SAS %t", tt.name, withSAS), func(t *testing.T) {
				s := startStore(t, tt.answer)
				tr := newTransport(t, azblob.Options{Getenv: configured(s, withSAS)})
				_, err := read(t.Context(), tr, transport.Route{URI: "azblob://account1/container"}, 1, 3)
				if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v; want kind %q that says %q", err, tt.kind, tt.want)
				}
				var te *transport.Error
				if want := "azblob://account1/container/blobs/sha256/"; !errors.As(err, &te) || !strings.HasPrefix(te.URI, want) {
					t.Errorf("got %v, want an error about a place below %s", err, want)
				}
				if strings.Contains(err.Error(), "RequestId") {
					t.Errorf("error is too long: %v", err)
				}
				signature := strings.TrimPrefix(s.asked[0].Header.Get("Authorization"), "SharedKey account1:")
				if signature == "" {
					signature = testSAS
				}
				checkNoSecret(t, err, signature)
			})
		}
	}
}

// TestPrivateContainerLooksMissing asks as nobody for what Azure keeps from
// strangers.
func TestPrivateContainerLooksMissing(t *testing.T) {
	s := startStore(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("x-ms-error-code", "ResourceNotFound")
		w.WriteHeader(http.StatusNotFound)
	})
	tr := newTransport(t, azblob.Options{Getenv: environment(nil)})
	_, err := read(t.Context(), tr, transport.Route{URI: "azblob://account1/container?endpoint=" + s.URL}, 1, 3)
	if !errors.Is(err, transport.ErrNotFound) || !strings.Contains(err.Error(), "answered 404 ResourceNotFound (asked anonymously: ") {
		t.Errorf("got %v", err)
	}
}

// TestNoSecretInTheErrorsOfABody cuts a body off: its errors name the URL.
func TestNoSecretInTheErrorsOfABody(t *testing.T) {
	s := startStore(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "5")
		io.WriteString(w, "hel")
	})
	tr := newTransport(t, azblob.Options{Getenv: configured(s, true)})
	got, err := read(t.Context(), tr, transport.Route{URI: "azblob://account1/container"}, 0, 5)
	if got != "hel" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("read %q, %v", got, err)
	}
	checkNoSecret(t, err)
}

func TestCredentialsThatCannotBeUsed(t *testing.T) {
	s := startStore(t, hello)
	failing := func(err error) func(context.Context) (string, error) {
		return func(context.Context) (string, error) { return "", err }
	}
	tests := []struct {
		name      string
		variables map[string]string
		token     func(context.Context) (string, error)
		kind      error
		want      string
	}{
		{"key of no account", map[string]string{"AZURE_STORAGE_KEY": "hunter2"}, nobody, transport.ErrUnauthorized, "AZURE_STORAGE_ACCOUNT must say whose"},
		{"identity refused", nil, failing(errors.New("AADSTS7000215: invalid client secret")), transport.ErrUnauthorized,
			"Azure credentials: AADSTS7000215: invalid client secret; for a public container add anonymous=true"},
		{"identity for now", nil, failing(fmt.Errorf("%w: busy", transport.ErrTemporary)), transport.ErrTemporary, "busy"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := newTransport(t, azblob.Options{Getenv: environment(tt.variables), Token: tt.token})
			_, err := read(t.Context(), tr, transport.Route{URI: "azblob://account1/container"}, 1, 3)
			if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v; want kind %q that says %q", err, tt.kind, tt.want)
			}
			checkNoSecret(t, err)
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		tr := newTransport(t, azblob.Options{Getenv: environment(nil), Token: func(ctx context.Context) (string, error) {
			cancel()
			return "", ctx.Err()
		}})
		if _, err := read(ctx, tr, transport.Route{URI: "azblob://account1/container"}, 1, 3); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("not needed", func(t *testing.T) {
		tr := newTransport(t, azblob.Options{Getenv: environment(map[string]string{"AZURE_STORAGE_KEY": "hunter2"})})
		if got, err := read(t.Context(), tr, transport.Route{URI: "azblob://account1/container?anonymous=true&endpoint=" + s.URL}, 1, 3); err != nil || got != "ell" {
			t.Errorf("read %q, %v", got, err)
		}
	})
	if want := "/container/blobs/sha256/"; len(s.asked) != 1 || !strings.HasPrefix(s.asked[0].URL.Path, want) {
		t.Errorf("the store was asked %d times", len(s.asked))
	}
}

func ExampleTransport_Open() {
	store := httptest.NewServer(http.HandlerFunc(hello))
	defer store.Close()

	tr := azblob.New(azblob.Options{HTTP: httpclient.New(httpclient.Options{})})
	defer tr.Close()
	route := transport.Route{URI: "azblob://account1/container/images/app?anonymous=true&endpoint=" + store.URL}
	body, err := tr.Open(context.Background(), route, blob, 1, 3)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	fmt.Printf("%s %v\n", b, err)
	// Output: ell <nil>
}
