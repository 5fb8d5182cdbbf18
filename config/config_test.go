package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// machine is a directory that stands for a machine's files, and its
// environment.
type machine struct {
	dir string
	env map[string]string
}

// newMachine returns a machine without configuration. Its home is dir/home.
func newMachine(t *testing.T) *machine {
	t.Helper()
	return &machine{dir: t.TempDir(), env: map[string]string{}}
}

// write puts a file on the machine and returns its path.
func (m *machine) write(t *testing.T, name, text string) string {
	t.Helper()
	path := m.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func (m *machine) path(name string) string { return filepath.Join(m.dir, name) }

// options returns how the machine's configuration is loaded.
func (m *machine) options() LoadOptions {
	return LoadOptions{
		Env:             func(name string) string { return m.env[name] },
		Home:            m.path("home"),
		SystemFile:      m.path("etc/config.toml"),
		CredentialFiles: []string{m.path("home/.docker/config.json")},
		Certs:           []string{m.path("etc/certs.d")},
	}
}

// load returns the machine's configuration.
func (m *machine) load(t *testing.T) *Config {
	t.Helper()
	c, err := Load(m.options())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// get returns the value of a key as it is shown, "VALUE from FROM".
func get(t *testing.T, c *Config, key string) string {
	t.Helper()
	for v := range c.Values() {
		if v.Key == key {
			return v.Value + " from " + v.From
		}
	}
	t.Fatalf("no value for %s", key)
	return ""
}

const userFile = "home/.config/waybill/config.toml"

func TestLoadDefaults(t *testing.T) {
	m := newMachine(t)
	c := m.load(t)
	want := Config{
		Store:    m.path("home/.local/share/waybill"),
		Progress: "auto",
		Fetch:    Fetch{Parallel: 4, MaxConnections: 6, FirstByte: 20 * time.Second, Stall: 20 * time.Second, MinRate: 512},
		Ingest:   Ingest{Quota: 32 << 30, MaxAge: 7 * 24 * time.Hour},
		Bundle:   Bundle{MaxSize: 64 << 30},
	}
	if c.Store != want.Store || c.Platform != "" || c.Progress != want.Progress ||
		c.Fetch != want.Fetch || c.Ingest != want.Ingest || c.Bundle != want.Bundle {
		t.Errorf("got %+v\nwant %+v", c, want)
	}
	if c.Registry.CredentialTimeout != 10*time.Second || !slices.Equal(c.Registry.Certs, m.options().Certs) ||
		!slices.Equal(c.Registry.CredentialFiles, m.options().CredentialFiles) {
		t.Errorf("got %+v", c.Registry)
	}
	for v := range c.Values() {
		if v.From != "default" {
			t.Errorf("%s is from %s", v.Key, v.From)
		}
	}
}

func TestLoadEveryKey(t *testing.T) {
	m := newMachine(t)
	file := m.write(t, userFile, `store = "~/images"
platform = "linux/arm/v7"
progress = "plain"
[fetch]
parallel = 8
max-connections = 0x2
first-byte = "1m30s"
stall = "500ms"
min-rate = "10kB"
[ingest]
quota = "1.5GB"
max-age = "2d12h"
[bundle]
max-size = 1_000
[registry]
credential-files = [
  "/a.json",
  "~/b.json",
]
credential-timeout = "3s"
certs = []
[ipfs]
gateways = ["https://a.example/x", "http://b:8080"]
routers = []
[bittorrent]
listen = "::1"
port = 6881
dht = false
dht-nodes = ["router.example:6881", "[::1]:1"]
peer-exchange = false
local-discovery = false
max-download = "10MB"
max-upload = "unlimited"
memory = "32MiB"
[network]
trusted = ["10.20.0.0/16", "fd00:20::1"]
[host."LOCALHOST:05000"]
plain-http = true
insecure = false
[host.example]
trusted = true
`)
	c := m.load(t)

	fetch := Fetch{Parallel: 8, MaxConnections: 2, FirstByte: 90 * time.Second, Stall: 500 * time.Millisecond, MinRate: 10_000}
	if c.Store != m.path("home/images") || c.Platform != "linux/arm/v7" || c.Progress != "plain" || c.Fetch != fetch ||
		c.Ingest != (Ingest{Quota: 1_500_000_000, MaxAge: 60 * time.Hour}) || c.Bundle.MaxSize != 1000 {
		t.Errorf("got %+v", c)
	}
	if !slices.Equal(c.Registry.CredentialFiles, []string{"/a.json", m.path("home/b.json")}) || c.Registry.CredentialTimeout != 3*time.Second {
		t.Errorf("got %+v", c.Registry)
	}
	if c.Registry.Certs == nil || len(c.Registry.Certs) != 0 {
		t.Errorf("certs = [] gives %#v, want none and not nil", c.Registry.Certs)
	}

	var got []string
	for v := range c.Values() {
		if from, ok := strings.CutPrefix(v.From, file+":"); ok && !strings.Contains(v.Key, "/") {
			got = append(got, fmt.Sprintf("%s %s=%s", from, v.Key, v.Value))
		}
	}
	want := []string{
		"1 store=" + m.path("home/images"),
		"2 platform=linux/arm/v7",
		"3 progress=plain",
		"5 fetch.parallel=8",
		"6 fetch.max-connections=2",
		"7 fetch.first-byte=1m30s",
		"8 fetch.stall=500ms",
		"9 fetch.min-rate=10kB",
		"11 ingest.quota=1500MB",
		"12 ingest.max-age=2d12h",
		"14 bundle.max-size=1kB",
		"36 network.trusted=10.20.0.0/16 fd00:20::1/128",
		"16 registry.credential-files=/a.json:" + m.path("home/b.json"),
		"20 registry.credential-timeout=3s",
		"21 registry.certs=",
		"23 ipfs.gateways=https://a.example/x http://b:8080",
		"24 ipfs.routers=",
		"26 bittorrent.listen=::1",
		"27 bittorrent.port=6881",
		"28 bittorrent.dht=false",
		"29 bittorrent.dht-nodes=router.example:6881 [::1]:1",
		"30 bittorrent.peer-exchange=false",
		"31 bittorrent.local-discovery=false",
		"32 bittorrent.max-download=10MB",
		"33 bittorrent.max-upload=unlimited",
		"34 bittorrent.memory=32MiB",
		"41 host.example.trusted=true",
		`38 host."localhost:5000".plain-http=true`,
		`39 host."localhost:5000".insecure=false`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// The file in the package comment is accepted, and the defaults it gives for
// numbers are those in force.
func TestPackageComment(t *testing.T) {
	source, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for line := range strings.Lines(string(source)) {
		if code, ok := strings.CutPrefix(line, "//\t"); ok {
			text.WriteString(code)
		}
	}
	m := newMachine(t)
	usual := m.load(t)
	file := m.write(t, userFile, text.String())
	c := m.load(t)
	if c.Fetch != usual.Fetch || c.Ingest != usual.Ingest || c.Bundle != usual.Bundle {
		t.Errorf("got %+v %+v %+v", c.Fetch, c.Ingest, c.Bundle)
	}
	for _, s := range settings {
		if !strings.HasPrefix(c.From(s.key), file) {
			t.Errorf("%s is not in the package comment", s.key)
		}
	}
}

// Each step adds something that comes before all earlier steps.
func TestLoadPrecedence(t *testing.T) {
	m := newMachine(t)
	stall := func() string { return get(t, m.load(t), "fetch.stall") }
	store := func() string { return get(t, m.load(t), "store") }
	expect := func(got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	expect(stall(), "20s from default")

	system := m.write(t, "etc/config.toml", "store = '/system'\nfetch.stall = '1s'\nfetch.parallel = 1\n")
	expect(stall(), "1s from "+system+":2")

	user := m.write(t, userFile, "\n\nfetch = { stall = '2s' }\n")
	expect(stall(), "2s from "+user+":3")
	expect(store(), "/system from "+system+":1")
	expect(get(t, m.load(t), "fetch.parallel"), "1 from "+system+":3")

	m.env["XDG_CONFIG_HOME"] = m.path("xdg")
	expect(stall(), "1s from "+system+":2")
	xdg := m.write(t, "xdg/waybill/config.toml", "fetch.stall = '3s'")
	expect(stall(), "3s from "+xdg+":1")

	m.env["XDG_CONFIG_HOME"] = "relative" // counts as unset, says the XDG specification
	expect(stall(), "2s from "+user+":3")

	named := m.write(t, "named.toml", "fetch.stall = '4s'")
	m.env["WAYBILL_CONFIG"] = named
	expect(stall(), "4s from "+named+":1")
	expect(get(t, m.load(t), "fetch.parallel"), "4 from default")

	m.env["WAYBILL_STORE"] = "/elsewhere"
	expect(store(), "/elsewhere from WAYBILL_STORE")

	opts := m.options()
	opts.File = m.write(t, "flag.toml", "store = '/flag'\nfetch.stall = '5s'")
	c, err := Load(opts)
	if err != nil {
		t.Fatal(err)
	}
	expect(get(t, c, "fetch.stall"), "5s from "+opts.File+":2")
	expect(get(t, c, "store"), "/elsewhere from WAYBILL_STORE")
	if err := c.Override("store", "/typed", "--store"); err != nil {
		t.Fatal(err)
	}
	expect(get(t, c, "store"), "/typed from --store")
}

func TestStoreDefault(t *testing.T) {
	tests := []struct {
		name, home string
		env        map[string]string
		want       string
	}{
		{"home", "/h", nil, "/h/.local/share/waybill"},
		{"HOME", "", map[string]string{"HOME": "/e"}, "/e/.local/share/waybill"},
		{"XDG_DATA_HOME", "/h", map[string]string{"XDG_DATA_HOME": "/x"}, "/x/waybill"},
		{"relative XDG_DATA_HOME", "/h", map[string]string{"XDG_DATA_HOME": "x"}, "/h/.local/share/waybill"},
		{"nowhere", "", nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := Load(LoadOptions{
				Home:       tt.home,
				SystemFile: filepath.Join(t.TempDir(), "none"),
				Env:        func(name string) string { return tt.env[name] },
			})
			if err != nil {
				t.Fatal(err)
			}
			if c.Store != tt.want {
				t.Errorf("got %q, want %q", c.Store, tt.want)
			}
		})
	}
}

func TestOverride(t *testing.T) {
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		key, text string
		want      string // of the value; starting with "!" of the error
	}{
		{"store", "relative/dir", filepath.Join(wd, "relative/dir")},
		{"store", "", `!--flag: store: "" is not an absolute path`},
		{"platform", "linux/s390x", "linux/s390x"},
		{"platform", "", ""},
		{"progress", "json", "json"},
		{"fetch.parallel", "16", "16"},
		{"fetch.parallel", "16.0", `!--flag: fetch.parallel: "16.0" is not a whole number from 1 to 64`},
		{"fetch.stall", "90s", "1m30s"},
		{"ingest.quota", "4096", "4KiB"},
		{"registry.certs", "/a:b", "/a:" + filepath.Join(wd, "b")},
		{"registry.certs", "", ""},
		{`host."LOCALHOST:5000".insecure`, "true", "true"},
		{`host.localhost.insecure`, "1", `!--flag: host.localhost.insecure: "1" is not true or false`},
		{"fetch.paralel", "1", "!--flag: fetch.paralel: no such key; did you mean parallel?"},
		{"fetch", "1", "!--flag: fetch: no such key"},
		{"", "1", "!not a key"},
		{"a = 1\nb", "1", "!not a key"},
		{"[fetch]\nstall", "1s", "!not a key"},
	}
	for _, tt := range tests {
		t.Run(tt.key+"="+tt.text, func(t *testing.T) {
			c := newMachine(t).load(t)
			before := slices.Collect(c.Values())
			err := c.Override(tt.key, tt.text, "--flag")
			if want, bad := strings.CutPrefix(tt.want, "!"); bad {
				if err == nil {
					t.Fatal("no error")
				}
				checkLine(t, err, "--flag: ", want)
				if !slices.Equal(slices.Collect(c.Values()), before) {
					t.Error("something changed all the same")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			key := strings.ToLower(tt.key)
			if got := get(t, c, key); got != tt.want+" from --flag" {
				t.Errorf("got %s", got)
			}
			if c.From(key) != "--flag" {
				t.Errorf("From says %s", c.From(key))
			}
		})
	}
}

// FuzzLoad loads any text as a file. What is accepted is shown in a form that
// Override takes back; what isn't gives one line about the file.
func FuzzLoad(f *testing.F) {
	f.Add("store = '/a'\nplatform = 'all'\nprogress = 'none'\n[fetch]\nparallel = 1\nfirst-byte = '1d1ns1ms'\nmin-rate = '1.5kiB'")
	f.Add("[registry]\ncerts = ['/a', '~/b']\ncredential-files = []\n[host.'[::1]:5000']\ntrusted = true\n[host.a]")
	f.Add("fetch = { stall = '1h' }\n[[host]]\n")
	f.Add("a = 1\n\"g.h\" . i = \"#\"\nm = [{ q = 1, r = { s = 2 } }]\n[[ aa ]]\nbb = 0x1f\n")
	m := &machine{dir: f.TempDir()}
	f.Fuzz(func(t *testing.T, text string) {
		c := defaults(m.options(), func(string) string { return "" })
		if err := c.merge("FILE", text); err != nil {
			checkLine(t, err, "FILE:", "")
			return
		}
		for v := range c.Values() {
			if !strings.HasPrefix(v.From, "FILE:") || strings.HasPrefix(v.Key, "certs-dir.") || strings.HasPrefix(v.Key, "credential-file.") {
				continue
			}
			before := slices.Collect(c.Values())
			if err := c.Override(v.Key, v.Value, v.From); err != nil {
				t.Fatal(err)
			}
			if after := slices.Collect(c.Values()); !slices.Equal(before, after) {
				t.Fatalf("%v was taken back as\n%v\nnot\n%v", v, after, before)
			}
		}
	})
}
