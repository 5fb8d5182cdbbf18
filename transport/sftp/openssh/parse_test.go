package openssh

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSplitArguments(t *testing.T) {
	for in, want := range map[string][]string{
		"a b":              {"a", "b"},
		`"a b" c # d`:      {"a b", "c"},
		`'a b' "c"d`:       {"a b", "cd"},
		`a\ b "c\"d" e#f`:  {"a b", `c"d`, "e#f"},
		`""`:               {""},
		"":                 nil,
		`C:\dir "x\y" \\z`: {`C:\dir`, `x\y`, `\z`},
	} {
		got, err := splitArguments(in)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %q, %v; want %q", in, got, err, want)
		}
	}
	if _, err := splitArguments(`a "b`); err == nil {
		t.Error("an open quote is no error")
	}
}

func TestMatchPattern(t *testing.T) {
	for _, test := range []struct {
		s, pattern string
		want       bool
	}{
		{"host", "host", true}, {"host", "h*", true}, {"host", "*t", true}, {"host", "h??t", true}, {"host", "*", true},
		{"", "*", true}, {"", "", true}, {"host", "", false}, {"host", "h?t", false}, {"a.b.c", "*.c", true}, {"a.b.cd", "*.c", false},
		{strings.Repeat("a", 10000), strings.Repeat("a*", 5000) + "b", false},
	} {
		if got := matchPattern(test.s, test.pattern); got != test.want {
			t.Errorf("%.20q matches %.20q: %v", test.s, test.pattern, got)
		}
	}
}

func TestChoose(t *testing.T) {
	normal, supported := []string{"a", "b"}, []string{"a", "b", "c", "d"}
	for list, want := range map[string]string{
		"c,a": "c a", "c,unknown": "c", "+d": "a b d", "-a": "b", "^d": "d a b", "^b": "b a", "+a": "a b", "-?": "", "x": "",
	} {
		got, err := choose("Ciphers", list, normal, supported)
		if strings.Join(got, " ") != want || (err != nil) != (want == "") {
			t.Errorf("%s: %q, %v; want %q", list, got, err, want)
		}
	}
}

func TestParseJump(t *testing.T) {
	for text, want := range map[string]Target{
		"h":                  {Host: "h"},
		" u@h:22 ":           {Host: "h", User: "u", Port: 22},
		"ssh://u@h:2222/":    {Host: "h", User: "u", Port: 2222},
		"[::1]:22":           {Host: "::1", Port: 22},
		"u@d@h":              {Host: "h", User: "u@d"},
		"[fe80::1%eth0]:222": {Host: "fe80::1%eth0", Port: 222},
	} {
		if got, err := parseJump(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-oX", "h:0", "h:x", "-u@h", "a b"} {
		if got, err := parseJump(text); err == nil {
			t.Errorf("%q is %+v", text, got)
		}
	}
}

// evaluate returns the settings that a configuration gives a host.
func evaluate(t testing.TB, config, host string) (*settings, error) {
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, ".ssh"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, ".ssh", "config"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	d := New(Options{Home: home, SystemConfig: os.DevNull})
	return d.settings(context.Background(), Target{Host: host})
}

func TestFirstValueHolds(t *testing.T) {
	s, err := evaluate(t, `
Host = web
	User=first
	IdentityFile ~/a
	IdentityFile "%d/b c"
	ProxyJump none
Host *
	User second
	IdentityFile ~/.ssh/%h-%p
	ProxyCommand connect %h
	Port 2222
	SomethingNew yes
`, "web")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.Join(s.home, "a"), filepath.Join(s.home, "b c"), filepath.Join(s.home, ".ssh", "web-2222")}
	if s.user != "first" || s.port != 2222 || !slices.Equal(s.identities, want) {
		t.Errorf("%+v", s)
	}
	if s.proxyCommand != "" || s.proxyJump != nil {
		t.Errorf("ProxyJump none came first, but there is %q", s.proxyCommand)
	}
}

func TestMatch(t *testing.T) {
	for line, want := range map[string]bool{
		"all": true, "!all": false, "host web": true, "host=web": true, "host w*,x": true, "!host web": false,
		"host *,!web": false, "originalhost web user Bob": true, "user=Bob": true, "user bob": false,
		"localuser me": true, "tagged work": false, "canonical": false, "!final": true, "final": false,
		"host web user somebody": false,
	} {
		e := &evaluation{ctx: t.Context(), home: "/", localUser: "me", alias: "web", user: "Bob", values: map[string][]string{}}
		if got, err := e.match(strings.Fields(line), true); err != nil || got != want {
			t.Errorf("Match %s: %v, %v", line, got, err)
		}
	}
}

func FuzzConfig(f *testing.F) {
	f.Add("Host a\n Port 22\nMatch host b,!c user d\nUser \"x\"\n")
	f.Add("Match final all\nInclude x\nIdentityFile %d/${HOME}\nProxyJump a,b")
	f.Add("Host")
	f.Add("Host=*\nHostName %h.example\nCiphers +x\nConnectTimeout 5")
	f.Fuzz(func(t *testing.T, config string) {
		e := &evaluation{ctx: context.Background(), home: "/nonexistent", localUser: "me", alias: "a", values: map[string][]string{}}
		active := true
		for line := range strings.Lines(config) {
			d, err := parseDirective(line)
			if err != nil || d == nil || d.keyword == "include" || strings.Contains(strings.ToLower(line), "exec") {
				continue
			}
			if next, err := e.apply(d, "config", true, active, true, 0); err == nil {
				active = next
			}
		}
		s, err := e.settings()
		if err != nil {
			return
		}
		if validHost(s.host) != nil || validUser(s.user) != nil || s.port < 1 || s.port > 65535 {
			t.Errorf("settings that can't be: %+v", s)
		}
		for _, jump := range s.proxyJump {
			if target, err := parseJump(jump); err == nil && CheckTarget(target) != nil {
				t.Errorf("jump host %+v", target)
			}
		}
	})
}

func FuzzKnownHosts(f *testing.F) {
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIbYnWXjTpTpl6vy9q1cVJfFqLDPwfSsAIJsJhVeU7PJ"
	f.Add("host "+key+"\n", "host")
	f.Add("@revoked * "+key+"\n@cert-authority *.x,!y "+key, "a.x")
	f.Add("|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= "+key, "192.168.1.61")
	f.Fuzz(func(t *testing.T, content, name string) {
		lines := parseKnownHosts("file", []byte(content))
		h := hostKeys{s: &settings{}, name: name, revoked: map[string]string{}}
		h.take(lines, name)
		for _, l := range h.keys {
			if err := h.check("", nil, l.key); err != nil {
				t.Errorf("a known key is not believed: %v", err)
			}
		}
		if _, err := h.algorithms(); err != nil {
			t.Error(err)
		}
	})
}
