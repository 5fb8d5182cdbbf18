package mirrors_test

import (
	"testing"

	"github.com/waybill-project/waybill/mirrors"
)

const daemonJSON = "etc/docker/daemon.json"

// TestDocumentedDaemon has what docker's documentation shows of registry
// mirrors ("Mirror Docker Hub library") and its test of insecure-registries.
func TestDocumentedDaemon(t *testing.T) {
	m := newMachine(t, map[string]string{daemonJSON: `{
  "log-opts": {"registry-mirrors": ["https://not.this.one"], "max-size": [1, {"a": null}]},
  "registry-mirrors": ["https://my-docker-mirror-host",
    "http://plain.example:5000/", "https://below.example/hub/"
  ],
  "insecure-registries": ["my-insecure.example:5000", "10.1.0.0/16", "https://my-docker-mirror-host",
    "fd00::/8"]
}
`})
	c := m.load(t)
	m.checkPlan(t, c, "docker.io/library/alpine",
		"docker://my-docker-mirror-host/library/alpine?insecure=true mirror docker "+daemonJSON+":3",
		"docker://plain.example:5000/library/alpine?plain-http=only mirror docker "+daemonJSON+":4",
		"docker://below.example/library/alpine?base=/hub/v2 mirror docker "+daemonJSON+":4",
		"docker://docker.io/library/alpine")
	for _, host := range []string{"my-insecure.example:5000", "10.1.2.3:5000", "10.1.2.3", "[fd00::1]:5000"} {
		p, err := c.For(host, "x")
		if err != nil || len(p.Endpoints) != 1 || !p.Endpoints[0].Insecure || !p.Endpoints[0].HTTPFallback || p.Endpoints[0].Kind != mirrors.Docker {
			t.Errorf("%s is not insecure: %+v, %v", host, p, err)
		}
	}
	for _, host := range []string{"my-insecure.example", "10.2.2.3", "ghcr.io", "127.0.0.1:5000"} {
		m.checkPlan(t, c, host+"/x", "docker://"+host+"/x")
	}
}

func TestDaemonFiles(t *testing.T) {
	mirror := func(host string) string { return `{"registry-mirrors": ["https://` + host + `.example"]}` }
	const hub = "docker://docker.io/alpine/x"
	m := newMachine(t, map[string]string{daemonJSON: mirror("system")})
	m.checkPlan(t, m.load(t), "docker.io/alpine/x", "docker://system.example/alpine/x mirror docker "+daemonJSON+":1", hub)
	m.write(t, "home/.config/docker/daemon.json", mirror("rootless"))
	m.checkPlan(t, m.load(t), "docker.io/alpine/x", "docker://rootless.example/alpine/x mirror docker home/.config/docker/daemon.json:1", hub)
	m.env["XDG_CONFIG_HOME"] = m.dir + "/xdg"
	m.write(t, "xdg/docker/daemon.json", "\ufeff"+mirror("xdg"))
	m.checkPlan(t, m.load(t), "docker.io/alpine/x", "docker://xdg.example/alpine/x mirror docker xdg/docker/daemon.json:1", hub)
	for _, text := range []string{"", " \n", "{}", `{"registry-mirrors": null}`, `{"registry-mirrors": []}`} {
		m.write(t, "xdg/docker/daemon.json", text)
		m.checkPlan(t, m.load(t), "docker.io/alpine/x", hub)
	}
}

func TestMalformedDaemon(t *testing.T) {
	testErrors(t, daemonJSON, []errorTest{
		{"not JSON", "{\n\"a\" 1}", ":2", "not valid JSON"},
		{"breaks off", "{\n\"a\": 1,\n", ":3", "not valid JSON"},
		{"breaks off in a list", "{\n\"registry-mirrors\": [\n\"https://a\"", ":3", "not valid JSON"},
		{"a list", "[]", ":1", "not a JSON object"},
		{"something behind", "{}\n{}", ":2", "something follows"},
		{"mirrors are a string", "{\n\"registry-mirrors\": \"https://a\"}", ":2", "want a list of strings"},
		{"a mirror is a number", "{\"registry-mirrors\": [\"https://a\",\n1]}", ":2", "want a list of strings"},
		{"a mirror without a scheme", "{\"registry-mirrors\": [\"mirror.example:5000\"]}", ":1", "is not https://HOST"},
		{"a mirror with a password", "{\"registry-mirrors\": [\"https://me:hunter2@a\"]}", ":1", "user information"},
		{"a mirror that is no URL", "{\"registry-mirrors\": [\"https://me:hunter2@a%zz\"]}", ":1", "is not https://HOST"},
		{"a mirror with a query", "{\"registry-mirrors\": [\"https://a?hunter2\"]}", ":1", "a query"},
		{"an insecure path", "{\"insecure-registries\": [\n\"a.example/b\"]}", ":2", "neither HOST[:PORT] nor a network"},
	})
}
