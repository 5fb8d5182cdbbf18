package mirrors_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/waybill-project/waybill/mirrors"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/test/testimage"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/registry"
)

// world is a registry with an image behind one front, and one with nothing
// behind all others. It sees in which order the fronts are asked for manifests.
type world struct {
	digest string
	hosts  map[string]string // letter → HOST:PORT of a front
	full   string            // the front of the registry with the image

	mu    sync.Mutex
	asked []string
}

// repositories are where the image is in the full registry, tagged 1.
var repositories = []string{"team/app", "mirrored/app", "library/app"}

func newWorld(t *testing.T) *world {
	t.Helper()
	start := func() *realserver.Registry {
		r, err := realserver.StartRegistry(t.Context(), t.TempDir(), realserver.RegistryOptions{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Stop)
		return r
	}
	full, empty := start(), start()
	w := &world{hosts: map[string]string{}}
	for _, letter := range []string{"A", "B", "C", "F"} {
		behind := empty
		if letter == "F" {
			behind = full
		}
		w.hosts[letter] = w.front(t, behind.URL)
	}
	w.full = w.hosts["F"]

	layout, err := testimage.NewLayout(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	layer, err := layout.AddLayer(testimage.Text(1, 10_000), testimage.Gzip)
	if err != nil {
		t.Fatal(err)
	}
	image, err := layout.AddImage(testimage.Config(), layer)
	if err != nil {
		t.Fatal(err)
	}
	if err := layout.Tag(image, "1"); err != nil {
		t.Fatal(err)
	}
	w.digest = image.Digest.String()
	for _, repository := range repositories {
		run(t, nil, "skopeo", "copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false",
			"oci:"+layout.Dir+":1", "docker://"+full.Host+"/"+repository+":1")
	}
	return w
}

// front stands before a registry and remembers which manifests it was asked
// for. A realserver.Proxy knows no query, nor what was asked of another first.
func (w *world) front(t *testing.T, behind string) string {
	t.Helper()
	target, err := url.Parse(behind)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	s := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/manifests/") {
			w.mu.Lock()
			w.asked = append(w.asked, r.Host+r.URL.Path+" "+r.URL.Query().Encode())
			w.mu.Unlock()
		}
		// What is served below another path is at /v2 of the registry.
		if _, rest, ok := strings.Cut(r.URL.Path, "/below"); ok {
			r.URL.Path = "/v2" + strings.TrimPrefix(rest, "/v2")
		}
		proxy.ServeHTTP(rw, r)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// take returns whom was asked for manifests since the last call, each once.
func (w *world) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var asked []string
	for _, a := range w.asked {
		if !slices.Contains(asked, a) {
			asked = append(asked, a)
		}
	}
	w.asked = nil
	return asked
}

// text fills the fronts into a configuration, for {A} and so on.
func (w *world) text(s string) string {
	for letter, host := range w.hosts {
		s = strings.ReplaceAll(s, "{"+letter+"}", host)
	}
	return s
}

// ourPull asks for a manifest as Waybill does by a plan: each place that may be
// asked, until one has it.
func ourPull(t *testing.T, w *world, c *mirrors.Config, name, reference string) {
	t.Helper()
	host, repository, _ := strings.Cut(w.text(name), "/")
	p, err := c.For(host, repository)
	if err != nil {
		t.Fatal(err)
	}
	h := httpclient.New(httpclient.Options{CertDirs: []string{}})
	t.Cleanup(h.CloseIdleConnections)
	client := registry.New(registry.Options{HTTP: h})
	byDigest := strings.Contains(reference, ":")
	for _, e := range p.Endpoints {
		if byDigest && !e.ServesContent(true) || !byDigest && !e.AnswersTags() {
			continue
		}
		desc, err := client.HeadAt(context.Background(), e.URI(), reference)
		if err == nil {
			if desc.Digest.String() != w.digest {
				t.Errorf("%s is %s, want %s", e.URI(), desc.Digest, w.digest)
			}
			return
		}
	}
	t.Errorf("none of %+v has %s:%s", p.Endpoints, name, reference)
}

// withoutTag leaves the references out: having learnt the digest, some tools ask
// by that.
func withoutTag(asked []string) []string {
	var out []string
	for _, a := range asked {
		path, query, _ := strings.Cut(a, " ")
		if line := strings.TrimSpace(path[:strings.LastIndexByte(path, '/')] + " " + query); !slices.Contains(out, line) {
			out = append(out, line)
		}
	}
	return out
}

func run(t *testing.T, env []string, name string, args ...string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Fatalf("%s is not installed: run scripts/install-test-tools", name)
	}
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Env = append(append(os.Environ(), "HOME="+t.TempDir()), env...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
}

// TestPodmanAsksTheSame pulls with podman and with us by the same registries.conf.
func TestPodmanAsksTheSame(t *testing.T) {
	w := newWorld(t)
	tests := []struct{ name, conf, image string }{
		{"origin", "[[registry]]\nlocation = \"{F}\"\ninsecure = true\n", "{F}/team/app"},
		{"mirrors in order", mirrored("app.example", "{F}/mirrored", "{B}/one", "{A}", "{C}/two/three"), "app.example/app"},
		{"first mirror has it", mirrored("app.example", "{A}", "{F}/mirrored", "{B}"), "app.example/app"},
		{"rewriting of a namespace", mirrored("app.example/x/y", "{F}", "{A}/z"), "app.example/x/y/team/app"},
		{"Docker Hub", mirrored("docker.io", "{F}", "{A}", "{B}/hub"), "docker.io/library/app"},
		{"Docker Hub's library", mirrored("docker.io/library", "{F}/team", "{A}"), "docker.io/app"},
		{"wildcard", mirrored("*.example", "{F}", "{A}"), "a.b.example/team/app"},
		{"longest prefix", mirrored("app.example", "{A}") + mirrored("app.example/team", "{F}/mirrored", "{B}"), "app.example/team/app"},
		{"wildcard before a host as long", mirrored("a.example", "{A}") + mirrored("*.example", "{F}", "{B}"), "a.example/team/app"},
		{"host with a port", mirrored("app.example:5000", "{F}", "{A}"), "app.example:5000/team/app"},
		{"limits", "[[registry]]\nprefix = \"app.example\"\nlocation = \"{F}\"\ninsecure = true\n" +
			"[[registry.mirror]]\nlocation = \"{A}\"\ninsecure = true\npull-from-mirror = \"digest-only\"\n" +
			"[[registry.mirror]]\nlocation = \"{B}\"\ninsecure = true\npull-from-mirror = \"tag-only\"\n" +
			"[[registry.mirror]]\nlocation = \"{C}\"\ninsecure = true\n", "app.example/team/app"},
		{"mirror-by-digest-only", "[[registry]]\nprefix = \"app.example\"\nlocation = \"{F}\"\ninsecure = true\nmirror-by-digest-only = true\n" +
			"[[registry.mirror]]\nlocation = \"{A}\"\ninsecure = true\n", "app.example/team/app"},
	}
	storage := t.TempDir()
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t, nil)
			conf := m.write(t, "registries.conf", w.text(tt.conf))
			m.env["CONTAINERS_REGISTRIES_CONF"] = conf
			c := m.load(t)
			for _, reference := range []string{"1", w.digest} {
				separator := ":"
				if reference == w.digest {
					separator = "@"
				}
				run(t, []string{"CONTAINERS_REGISTRIES_CONF=" + conf}, "podman",
					"--root", filepath.Join(storage, "root"), "--runroot", filepath.Join(storage, "run"), "--storage-driver", "vfs",
					"pull", "--quiet", "--signature-policy", policy(t), w.text(tt.image)+separator+reference)
				theirs := withoutTag(w.take())
				ourPull(t, w, c, normal(tt.image), reference)
				if ours := withoutTag(w.take()); !slices.Equal(ours, theirs) || len(ours) == 0 {
					t.Errorf("for %s podman asked\n\t%s\nand we\n\t%s", reference, strings.Join(theirs, "\n\t"), strings.Join(ours, "\n\t"))
				}
			}
		})
	}
}

// mirrored returns a [[registry]].
func mirrored(prefix, location string, mirrors ...string) string {
	text := fmt.Sprintf("[[registry]]\nprefix = %q\nlocation = %q\ninsecure = true\n", prefix, location)
	for _, m := range mirrors {
		text += fmt.Sprintf("[[registry.mirror]]\nlocation = %q\ninsecure = true\n", m)
	}
	return text
}

// normal returns a name as package name has it.
func normal(image string) string {
	if rest, ok := strings.CutPrefix(image, "docker.io/"); ok && !strings.Contains(rest, "/") {
		return "docker.io/library/" + rest
	}
	return image
}

// policy is a policy.json that accepts everything.
func policy(t *testing.T) string {
	path := filepath.Join(t.TempDir(), "policy.json")
	if err := os.WriteFile(path, []byte(`{"default":[{"type":"insecureAcceptAnything"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestContainerdAsksTheSame fetches with containerd's ctr and with us by the
// same directories of hosts.
func TestContainerdAsksTheSame(t *testing.T) {
	w := newWorld(t)
	daemon, err := realserver.StartContainerd(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(daemon.Stop)
	// containerd 1.6 refuses a file without a [host].
	tests := []struct{ name, dir, hosts, image string }{
		{"server", "app.example", "server = \"http://{F}\"\n[host]\n", "app.example/team/app"},
		{"hosts in order", "app.example", "server = \"http://{F}\"\n[host.\"http://{C}\"]\n[host.\"http://{A}\"]\n[host.\"http://{B}\"]\n", "app.example/team/app"},
		{"without resolve", "app.example", "server = \"http://{F}\"\n[host.\"http://{A}\"]\ncapabilities = [\"pull\"]\n[host.\"http://{B}\"]\ncapabilities = [\"resolve\", \"pull\"]\n", "app.example/team/app"},
		{"default", "_default", "[host.\"http://{F}\"]\n", "app.example:5000/team/app"},
		{"Docker Hub", "docker.io", "[host.\"http://{A}\"]\n[host.\"http://{F}\"]\n", "docker.io/library/app"},
		{"below a path", "app.example", "[host.\"http://{A}/x\"]\n[host.\"http://{F}/below\"]\n", "app.example/team/app"},
		{"override_path", "app.example", "[host.\"http://{F}/below\"]\noverride_path = true\n", "app.example/team/app"},
		{"port in underscores", "app.example_5000_", "server = \"http://{F}\"\n[host]\n", "app.example:5000/team/app"},
		{"port after a colon", "app.example:5000", "server = \"http://{F}\"\n[host]\n", "app.example:5000/team/app"},
		{"skip_verify of plain http", "app.example", "server = \"http://{F}\"\nskip_verify = true\n[host]\n", "app.example/team/app"},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t, nil)
			m.write(t, "certs.d/"+tt.dir+"/hosts.toml", w.text(tt.hosts))
			o := m.options()
			o.ContainerdDirs = []string{filepath.Join(m.dir, "certs.d")}
			c, err := mirrors.Load(o)
			if err != nil {
				t.Fatal(err)
			}
			run(t, nil, "ctr", "--address", daemon.Socket, "--namespace", fmt.Sprint("test", i),
				"content", "fetch", "--hosts-dir", o.ContainerdDirs[0], tt.image+":1")
			theirs := withoutTag(w.take())
			ourPull(t, w, c, tt.image, "1")
			if ours := withoutTag(w.take()); !slices.Equal(ours, theirs) || len(ours) == 0 {
				t.Errorf("ctr asked\n\t%s\nand we\n\t%s", strings.Join(theirs, "\n\t"), strings.Join(ours, "\n\t"))
			}
		})
	}
}
