package mirrors_test

import (
	"net/http"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/waybill-project/waybill/mirrors"
)

const certsD = "etc/containerd/certs.d/"

// TestDocumentedHosts has the examples of containerd's docs/hosts.md.
func TestDocumentedHosts(t *testing.T) {
	tests := []struct {
		name, dir, text string
		image           string
		want            []string
	}{
		{
			name: "simple", dir: "docker.io", image: "docker.io/library/alpine",
			text: `server = "https://docker.io"

[host."https://registry-1.docker.io"]
  capabilities = ["pull", "resolve"]
`,
			// They are one place: the documentation's server doesn't serve images.
			want: []string{"docker://docker.io/library/alpine mirror containerd @:3"},
		},
		{
			name: "local mirror", dir: "docker.io", image: "docker.io/library/alpine",
			text: `server = "https://registry-1.docker.io"    # Exclude this to not use upstream

[host."https://public-mirror.example.com"]
  capabilities = ["pull"]                  # Requires less trust, won't resolve tag to digest from this host
[host."https://docker-mirror.internal"]
  capabilities = ["pull", "resolve"]
  ca = "docker-mirror.crt"                 # Or absolute path /etc/containerd/certs.d/docker.io/docker-mirror.crt
`,
			want: []string{
				"docker://public-mirror.example.com/library/alpine?ns=docker.io mirror no-resolve containerd @:3",
				"docker://docker-mirror.internal/library/alpine?ns=docker.io mirror containerd @:5",
				"docker://docker.io/library/alpine containerd @:1",
			},
		},
		{
			name: "default mirror", dir: "_default", image: "registry.k8s.io/pause",
			text: `[host."https://registry.example.com"]
  capabilities = ["pull", "resolve"]
`,
			want: []string{
				"docker://registry.example.com/pause?ns=registry.k8s.io mirror containerd @:1",
				"docker://registry.k8s.io/pause containerd @:1",
			},
		},
		{
			name: "only the mirror", dir: "_default", image: "registry.k8s.io/pause",
			text: `server = "https://registry.example.com"`,
			want: []string{"docker://registry.example.com/pause?ns=registry.k8s.io containerd @:1"},
		},
		{
			name: "the default mirror's own", dir: "_default", image: "registry.example.com/x",
			text: `server = "https://registry.example.com"`,
			want: []string{"docker://registry.example.com/x containerd @:1"},
		},
		{
			name: "bypass TLS verification", dir: "docker.io", image: "docker.io/library/alpine",
			text: `server = "https://registry-1.docker.io"

[host."http://192.168.31.250:5000"]
  capabilities = ["pull", "resolve", "push"]
  skip_verify = true
`,
			want: []string{
				"docker://192.168.31.250:5000/library/alpine?insecure=true&ns=docker.io&plain-http=allowed mirror containerd @:3",
				"docker://docker.io/library/alpine containerd @:1",
			},
		},
		{
			name: "mymirror.io", dir: "myregistry.io:5000", image: "myregistry.io:5000/image_name",
			text: `[host."https://mymirror.io"]`,
			want: []string{
				"docker://mymirror.io/image_name?ns=myregistry.io:5000 mirror containerd @:1",
				"docker://myregistry.io:5000/image_name containerd @:1",
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := certsD + tt.dir + "/hosts.toml"
			m := newMachine(t, map[string]string{file: tt.text})
			for i := range tt.want {
				tt.want[i] = strings.ReplaceAll(tt.want[i], "@", file)
			}
			m.checkPlan(t, m.load(t), tt.image, tt.want...)
			if len(m.notes) > 0 {
				t.Errorf("notes %v", m.notes)
			}
		})
	}
}

// everyHost is the long example of containerd's docs/hosts.md, with what its
// tests (TestParseHostFile) add.
const everyHost = `server = "https://test-default.registry"
ca = "/etc/path/default"
[header]
  x-custom-1 = "custom header"

[host."https://mirror.registry"]
  capabilities = ["pull"]
  ca = "/etc/certs/mirror.pem"
  skip_verify = false
  [host."https://mirror.registry".header]
    x-custom-2 = ["value1", "value2"]

[host."https://mirror-bak.registry/us"]
  capabilities = ["pull"]
  skip_verify = true

[host."http://mirror.registry"]
  capabilities = ["pull"]

[host."https://test-1.registry"]
  capabilities = ["pull", "resolve", "push", "referrers"]
  ca = ["/etc/certs/test-1-ca.pem", "special.pem"]
  client = [["/etc/certs/client.cert", "/etc/certs/client.key"],["/etc/certs/client.pem", ""]]

[host."https://test-2.registry"]
  client = "client.pem"

[host."https://test-3.registry"]
  client = ["/etc/certs/client-1.pem", "/etc/certs/client-2.pem"]

[host."https://non-compliant-mirror.registry/v2/upstream"]
  capabilities = ["pull"]
  override_path = true

[host."https://noprefixnoncompliant.registry"]
  override_path = true

[host."https://onlyheader.registry".header]
  x-custom-1 = "justaheader"

[host."https://dial-timeout.registry"]
  dial_timeout = "3s"

[host."https://only-push.registry"]
  capabilities = ["push"]

[host."no-scheme.registry/v2"]
`

func TestEveryHost(t *testing.T) {
	const file = certsD + "ns.example/hosts.toml"
	m := newMachine(t, map[string]string{file: everyHost})
	c := m.load(t)
	at := func(line string) string { return filepath.Join(m.dir, file) + ":" + line }
	mirror := func(line, host string) mirrors.Endpoint {
		return mirrors.Endpoint{
			Kind: mirrors.Containerd, From: at(line), Mirror: true, Scheme: "https", Host: host,
			Repository: "team/app", NS: "ns.example", Resolve: true, Pull: true,
		}
	}
	var want []mirrors.Endpoint
	add := func(e mirrors.Endpoint, change func(e *mirrors.Endpoint)) {
		change(&e)
		want = append(want, e)
	}
	add(mirror("6", "mirror.registry"), func(e *mirrors.Endpoint) {
		e.Resolve, e.CAs, e.Header = false, []string{"/etc/certs/mirror.pem"}, http.Header{"X-Custom-2": {"value1", "value2"}}
	})
	add(mirror("13", "mirror-bak.registry"), func(e *mirrors.Endpoint) { e.Resolve, e.Base, e.Insecure = false, "/us/v2", true })
	add(mirror("17", "mirror.registry"), func(e *mirrors.Endpoint) { e.Resolve, e.Scheme = false, "http" })
	add(mirror("20", "test-1.registry"), func(e *mirrors.Endpoint) {
		e.CAs = []string{"/etc/certs/test-1-ca.pem", filepath.Join(m.dir, certsD, "ns.example/special.pem")}
		e.ClientCerts = [][2]string{{"/etc/certs/client.cert", "/etc/certs/client.key"}, {"/etc/certs/client.pem", ""}}
	})
	add(mirror("25", "test-2.registry"), func(e *mirrors.Endpoint) {
		e.ClientCerts = [][2]string{{filepath.Join(m.dir, certsD, "ns.example/client.pem"), ""}}
	})
	add(mirror("28", "test-3.registry"), func(e *mirrors.Endpoint) {
		e.ClientCerts = [][2]string{{"/etc/certs/client-1.pem", ""}, {"/etc/certs/client-2.pem", ""}}
	})
	add(mirror("31", "non-compliant-mirror.registry"), func(e *mirrors.Endpoint) { e.Resolve, e.Base = false, "/v2/upstream" })
	add(mirror("35", "noprefixnoncompliant.registry"), func(e *mirrors.Endpoint) { e.Base = "/" })
	add(mirror("38", "onlyheader.registry"), func(e *mirrors.Endpoint) { e.Header = http.Header{"X-Custom-1": {"justaheader"}} })
	add(mirror("41", "dial-timeout.registry"), func(e *mirrors.Endpoint) { e.DialTimeout = 3 * time.Second })
	add(mirror("47", "no-scheme.registry"), func(*mirrors.Endpoint) {})
	add(mirror("1", "test-default.registry"), func(e *mirrors.Endpoint) {
		e.Mirror, e.CAs, e.Header = false, []string{"/etc/path/default"}, http.Header{"X-Custom-1": {"custom header"}}
	})

	p, err := c.For("ns.example", "team/app")
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Endpoints) != len(want) {
		t.Fatalf("%d endpoints, want %d", len(p.Endpoints), len(want))
	}
	for i, e := range p.Endpoints {
		if !reflect.DeepEqual(e, want[i]) {
			t.Errorf("endpoint %d is\n%+v, want\n%+v", i, e, want[i])
		}
		// What isn't in the URI is found by it.
		got, ok := c.Settings(e.Place())
		if ok != e.HasSettings() || ok && (!reflect.DeepEqual(got.Header, e.Header) || !reflect.DeepEqual(got.CAs, e.CAs)) {
			t.Errorf("settings of %s: %v, %+v", e.URI(), ok, got)
		}
	}
}

func TestHostsAreAskedInTheOrderOfTheText(t *testing.T) {
	const file = certsD + "ns.example/hosts.toml"
	for name, text := range map[string]string{
		"tables": "[host.\"https://z.example\"]\n[host.\"https://a.example\"]\n[host.\"https://m.example\".header]\nx = \"1\"\n",
		"again":  "[host.\"https://z.example\"]\n[host.\"https://a.example\".header]\n[host.\"https://m.example\"]\n[host.\"https://z.example\".header]\n",
		"inline": "host = {\"https://z.example\" = {}, \n\"https://a.example\" = {},\n \"https://m.example\" = {}}\n",
		"dotted": "host.\"https://z.example\".skip_verify = false\nhost.\"https://a.example\".skip_verify = false\nhost.\"https://m.example\".skip_verify = false\n",
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, map[string]string{file: text})
			var lines []string
			for i, host := range []string{"z", "a", "m"} {
				lines = append(lines, "docker://"+host+".example/x?ns=ns.example mirror containerd "+file+":"+string(rune('1'+i)))
			}
			m.checkPlan(t, m.load(t), "ns.example/x", append(lines, "docker://ns.example/x containerd "+file+":1")...)
		})
	}
}

// TestDirectoriesOfHosts: which directory is a registry's (containerd's
// docs/hosts.md, "Port Handling in Registry Host").
func TestDirectoriesOfHosts(t *testing.T) {
	server := func(host string) string { return `server = "https://` + host + `"` }
	m := newMachine(t, map[string]string{
		"one/a.example_5000_/hosts.toml": server("underscores"),
		"one/a.example:5000/hosts.toml":  server("colon"),
		"one/b.example:5000/hosts.toml":  server("b-colon"),
		"one/c.example/ca.crt":           "no hosts.toml",
		"one/d.example/hosts.toml":       "",
		"one/_default/hosts.toml":        server("default"),
		"one/a-file":                     server("file"),
		"two/e.example/hosts.toml":       server("second"),
		"three/e.example/hosts.toml":     server("third"),
	})
	o := m.options()
	dir := func(name string) string { return filepath.Join(m.dir, name) }
	ask := func(dirs []string, name, want string) {
		t.Helper()
		o.ContainerdDirs = dirs
		c, err := mirrors.Load(o)
		if err != nil {
			t.Fatal(err)
		}
		if got := m.plan(t, c, name+"/x"); len(got) != 1 || !strings.HasPrefix(got[0], "docker://"+want+"/x") {
			t.Errorf("%s with %q: %q, want %s", name, dirs, got, want)
		}
	}
	one := []string{dir("one")}
	ask(one, "a.example:5000", "underscores")
	ask(one, "b.example:5000", "b-colon")
	ask(one, "a.example", "default")
	ask(one, "c.example", "c.example")
	ask(one, "d.example", "d.example")
	ask([]string{dir("two"), dir("three"), dir("one"), dir("none")}, "e.example", "second")
	ask([]string{dir("one"), dir("two")}, "e.example", "default")
	ask([]string{}, "a.example", "a.example")
}

func TestSettingsOfTheRegistryItself(t *testing.T) {
	m := newMachine(t, map[string]string{
		certsD + "ns.example:5000/hosts.toml": "ca = \"ca.crt\"\ncapabilities = [\"push\"]\n",
		"etc/containers/registries.conf":      "[[registry]]\nlocation = \"ns.example:5000\"\n",
	})
	c := m.load(t)
	m.checkPlan(t, c, "ns.example:5000/x", "docker://ns.example:5000/x containers etc/containers/registries.conf:1")
	p, err := c.For("ns.example:5000", "x")
	if err != nil {
		t.Fatal(err)
	}
	// Whoever names the place, containerd's settings for it hold.
	if e, ok := c.Settings(p.Endpoints[0].Place()); !ok || len(e.CAs) != 1 || e.CAs[0] != filepath.Join(m.dir, certsD, "ns.example:5000/ca.crt") {
		t.Errorf("settings %v, %+v", ok, e)
	}
}

func TestMalformedHosts(t *testing.T) {
	testErrors(t, certsD+"ns.example/hosts.toml", []errorTest{
		{"not TOML", "server = \n", ":1", "not valid TOML"},
		{"server is a number", "\nserver = 1", ":2", "server: is a number, want a string"},
		{"server of another scheme", "server = \"ftp://x\"", ":1", "https://HOST"},
		{"server with a password", "server = \"https://me:hunter2@x\"", ":1", "user information"},
		{"server that is no URL", "server = \"https://me:hunter2@x%zz\"", ":1", "is not a URL"},
		{"host with a query", "[host.\"https://x?y=hunter2\"]", ":1", "a query"},
		{"host with a zone", "server = \"https://[fe80::1%25eth0]:5000\"", ":1", "https://HOST"},
		{"host without a name", "[host.\"\"]", ":1", "https://HOST"},
		{"host that is no table", "[host]\n\"https://x\" = 1", ":2", "is a number, want a table"},
		{"hosts are a list", "[[host]]", ":1", "host: is a list, want a table"},
		{"capabilities are a string", "[host.\"https://x\"]\ncapabilities = \"pull\"", ":2", "want a list of strings"},
		{"unknown capability", "[host.\"https://x\"]\ncapabilities = [\"pull\", \"fly\"]", ":2", `"fly" is not pull, resolve, push or referrers`},
		{"skip_verify is a string", "[host.\"https://x\"]\n\nskip_verify = \"yes\"", ":3", "want true or false"},
		{"ca is a number", "ca = 1", ":1", "a path or a list of paths"},
		{"ca has a number", "ca = [1]", ":1", "a path or a list of paths"},
		{"client is a number", "client = 1", ":1", "list of pairs"},
		{"client of three", "client = [[\"a\", \"b\", \"c\"]]", ":1", "list of pairs"},
		{"header is a number", "[header]\nx = 1", ":2", "x: want a string"},
		{"header that can't be", "[header]\nAuthorization = \"hunter2\\n\"", ":2", "can't be a header"},
		{"header of a name that can't be", "[header]\n\"a b\" = \"hunter2\"", ":2", "can't be a header"},
		{"dial_timeout", "dial_timeout = \"1 second\"", ":1", "duration such as 1s"},
		{"override_path", "override_path = 1", ":1", "want true or false"},
	})
}

func TestUnknownKeysOfHostsAreNoted(t *testing.T) {
	m := newMachine(t, map[string]string{certsD + "ns.example/hosts.toml": "future = 1\n[host.\"http://a\"]\n[host.\"http://a\".host.\"http://b\"]\n"})
	m.load(t)
	want := []string{":1 passed over: future is not a known key", ":3 passed over: host is not a known key"}
	for i, n := range m.notes {
		if i >= len(want) || strings.TrimPrefix(m.short(n.Where), certsD+"ns.example/hosts.toml")+" "+n.Text != want[i] {
			t.Errorf("note %v", n)
		}
	}
	if len(m.notes) != len(want) {
		t.Errorf("%d notes, want %d", len(m.notes), len(want))
	}
}
