package gcs

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/waybill-project/waybill/transport"
)

// write makes a file of credentials.
func write(t *testing.T, path string, content []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// serviceAccount is a key file as the console gives out, whose tokens come from
// tokenURL.
func serviceAccount(t *testing.T, tokenURL string) []byte {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	content, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "puller@project.example", "private_key_id": "1", "token_uri": tokenURL,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// authorizedUser is what "gcloud auth application-default login" leaves.
func authorizedUser(tokenURL string) []byte {
	return fmt.Appendf(nil, `{"type":"authorized_user","client_id":"c","client_secret":"hunter2","refresh_token":"hunter2","token_uri":%q}`, tokenURL)
}

// tokenServer issues tokens, or answers with a status.
func tokenServer(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch r.URL.Path {
		case "/refused":
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"error":"invalid_grant","error_description":"Account not found"}`)
		case "/failing":
			w.WriteHeader(http.StatusServiceUnavailable)
		default:
			fmt.Fprint(w, `{"access_token":"token","expires_in":3600,"token_type":"Bearer"}`)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func TestFilesOfCredentials(t *testing.T) {
	tokens := tokenServer(t)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	dir := t.TempDir()
	named := func(name string, content []byte) map[string]string {
		return map[string]string{"GOOGLE_APPLICATION_CREDENTIALS": write(t, filepath.Join(dir, name), content)}
	}
	const wellKnown = "application_default_credentials.json"
	write(t, filepath.Join(dir, "home/.config/gcloud", wellKnown), authorizedUser(tokens.URL))
	write(t, filepath.Join(dir, "sdk", wellKnown), authorizedUser(tokens.URL))
	tests := []struct {
		name      string
		variables map[string]string
		want      string // in the error; empty means a token
		temporary bool
	}{
		{"service account", named("account.json", serviceAccount(t, tokens.URL)), "", false},
		{"user", named("user.json", authorizedUser(tokens.URL)), "", false},
		{"gcloud's file", map[string]string{"HOME": filepath.Join(dir, "home")}, "", false},
		{"gcloud's file elsewhere", map[string]string{"CLOUDSDK_CONFIG": filepath.Join(dir, "sdk")}, "", false},
		{"account refused", named("refused.json", serviceAccount(t, tokens.URL+"/refused")), "Account not found", false},
		{"user refused", named("refused-user.json", authorizedUser(tokens.URL+"/refused")), "Account not found", false},
		{"token server failing", named("failing.json", serviceAccount(t, tokens.URL+"/failing")), "failing.json: no token", true},
		{"token server gone", named("gone.json", serviceAccount(t, gone.URL)), "gone.json: no token", true},
		{"no such file", map[string]string{"GOOGLE_APPLICATION_CREDENTIALS": filepath.Join(dir, "none")}, "no such file", false},
		{"not JSON", named("text", []byte("hunter2")), "text is not JSON", false},
		{"of no kind", named("empty.json", []byte("{}")), "missing 'type' field", false},
		{"of an unknown kind", named("kind.json", []byte(`{"type":"new"}`)), "unknown credential type", false},
		{"key damaged", named("key.json", []byte(`{"type":"service_account","private_key":"hunter2"}`)), "key.json: no token", false},
		{"too large", named("large.json", make([]byte, maxCredentials+1)), "limit of 1048576 bytes", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := defaultCredentials{getenv: func(name string) string { return tt.variables[name] }}.token(t.Context())
			if tt.want == "" {
				if err != nil || got.Value != "token" || time.Until(got.Expires) < 50*time.Minute {
					t.Errorf("got %+v, %v", got, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.ContainsAny(err.Error(), "\n") || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want an error that says %q", err, tt.want)
			}
			if got := errors.Is(err, transport.ErrTemporary); got != tt.temporary {
				t.Errorf("%v: temporary is %t", err, got)
			}
		})
	}
}

func TestMetadataServer(t *testing.T) {
	tests := []struct {
		name   string
		answer http.HandlerFunc
		want   string // in the error
		value  string
	}{
		{"token", func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Metadata-Flavor") != "Google" || !strings.HasSuffix(r.URL.Path, "/service-accounts/default/token") || r.URL.Query().Get("scopes") != scope {
				t.Errorf("asked for %s", r.URL)
			}
			fmt.Fprint(w, `{"access_token":"token","expires_in":3600,"token_type":"Bearer"}`)
		}, "", "token"},
		{"machine without account", http.NotFound, "", ""},
		{"forbidden", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusForbidden) }, "metadata server: ", ""},
		{"malformed", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"access_token":7}`) }, "malformed token", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := httptest.NewServer(tt.answer)
			defer s.Close()
			t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(s.URL, "http://"))
			home := t.TempDir()
			got, err := defaultCredentials{getenv: func(name string) string { return map[string]string{"HOME": home}[name] }}.token(t.Context())
			if tt.want != "" {
				if !errors.Is(err, transport.ErrTemporary) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v, want one that says %q", err, tt.want)
				}
				return
			}
			if err != nil || got.Value != tt.value || time.Until(got.Expires) <= 0 {
				t.Errorf("got %+v, %v; want %q", got, err, tt.value)
			}
		})
	}
}

func FuzzParseMetadataToken(f *testing.F) {
	f.Add([]byte(`{"access_token":"token","expires_in":3600,"token_type":"Bearer"}`))
	f.Add([]byte(`{"access_token":"t","expires_in":9223372036854775807}`))
	now := time.Unix(1_700_000_000, 0)
	f.Fuzz(func(t *testing.T, answer []byte) {
		token, err := parseMetadataToken(answer, now)
		if err == nil && (token.Value == "" || token.Expires.Before(now) || token.Expires.Sub(now) > 24*time.Hour) {
			t.Errorf("%q is %+v", answer, token)
		}
	})
}
