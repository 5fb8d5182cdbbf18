package mirrors_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/mirrors"
)

// machine is a directory that stands for the files of a machine.
type machine struct {
	dir   string
	env   map[string]string
	notes []mirrors.Note
}

// newMachine writes files, named from the root: etc/…, home/….
func newMachine(t testing.TB, files map[string]string) *machine {
	t.Helper()
	m := &machine{dir: t.TempDir(), env: map[string]string{}}
	for name, text := range files {
		m.write(t, name, text)
	}
	return m
}

func (m *machine) write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(m.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func (m *machine) options() mirrors.Options {
	return mirrors.Options{
		Etc: filepath.Join(m.dir, "etc"), Home: filepath.Join(m.dir, "home"),
		Env:  func(name string) string { return m.env[name] },
		Note: func(n mirrors.Note) { m.notes = append(m.notes, n) },
	}
}

func (m *machine) load(t testing.TB) *mirrors.Config {
	t.Helper()
	c, err := mirrors.Load(m.options())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// short returns a place without the machine's directory.
func (m *machine) short(from string) string { return strings.TrimPrefix(from, m.dir+"/") }

// plan returns the plan for HOST/REPOSITORY, a line for each endpoint.
func (m *machine) plan(t testing.TB, c *mirrors.Config, name string) []string {
	t.Helper()
	host, repository, _ := strings.Cut(name, "/")
	p, err := c.For(host, repository)
	if err != nil {
		t.Fatal(err)
	}
	if p.Blocked {
		if len(p.Endpoints) > 0 {
			t.Errorf("%s is blocked and has endpoints %+v", name, p.Endpoints)
		}
		return []string{"blocked by " + m.short(p.From)}
	}
	var lines []string
	for _, e := range p.Endpoints {
		lines = append(lines, m.line(e))
	}
	return lines
}

// line returns an endpoint as its URI, what stands out about it, and where it
// comes from.
func (m *machine) line(e mirrors.Endpoint) string {
	line := e.URI()
	for _, w := range []struct {
		on   bool
		word string
	}{
		{e.Mirror, "mirror"}, {!e.Resolve, "no-resolve"}, {!e.Pull, "no-pull"},
		{e.DigestOnly, "digest-only"}, {e.TagOnly, "tag-only"},
	} {
		if w.on {
			line += " " + w.word
		}
	}
	if e.From != "" {
		line += " " + string(e.Kind) + " " + m.short(e.From)
	}
	return line
}

func (m *machine) checkPlan(t testing.TB, c *mirrors.Config, name string, want ...string) {
	t.Helper()
	if got := m.plan(t, c, name); !slices.Equal(got, want) {
		t.Errorf("%s:\ngot\n\t%s\nwant\n\t%s", name, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
}

// testErrors loads each text as one file and wants an error about it.
func testErrors(t *testing.T, file string, tests []errorTest) {
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t, map[string]string{file: tt.text})
			_, err := mirrors.Load(m.options())
			if err == nil {
				t.Fatal("no error")
			}
			got := m.short(err.Error())
			if !strings.HasPrefix(got, file+tt.at+": ") || !strings.Contains(got, tt.says) || strings.Contains(got, "\n") {
				t.Errorf("error %q, want one line about %s%s that says %q", got, file, tt.at, tt.says)
			}
			if strings.Contains(got, "hunter2") {
				t.Errorf("error %q shows a secret", got)
			}
		})
	}
}

type errorTest struct{ name, text, at, says string }

func TestNothingConfigured(t *testing.T) {
	m := newMachine(t, nil)
	c := m.load(t)
	m.checkPlan(t, c, "docker.io/library/alpine", "docker://docker.io/library/alpine")
	m.checkPlan(t, c, "index.docker.io/alpine", "docker://docker.io/library/alpine")
	m.checkPlan(t, c, "registry-1.docker.io/alpine", "docker://docker.io/library/alpine")
	m.checkPlan(t, c, "REGISTRY.example:5000/team/app", "docker://registry.example:5000/team/app")
	m.checkPlan(t, c, "HOST/app", "docker://host/app")
	m.checkPlan(t, c, "[::1]:5000/app", "docker://[::1]:5000/app")
	for v := range c.Values() {
		t.Errorf("value %+v", v)
	}
	if len(m.notes) > 0 {
		t.Errorf("notes %v", m.notes)
	}
	for _, name := range []string{"docker.io/Alpine", "docker.io/a:1", "a b/c", "/a", "registry.example/"} {
		host, repository, _ := strings.Cut(name, "/")
		if p, err := c.For(host, repository); err == nil {
			t.Errorf("%q has plan %+v", name, p)
		}
	}
}

// TestTheOrderOfTools: containers, containerd, docker; what two name is asked
// once; a replacement keeps the registry itself from being asked.
func TestTheOrderOfTools(t *testing.T) {
	files := map[string]string{
		"etc/containers/registries.conf":              "[[registry]]\nlocation = \"docker.io\"\n[[registry.mirror]]\nlocation = \"a.example\"\n",
		"etc/containerd/certs.d/docker.io/hosts.toml": "[host.\"https://b.example\"]\n[host.\"https://registry-1.docker.io\"]\ncapabilities = [\"pull\"]\n",
		"etc/docker/daemon.json":                      `{"registry-mirrors": ["https://c.example", "https://a.example/"]}`,
	}
	m := newMachine(t, files)
	m.checkPlan(t, m.load(t), "docker.io/library/alpine",
		"docker://a.example/library/alpine mirror containers etc/containers/registries.conf:3",
		"docker://b.example/library/alpine?ns=docker.io mirror containerd etc/containerd/certs.d/docker.io/hosts.toml:1",
		"docker://docker.io/library/alpine mirror no-resolve containerd etc/containerd/certs.d/docker.io/hosts.toml:2",
		"docker://c.example/library/alpine mirror docker etc/docker/daemon.json:1",
	)
	// containerd has no upstream: docker's mirrors count still, the Hub doesn't.
	m.write(t, "etc/containerd/certs.d/docker.io/hosts.toml", `server = "https://b.example"`)
	m.checkPlan(t, m.load(t), "docker.io/library/alpine",
		"docker://a.example/library/alpine mirror containers etc/containers/registries.conf:3",
		"docker://c.example/library/alpine mirror docker etc/docker/daemon.json:1",
		"docker://b.example/library/alpine?ns=docker.io containerd etc/containerd/certs.d/docker.io/hosts.toml:1",
	)
	// Blocked by one is blocked.
	m.write(t, "etc/containers/registries.conf.d/b.conf", "\n[[registry]]\nlocation = \"docker.io\"\nblocked = true\n")
	m.checkPlan(t, m.load(t), "docker.io/library/alpine", "blocked by etc/containers/registries.conf.d/b.conf:2")
}

func TestWhoMayBeAskedForWhat(t *testing.T) {
	tests := []struct {
		name                  string
		e                     mirrors.Endpoint
		tags, byTag, byDigest bool
	}{
		{"everything", mirrors.Endpoint{Resolve: true, Pull: true}, true, true, true},
		{"pull", mirrors.Endpoint{Pull: true}, false, true, true},
		{"resolve", mirrors.Endpoint{Resolve: true}, true, false, false},
		{"digest-only", mirrors.Endpoint{Resolve: true, Pull: true, DigestOnly: true}, false, true, true},
		{"tag-only", mirrors.Endpoint{Resolve: true, Pull: true, TagOnly: true}, true, true, false},
	}
	for _, tt := range tests {
		if tags, byTag, byDigest := tt.e.AnswersTags(), tt.e.ServesContent(false), tt.e.ServesContent(true); tags != tt.tags || byTag != tt.byTag || byDigest != tt.byDigest {
			t.Errorf("%s: tags %v, content by tag %v, by digest %v", tt.name, tags, byTag, byDigest)
		}
	}
}

func TestFilesThatMayNotBeRead(t *testing.T) {
	files := map[string]string{
		"etc/containerd/certs.d/docker.io/hosts.toml": `server = "https://b.example"`,
		"etc/docker/daemon.json":                      `{"registry-mirrors": ["https://c.example"]}`,
		"etc/containers/registries.conf":              "",
	}
	deny := func(t *testing.T, m *machine, name string) {
		t.Helper()
		if os.Geteuid() == 0 {
			// Root reads everything. A loop of links can't be read by anybody.
			path := filepath.Join(m.dir, name)
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(path, path); err != nil {
				t.Fatal(err)
			}
			return
		}
		if err := os.Chmod(filepath.Join(m.dir, name), 0); err != nil {
			t.Fatal(err)
		}
	}
	for name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			m := newMachine(t, files)
			deny(t, m, name)
			_, err := mirrors.Load(m.options())
			// registries.conf may block: it isn't passed over.
			if os.Geteuid() == 0 || strings.HasPrefix(name, "etc/containers") {
				if err == nil || !strings.HasPrefix(m.short(err.Error()), name+": ") {
					t.Errorf("error %v, want one that names %s", err, name)
				}
				return
			}
			if err != nil || len(m.notes) != 1 || m.short(m.notes[0].Where) != name {
				t.Errorf("error %v, notes %v, want one note about %s", err, m.notes, name)
			}
		})
	}
	t.Run("too large", func(t *testing.T) {
		m := newMachine(t, map[string]string{"etc/docker/daemon.json": strings.Repeat(" ", 1<<20+1)})
		if _, err := mirrors.Load(m.options()); err == nil || !strings.Contains(err.Error(), "daemon.json: larger than 1048576 bytes") {
			t.Errorf("error %v", err)
		}
	})
}

func TestNamedFilesMustExist(t *testing.T) {
	m := newMachine(t, nil)
	missing := filepath.Join(m.dir, "missing")
	for name, change := range map[string]func(o *mirrors.Options){
		"registries.conf": func(o *mirrors.Options) { o.RegistriesConf = missing },
		"environment":     func(*mirrors.Options) { m.env["CONTAINERS_REGISTRIES_CONF"] = missing },
		"daemon.json":     func(o *mirrors.Options) { o.DockerDaemon = missing },
	} {
		clear(m.env)
		o := m.options()
		change(&o)
		if _, err := mirrors.Load(o); err == nil || !strings.Contains(err.Error(), missing+": ") || !strings.Contains(err.Error(), "no such file") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
