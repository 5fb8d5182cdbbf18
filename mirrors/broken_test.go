package mirrors_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/mirrors"
)

// loadBroken loads what there is, and returns the places of what is malformed.
func (m *machine) loadBroken(t *testing.T) (*mirrors.Config, []string) {
	t.Helper()
	var broken []string
	o := m.options()
	o.Broken = func(e *mirrors.Error) { broken = append(broken, m.short(e.From)) }
	c, err := mirrors.Load(o)
	if err != nil {
		t.Fatal(err)
	}
	return c, broken
}

// One malformed file of containerd's or docker's takes away what it says itself,
// and nothing else.
func TestBrokenFilesAreLivedWith(t *testing.T) {
	m := newMachine(t, map[string]string{
		"etc/containerd/config.toml":                    "version = 2\n[[[\n",
		"etc/containerd/certs.d/bad.example/hosts.toml": "server = \"https://elsewhere.example\"\n[host.\"https://m\"]\ncapabilities = [\"pul\"]\n",
		"etc/containerd/certs.d/ok.example/hosts.toml":  "[host.\"https://mirror.example\"]\n",
		"etc/containerd/certs.d/_default/hosts.toml":    "[host.\"https://default.example\"]\n",
		"etc/docker/daemon.json":                        "{\n\"registry-mirrors\": [\"mirror\"]}",
		"etc/containers/registries.conf":                "[[registry]]\nlocation = \"evil.example\"\nblocked = true\n",
	})
	c, broken := m.loadBroken(t)
	want := []string{"etc/containerd/config.toml:2", "etc/containerd/certs.d/bad.example/hosts.toml:3", "etc/docker/daemon.json:2"}
	if !slices.Equal(broken, want) {
		t.Errorf("told of %q, want %q", broken, want)
	}
	for name, want := range map[string]string{
		"ok.example/x":  "mirror.example",
		"bad.example/x": "docker://bad.example/x", // as with containerd, not _default
		"docker.io/x/y": "default.example",
	} {
		if got := m.plan(t, c, name); len(got) == 0 || !strings.Contains(got[0], want) {
			t.Errorf("%s: %q, want %s", name, got, want)
		}
	}
	if p, err := c.For("evil.example", "x"); err != nil || !p.Blocked {
		t.Errorf("evil.example: %+v, %v", p, err)
	}
}

// What a malformed registries.conf blocks isn't known, so no registry is asked.
func TestBrokenRegistriesConf(t *testing.T) {
	m := newMachine(t, map[string]string{
		"etc/containers/registries.conf": "[[registry]]\nblocked = 1\nlocation = \"x\"\n",
		"etc/docker/daemon.json":         `{"registry-mirrors": ["https://mirror.example"]}`,
	})
	c, broken := m.loadBroken(t)
	const at = "etc/containers/registries.conf:2"
	if !slices.Equal(broken, []string{at}) {
		t.Errorf("told of %q", broken)
	}
	var e *mirrors.Error
	if _, err := c.For("docker.io", "x"); !errors.As(err, &e) || m.short(e.From) != at {
		t.Errorf("For: %v", err)
	}
	if n := len(slices.Collect(c.Values())); n != 1 {
		t.Errorf("%d values, want docker's mirror", n)
	}
}

// Who may be asked about a digest is who serves content, and about a tag who
// answers for tags.
func TestAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		e           mirrors.Endpoint
		tag, digest bool
	}{
		"all":           {mirrors.Endpoint{Pull: true, Resolve: true}, true, true},
		"tag-only":      {mirrors.Endpoint{Pull: true, Resolve: true, TagOnly: true}, true, false},
		"digest-only":   {mirrors.Endpoint{Pull: true, Resolve: true, DigestOnly: true}, false, true},
		"pull":          {mirrors.Endpoint{Pull: true}, false, true},
		"resolve alone": {mirrors.Endpoint{Resolve: true}, true, false},
	} {
		if tag, digest := tt.e.Answers(false), tt.e.Answers(true); tag != tt.tag || digest != tt.digest {
			t.Errorf("%s: tag %v, digest %v", name, tag, digest)
		}
	}
}
