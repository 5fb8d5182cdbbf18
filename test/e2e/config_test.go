package e2e

import (
	"strings"
	"testing"
)

// TestConfigShowsWhatIsInForce: every mirror, gateway, proxy and policy, of
// whatever file or variable it comes, with that and its line.
func TestConfigShowsWhatIsInForce(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	registries := u.file(".config/containers/registries.conf", `
[[registry]]
prefix = "registry.example/team"
location = "registry.example/team"
[[registry.mirror]]
location = "mirror.example/copies"
pull-from-mirror = "digest-only"

[[registry]]
location = "blocked.example"
blocked = true
`)
	daemon := u.file(".config/docker/daemon.json", "{\n  \"registry-mirrors\": [\n    \"https://hub.example\"]}\n")
	engines := u.file(".config/oci-discovery/ref-engine-discovery.json",
		`{"^app[.]example/": {"refEngines": [{"protocol": "oci-index-template-v1", "uri": "https://index.example/{path}"}]}}`)
	gateway := u.file(".ipfs/gateway", "http://127.0.0.1:9\n")
	ours := u.policy(`[name."registry.example/*"]
policy = "agree"
resolvers = ["mirrors", "registry"]
[ipfs]
gateways = ["https://gateway.example"]
[host."storage.example"]
trusted = true
[locate]
metalink = true
`)
	u.setenv("HTTPS_PROXY", "http://ann:hidden-password@proxy.example:3128")
	u.setenv("no_proxy", "internal.example")

	var values []struct{ Key, Value, From string }
	u.run("config", "--insecure=old.example:5000", "--json").exits(0).never("hidden-password").decode(&values)
	text := u.run("config", "--insecure=old.example:5000").exits(0).never("hidden-password").stdout
	for _, want := range [][3]string{
		{`containers.mirror."registry.example/team"`, "mirror.example/copies (digest-only)", registries + ":5"},
		{`containers.blocked."blocked.example"`, "true", registries + ":9"},
		{`docker.mirror."docker.io"`, "https://hub.example", daemon + ":3"},
		{`xdg."^app[.]example/".ref-engines`, "https://index.example/{path}", engines},
		{"ipfs.local-gateway", "http://127.0.0.1:9", gateway},
		{"ipfs.gateways", "https://gateway.example", ours + ":5"},
		{`name."registry.example/*".policy`, "agree", ours + ":2"},
		{`name."registry.example/*".resolvers`, "mirrors registry", ours + ":3"},
		{`host."storage.example".trusted`, "true", ours + ":7"},
		{`host."old.example:5000".insecure`, "true", "--insecure"},
		{"locate.metalink", "true", ours + ":9"},
		{"proxy.https", "http://xxxxx@proxy.example:3128", "HTTPS_PROXY"},
		{"proxy.none-for", "internal.example", "no_proxy"},
	} {
		shown := false
		for _, v := range values {
			shown = shown || [3]string{v.Key, v.Value, v.From} == want
		}
		if !shown {
			t.Errorf("config --json doesn't show %q: %+v", want, values)
		}
		if line := strings.Join(want[:], " "); !strings.Contains(strings.Join(strings.Fields(text), " "), line) {
			t.Errorf("config doesn't show %s:\n%s", line, text)
		}
	}
}
