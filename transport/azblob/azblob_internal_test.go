package azblob

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/waybill-project/waybill/transport"
)

func TestPlaces(t *testing.T) {
	tests := []struct {
		uri  string
		want place
	}{
		{"azblob://account1/container/images/a%20b/", place{account: "account1", container: "container", prefix: "images/a b"}},
		{"azblob://account1/container?anonymous=true", place{account: "account1", container: "container", anonymous: true}},
		{"azblob://Account1-secondary.blob.core.windows.net/container/p",
			place{account: "account1", container: "container", prefix: "p", endpoint: "https://account1-secondary.blob.core.windows.net"}},
		{"azblob://account1.blob.core.windows.net/container?endpoint=https://h/",
			place{account: "account1", container: "container", endpoint: "https://h"}},
		{"azblob://container/images/app?storage_account=account1", place{account: "account1", container: "container", prefix: "images/app"}},
	}
	for _, tt := range tests {
		t.Run(tt.uri, func(t *testing.T) {
			if got, err := parsePlace(tt.uri); err != nil || got != tt.want {
				t.Errorf("got %+v, %v; want %+v", got, err, tt.want)
			}
		})
	}
}

func FuzzParsePlace(f *testing.F) {
	f.Add("azblob://account1/container/images/app?endpoint=http://127.0.0.1:10000/account1&anonymous=true")
	f.Add("azblob://account1.blob.core.windows.net/container/p?sig=hunter2")
	f.Add("azblob://container/%2e%2e?storage_account=account1")
	f.Add("azblob://account1\n\x00")
	f.Fuzz(func(t *testing.T, uri string) {
		p, err := parsePlace(uri)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\x00") {
				t.Errorf("error of several lines: %q", err)
			}
			return
		}
		if !validAccount(p.account) || !validContainer(p.container) || strings.Trim(p.prefix, "/") != p.prefix {
			t.Errorf("%q is %+v", uri, p)
		}
		for segment := range strings.SplitSeq(p.prefix, "/") {
			if segment == "." || segment == ".." {
				t.Errorf("%q is %+v", uri, p)
			}
		}
		if p.endpoint != "" {
			if u, err := url.Parse(p.endpoint); err != nil || u.User != nil || u.RawQuery != "" {
				t.Errorf("%q is %+v", uri, p)
			}
		}
	})
}

func TestIsAzure(t *testing.T) {
	tests := []struct {
		endpoint string
		want     bool
	}{
		{"https://account1.blob.core.windows.net", true},
		{"https://account1.blob.core.windows.net:443/x", true},
		{"https://account1-secondary.blob.core.windows.net", true},
		{"https://account1.z07.blob.storage.azure.net", true},
		{"https://account1.privatelink.blob.core.windows.net", true},
		{"https://account1.blob.core.chinacloudapi.cn", true},
		{"http://account1.blob.core.windows.net", false},
		{"https://another1.blob.core.windows.net", false},
		{"https://account1.blob.core.windows.net.example", false},
		{"https://account1.dfs.core.windows.net", false},
		{"https://h.example/account1.blob.core.windows.net", false},
	}
	for _, tt := range tests {
		if got := isAzure(tt.endpoint, "account1"); got != tt.want {
			t.Errorf("isAzure(%s) = %t", tt.endpoint, got)
		}
	}
}

func TestEnvironment(t *testing.T) {
	key := []byte("hunter2")
	const encoded, sas = "aHVudGVyMg==", "sv=1&sig=hunter2"
	azure := storage{account: "account1", key: key}
	connection := func(s string) map[string]string { return map[string]string{connectionVariable: s} }
	tests := []struct {
		name      string
		variables map[string]string
		want      storage
		err       string
	}{
		{"nothing", nil, storage{}, ""},
		{"account alone", map[string]string{accountVariable: "account1"}, storage{account: "account1"}, ""},
		{"key", map[string]string{accountVariable: "account1", keyVariable: encoded}, azure, ""},
		{"SAS token", map[string]string{accountVariable: "account1", sasVariable: "?" + sas}, storage{account: "account1", sas: sas}, ""},
		{"key before SAS token", map[string]string{accountVariable: "account1", keyVariable: encoded, sasVariable: sas}, azure, ""},
		{"endpoint", map[string]string{accountVariable: "account1", keyVariable: encoded, endpointVariable: "https://H/"},
			storage{account: "account1", key: key, endpoint: "https://h"}, ""},
		{"connection string before the rest", map[string]string{
			connectionVariable: "AccountName=account1;AccountKey=" + encoded, accountVariable: "another1", keyVariable: "?",
		}, azure, ""},
		{"the portal's", connection("DefaultEndpointsProtocol=https;AccountName=account1;AccountKey=" + encoded + ";EndpointSuffix=core.windows.net"),
			storage{account: "account1", key: key, endpoint: "https://account1.blob.core.windows.net"}, ""},
		{"keys in any case", connection(" accountname = account1 ; ACCOUNTKEY=" + encoded + ";;\n"), azure, ""},
		{"other services", connection("AccountName=account1;AccountKey=" + encoded + ";QueueEndpoint=http://h/?;TableEndpoint=x"), azure, ""},
		{"SAS by its endpoint", connection("BlobEndpoint=https://account1.blob.core.windows.net/;SharedAccessSignature=" + sas),
			storage{account: "account1", sas: sas, endpoint: "https://account1.blob.core.windows.net"}, ""},
		{"the emulator", connection("UseDevelopmentStorage=true"),
			storage{account: emulatorAccount, endpoint: emulatorEndpoint, key: decoded(t, emulatorKey)}, ""},
		{"no account", connection("AccountKey=" + encoded), storage{}, connectionVariable + ": names no account"},
		{"no settings", connection("hunter2"), storage{}, connectionVariable + ": not settings KEY=VALUE"},
		{"a key that is none", connection("AccountName=account1;AccountKey=hunter2!"), storage{}, "AccountKey: not base64"},
		{"a SAS token that is none", connection("AccountName=account1;SharedAccessSignature=hunter2"), storage{}, "SharedAccessSignature: no SAS token"},
		{"an endpoint that is none", connection("AccountName=account1;BlobEndpoint=hunter2"), storage{}, "BlobEndpoint: not http://HOST"},
		{"a variable that is no key", map[string]string{accountVariable: "account1", keyVariable: "hunter2!"}, storage{}, keyVariable + ": not base64"},
		{"a variable that is no SAS token", map[string]string{accountVariable: "account1", sasVariable: "hunter2"}, storage{}, sasVariable + ": no SAS token"},
		{"a variable that is no endpoint", map[string]string{accountVariable: "account1", endpointVariable: "hunter2"}, storage{}, endpointVariable + ": not http://HOST"},
		{"whose SAS token?", map[string]string{sasVariable: sas}, storage{}, accountVariable + " must say whose"},
		{"too long", map[string]string{sasVariable: strings.Repeat("x", maxVariable+1)}, storage{}, "limit of 16384 bytes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := fromEnvironment(func(name string) string { return tt.variables[name] })
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "hunter2") {
					t.Errorf("got %v, want an error that says %q", err, tt.err)
				}
				return
			}
			if err != nil || got.account != tt.want.account || got.endpoint != tt.want.endpoint ||
				string(got.key) != string(tt.want.key) || got.sas != tt.want.sas {
				t.Errorf("got %+v, %v; want %+v", got, err, tt.want)
			}
		})
	}
}

func decoded(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func FuzzParseConnectionString(f *testing.F) {
	f.Add("DefaultEndpointsProtocol=https;AccountName=account1;AccountKey=aHVudGVyMg==;EndpointSuffix=core.windows.net")
	f.Add("BlobEndpoint=http://127.0.0.1:10000/account1;SharedAccessSignature=sv=1&sig=x")
	f.Add("UseDevelopmentStorage=true;")
	f.Fuzz(func(t *testing.T, s string) {
		a, err := parseConnectionString(s)
		if err != nil {
			return
		}
		if !validAccount(a.account) {
			t.Errorf("%q is for the account %q", s, a.account)
		}
		if a.endpoint != "" {
			if u, err := url.Parse(a.endpoint); err != nil || u.User != nil || u.RawQuery != "" {
				t.Errorf("%q is at %q", s, a.endpoint)
			}
		}
	})
}

// TestStringToSign holds what is signed against the example's form in Azure's
// reference, "Authorize with Shared Key". Azurite judges the rest.
func TestStringToSign(t *testing.T) {
	u, err := url.Parse("http://127.0.0.1:10000/account1/container/a%20b")
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{"X-Ms-Version": {"2023-11-03"}, "X-Ms-Date": {"Fri, 26 Jun 2015 23:39:12 GMT"}, "Accept-Encoding": {"identity"}}
	want := "GET\n\n\n\n\n\n\n\n\n\n\nbytes=1-3\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2023-11-03\n/account1/account1/container/a%20b"
	if got := stringToSign("account1", "GET", u, "bytes=1-3", header); got != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
	mac := hmac.New(sha256.New, []byte("key"))
	mac.Write([]byte(want))
	wantAuth := "SharedKey account1:" + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	if got, err := signature("account1", []byte("key"), "GET", u.String(), "bytes=1-3", header); err != nil || got != wantAuth {
		t.Errorf("got %q, %v; want %q", got, err, wantAuth)
	}
}

// identity is an Entra ID identity that answers as it is told.
type identity struct {
	token azcore.AccessToken
	err   error
}

func (i identity) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if len(o.Scopes) != 1 || o.Scopes[0] != "https://storage.azure.com/.default" {
		return azcore.AccessToken{}, errors.New("asked for another scope")
	}
	return i.token, i.err
}

// refusal is the error of an identity that was answered by a server.
func refusal(code int, server, body string) identity {
	return identity{err: &azidentity.AuthenticationFailedError{RawResponse: &http.Response{
		StatusCode: code, Status: http.StatusText(code), Body: io.NopCloser(strings.NewReader(body)),
		Request: &http.Request{Method: "GET", URL: &url.URL{Scheme: "http", Host: server}},
	}}}
}

func TestIdentities(t *testing.T) {
	const login = "login.microsoftonline.com"
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	token := identity{token: azcore.AccessToken{Token: "token", ExpiresOn: time.Now().Add(time.Hour)}}
	none := identity{err: azidentity.NewCredentialUnavailableError("no CLI, no metadata server")}
	tests := []struct {
		name       string
		ctx        context.Context
		found, cli identity
		value      string
		err        string
		temporary  bool
	}{
		{"token", t.Context(), token, none, "token", "", false},
		{"none here", t.Context(), none, none, "", "", false},
		{"refused", t.Context(), refusal(401, login, `{"error":"invalid_client","error_description":"AADSTS7000215: Invalid secret.\r\nTrace"}`), token,
			"", "AADSTS7000215: Invalid secret. Trace", false},
		{"refused without a word", t.Context(), refusal(401, login, ""), token, "", "RESPONSE 401", false},
		{"failing", t.Context(), refusal(503, login, "busy"), token, "", "busy", true},
		{"unreachable", t.Context(), identity{err: &azidentity.AuthenticationFailedError{}}, token, "", ":", true},
		{"another cloud's metadata", t.Context(), refusal(401, "169.254.169.254", "?"), none, "", "", false},
		{"another cloud's metadata, and az login", t.Context(), refusal(401, "169.254.169.254", "?"), token, "token", "", false},
		{"cancelled", cancelled, identity{err: errors.New("interrupted")}, none, "", "interrupted", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := entra{
				find: func() (azcore.TokenCredential, error) { return tt.found, nil },
				cli:  func() (azcore.TokenCredential, error) { return tt.cli, nil },
			}
			got, err := e.token(tt.ctx)
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) || strings.Contains(err.Error(), "\n") || errors.Is(err, transport.ErrTemporary) != tt.temporary {
					t.Errorf("got %v; want one that says %q", err, tt.err)
				}
				return
			}
			if err != nil || got.Value != tt.value || time.Until(got.Expires) <= 0 {
				t.Errorf("got %+v, %v; want %q", got, err, tt.value)
			}
		})
	}
	t.Run("not to be looked for", func(t *testing.T) {
		e := entra{find: func() (azcore.TokenCredential, error) { return nil, errors.New("invalid AZURE_TOKEN_CREDENTIALS") }}
		if _, err := e.token(t.Context()); err == nil || !strings.Contains(err.Error(), "invalid AZURE_TOKEN_CREDENTIALS") {
			t.Errorf("got %v", err)
		}
	})
}

// TestDefaultIdentity asks Microsoft's own search where it finds nothing.
func TestDefaultIdentity(t *testing.T) {
	// The one way that asks nobody.
	t.Setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
	for _, name := range []string{"AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_USERNAME"} {
		t.Setenv(name, "")
	}
	if got, err := newEntra().token(t.Context()); err != nil || got.Value != "" {
		t.Errorf("got %+v, %v; want nobody", got, err)
	}
}
