package registry

import (
	"errors"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseChallenges(t *testing.T) {
	type params = map[string]string
	tests := []struct {
		name string
		in   []string
		want []challenge // nil: malformed
	}{
		{"bearer", []string{`Bearer realm="https://auth.example/token",service="registry.example",scope="repository:a/b:pull,push"`},
			[]challenge{{"bearer", params{"realm": "https://auth.example/token", "service": "registry.example", "scope": "repository:a/b:pull,push"}}}},
		{"basic", []string{`basic Realm=x`}, []challenge{{"basic", params{"realm": "x"}}}},
		{"two in one", []string{`Negotiate, Basic realm="a b", Bearer realm="c"`},
			[]challenge{{"negotiate", params{}}, {"basic", params{"realm": "a b"}}, {"bearer", params{"realm": "c"}}}},
		{"two headers", []string{`Basic realm="a"`, `Bearer realm="c"`},
			[]challenge{{"basic", params{"realm": "a"}}, {"bearer", params{"realm": "c"}}}},
		{"token68", []string{`NTLM TlRMTVNTUAAC==, Basic realm="a"`},
			[]challenge{{"ntlm", params{}}, {"basic", params{"realm": "a"}}}},
		{"escapes", []string{`Basic realm="a\"b\\c,d=e"`}, []challenge{{"basic", params{"realm": `a"b\c,d=e`}}}},
		{"white space and empty elements", []string{" , Basic realm = \"a\" ,\t, charset=UTF-8 , "},
			[]challenge{{"basic", params{"realm": "a", "charset": "UTF-8"}}}},
		{"empty", []string{""}, []challenge{}},
		{"unclosed", []string{`Basic realm="a`}, nil},
		{"unclosed escape", []string{`Basic realm="a\`}, nil},
		{"control character", []string{"Basic realm=\"a\x00\""}, nil},
		{"no value", []string{`Basic realm="x", y=`}, nil},
		{"no comma", []string{`Basic realm="a" service="b"`}, nil},
		{"twice", []string{`Basic realm="a", realm="b"`}, nil},
		{"no scheme", []string{`="a"`}, nil},
		{"junk after scheme", []string{`Basic;realm="a"`}, nil},
		{"junk after value", []string{`Basic realm="a"x`}, nil},
		{"not ASCII", []string{"Bäsic realm=a"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseChallenges(tt.in)
			if tt.want == nil {
				if !errors.Is(err, errChallenge) {
					t.Fatalf("parseChallenges = %v, %v; want an error", got, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(tt.want) || len(got) > 0 && !reflect.DeepEqual(got, tt.want) {
				t.Errorf("parseChallenges = %v, want %v", got, tt.want)
			}
		})
	}
	for name, in := range map[string][]string{
		"long": {"Basic realm=" + strings.Repeat("x", maxChallengeBytes)},
		"many": {strings.Repeat("Basic, ", maxChallenges+1)},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := parseChallenges(in); err != errChallengeLength {
				t.Errorf("error %v, want %v", err, errChallengeLength)
			}
		})
	}
}

func FuzzParseChallenges(f *testing.F) {
	for _, s := range []string{
		`Bearer realm="https://a/token",service="b",scope="repository:a:pull"`,
		`Negotiate, Basic realm="a", Bearer realm=b`, `NTLM abc==, Basic realm="x\"y"`, `Basic`, `,,`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		all, err := parseChallenges([]string{s})
		if err != nil {
			return
		}
		for _, ch := range all {
			if ch.scheme == "" || strings.ContainsAny(ch.scheme, " ,=\"") {
				t.Fatalf("%q has scheme %q", s, ch.scheme)
			}
			for k, v := range ch.params {
				if k == "" || strings.ContainsAny(v, "\x00\r\n") {
					t.Fatalf("%q has parameter %q = %q", s, k, v)
				}
			}
		}
	})
}

func FuzzParseToken(f *testing.F) {
	f.Add([]byte(`{"token":"x","expires_in":300}`))
	f.Add([]byte(`{"access_token":"x","expires_in":1e300}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		token, life, err := parseToken(b)
		if err == nil && (token == "" || strings.ContainsAny(token, " \r\n") || life <= 0 || life > maxTokenLife) {
			t.Fatalf("parseToken(%q) = %q, %v", b, token, life)
		}
	})
}

func FuzzParseURI(f *testing.F) {
	f.Add("docker://127.0.0.1:5000/team/app:1@sha256:ab")
	f.Add("docker://[::1]:5000/a")
	f.Add("docker://m.example/a?ns=docker.io:443&base=/us/v2&plain-http=only&insecure=true")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := parseURI(s)
		if err == nil && (r.Host == "" || strings.ContainsAny(r.Host, "/@?#\\ ") || strings.Contains(r.name, "..") || strings.ContainsAny(r.name, "?#%:@\\ ")) {
			t.Fatalf("parseURI(%q) = %+v", s, r)
		}
		if err != nil {
			return
		}
		if again, err := parseURI(r.uri()); err != nil || again != r {
			t.Fatalf("parseURI(%q) = %+v, which reads again as %+v, %v", s, r, again, err)
		}
		base := "https://registry.example"
		u, err := url.Parse(base + r.path("blobs", "sha256:ab"))
		if err != nil || u.Host != "registry.example" || u.Fragment != "" || r.NS == "" && u.RawQuery != "" || u.Query().Get("ns") != r.NS {
			t.Fatalf("parseURI(%q) leads to %s, %v", s, u, err)
		}
	})
}

func TestTokenLife(t *testing.T) {
	for in, want := range map[string]time.Duration{
		`{"token":"x"}`:                    54 * time.Second,
		`{"token":"x","expires_in":1}`:     54 * time.Second,
		`{"token":"x","expires_in":-1}`:    54 * time.Second,
		`{"token":"x","expires_in":300}`:   270 * time.Second,
		`{"token":"x","expires_in":299.9}`: 269100 * time.Millisecond,
		`{"token":"x","expires_in":1e300}`: maxTokenLife * 9 / 10,
	} {
		if _, life, err := parseToken([]byte(in)); err != nil || life != want {
			t.Errorf("parseToken(%s) = %v, %v; want %v", in, life, err, want)
		}
	}
}

func TestParseURI(t *testing.T) {
	tests := []struct{ in, server, name string }{
		{"docker://127.0.0.1:5000/team/app", "127.0.0.1:5000", "team/app"},
		{"docker://127.0.0.1:5000/team/app:1", "127.0.0.1:5000", "team/app"},
		{"docker://Registry.Example/app@sha256:ab", "registry.example", "app"},
		{"docker://registry.example/app:v1@sha256:ab", "registry.example", "app"},
		{"docker://[::1]:5000/app:v1", "[::1]:5000", "app"},
		{"docker://docker.io/alpine:3", "registry-1.docker.io", "library/alpine"},
		{"docker://docker.io/team/app", "registry-1.docker.io", "team/app"},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			r, err := parseURI(tt.in)
			if err != nil || r.Server() != tt.server || r.name != tt.name {
				t.Errorf("parseURI = %+v (server %s), %v", r, r.Server(), err)
			}
		})
	}
}
