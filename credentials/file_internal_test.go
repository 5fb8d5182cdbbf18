package credentials

import (
	"fmt"
	"strings"
	"testing"
)

func FuzzParseFile(f *testing.F) {
	f.Add([]byte(`{"auths":{"x.example":{"auth":"YTpi"}},"credHelpers":{"y.example":"z"},"credsStore":"s"}`))
	f.Add([]byte(`{"auths":{"https://index.docker.io/v1/":{"identitytoken":"x"},"a/b":null}}`))
	f.Add([]byte(`{"auths":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseFile("config.json", b)
		if err != nil {
			if strings.ContainsAny(err.Error(), "\n\"") {
				t.Fatalf("error %q may show content", err)
			}
			return
		}
		keys := lookupKeys("x.example", "a/b")
		if name, server := c.helper(keys); name != "" && server == "" {
			t.Fatalf("helper %q for no server", name)
		}
		if _, err := c.auth(keys); err != nil && strings.Contains(err.Error(), "\n") {
			t.Fatalf("error in several lines: %q", err)
		}
	})
}

func FuzzHelperAnswer(f *testing.F) {
	f.Add([]byte(`{"ServerURL":"x.example","Username":"ann","Secret":"s"}`))
	f.Add([]byte(`{"Username":"<token>","Secret":"s"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		failed := false
		c, err := parseHelperAnswer(b, func(format string, args ...any) (Credential, error) {
			failed = true
			return Credential{}, fmt.Errorf(format, args...)
		})
		if failed != (err != nil) || err != nil && c != (Credential{}) {
			t.Errorf("got %+v, %v", c, err)
		}
		if c.IdentityToken != "" && (c.Username != "" || c.Password != "") {
			t.Errorf("a token and a password: %+v", c)
		}
	})
}
