package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestValuesShowWhatIsThere(t *testing.T) {
	m := newMachine(t)
	user := m.write(t, userFile, "registry.credential-files = ['~/auth.json', '~/none.json']")
	m.write(t, "home/auth.json", `{"auths":{"a":{"auth":"c2VjcmV0"}}}`)
	m.write(t, "etc/certs.d/host/ca.crt", "x")
	c := m.load(t)
	for key, want := range map[string]string{
		"config-file." + quote(m.path("etc/config.toml")):    "absent from default",
		"config-file." + quote(user):                         "present from default",
		"credential-file." + quote(m.path("home/auth.json")): "present from " + user + ":1",
		"credential-file." + quote(m.path("home/none.json")): "absent from " + user + ":1",
		"certs-dir." + quote(m.path("etc/certs.d")):          "present from default",
		"registry.certs": m.path("etc/certs.d") + " from default",
		"proxy.http":     " from default",
	} {
		if got := get(t, c, key); got != want {
			t.Errorf("%s: got %s, want %s", key, got, want)
		}
	}
	all, err := json.Marshal(valuesOf(c))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(all), "c2VjcmV0") {
		t.Errorf("a credential is shown: %s", all)
	}
	if first := `[{"key":"store","value":"` + m.path("home/.local/share/waybill") + `","from":"default"},`; !strings.HasPrefix(string(all), first) {
		t.Errorf("got %s…\nwant %s…", all[:len(first)], first)
	}
}

// quote returns a path as it stands in a key.
func quote(path string) string { return `"` + path + `"` }

func valuesOf(c *Config) []Value {
	var all []Value
	for v := range c.Values() {
		all = append(all, v)
	}
	return all
}

func TestState(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink("loop", loop); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		file:                        present,
		dir:                         present,
		filepath.Join(dir, "none"):  absent,
		filepath.Join(file, "none"): unreadable,
		loop:                        unreadable,
		os.DevNull:                  unreadable,
	} {
		if got := state(path); got != want {
			t.Errorf("%s: got %s, want %s", path, got, want)
		}
	}
}

func TestProxies(t *testing.T) {
	tests := []struct {
		name string
		env  map[string]string
		key  string
		want string
	}{
		{"unset", nil, "proxy.http", " from default"},
		{"plain", map[string]string{"HTTP_PROXY": "http://proxy:3128"}, "proxy.http", "http://proxy:3128 from HTTP_PROXY"},
		{"lower case", map[string]string{"https_proxy": "http://proxy:3128"}, "proxy.https", "http://proxy:3128 from https_proxy"},
		{"upper case first", map[string]string{"HTTPS_PROXY": "a:1", "https_proxy": "b:1"}, "proxy.https", "a:1 from HTTPS_PROXY"},
		{"exceptions", map[string]string{"NO_PROXY": "a,.b,10.0.0.0/8"}, "proxy.none-for", "a,.b,10.0.0.0/8 from NO_PROXY"},
		{"user and password", map[string]string{"HTTP_PROXY": "http://user:SECRET@proxy:3128/"}, "proxy.http", "http://xxxxx@proxy:3128/ from HTTP_PROXY"},
		{"no scheme", map[string]string{"HTTP_PROXY": "user:SECRET@proxy:3128"}, "proxy.http", "xxxxx@proxy:3128 from HTTP_PROXY"},
		{"no scheme, but a look of it", map[string]string{"HTTP_PROXY": "SECRET://SECRET@proxy"}, "proxy.http", "xxxxx@proxy from HTTP_PROXY"},
		{"not a URL", map[string]string{"HTTP_PROXY": "http://user:SECRET%zz@proxy"}, "proxy.http", "http://xxxxx@proxy from HTTP_PROXY"},
		{"password with @ and /", map[string]string{"HTTP_PROXY": "SOCKS5://user:SEC/RET@SECRET@proxy"}, "proxy.http", "socks5://xxxxx@proxy from HTTP_PROXY"},
		{"two lines", map[string]string{"HTTP_PROXY": "a\nb"}, "proxy.http", "a\ufffdb from HTTP_PROXY"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t)
			m.env = tt.env
			if got := get(t, m.load(t), tt.key); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
		})
	}
}
