package mirrors_test

import (
	"slices"
	"strings"
	"testing"
)

func TestValues(t *testing.T) {
	m := newMachine(t, map[string]string{
		"etc/containers/registries.conf.d/mode.conf": "\nshort-name-mode = \"enforcing\"\n",
		registriesConf:                         documentedRegistries + "[[registry]]\nlocation = \"bad.example\"\nblocked = true\n[[registry]]\nprefix = \"*.old.example\"\ninsecure = true\n[aliases]\nx = \"a.example/x\"\ngone = \"\"\n",
		certsD + "_default/hosts.toml":         "server = \"https://default.example\"\n",
		certsD + "ns.example_5000_/hosts.toml": "[host.\"https://a.example\"]\ncapabilities = [\"pull\"]\nskip_verify = true\ndial_timeout = \"1s\"\n[host.\"https://a.example\".header]\nAuthorization = \"Basic hunter2\"\n",
		certsD + "ns.example:5000/hosts.toml":  "server = \"https://shadowed.example\"\n",
		certsD + "other.example/hosts.toml":    "[host.\"http://b.example/x\"]\noverride_path = true\nca = \"b.crt\"\nclient = \"b.pem\"\n",
		certsD + "own.example/hosts.toml":      "\nskip_verify = true\n",
		certsD + "certificates.example/ca.crt": "",
		"etc/docker/daemon.json":               `{"registry-mirrors": ["https://c.example/hub"], "insecure-registries": ["d.example", "10.0.0.0/8"]}`,
	})
	c := m.load(t)
	var got []string
	for v := range c.Values() {
		got = append(got, strings.Join([]string{string(v.Kind), v.Key, v.Value, m.short(v.From)}, " | "))
	}
	want := []string{
		`containers | location."*.old.example" | *.old.example (insecure) | ` + registriesConf + ":24",
		`containers | blocked."bad.example" | true | ` + registriesConf + ":21",
		`containers | mirror."example.com/foo" | example-mirror-0.local/mirror-for-foo | ` + registriesConf + ":9",
		`containers | mirror."example.com/foo" | example-mirror-1.local/mirrors/foo (insecure) | ` + registriesConf + ":12",
		`containers | location."example.com/foo" | internal-registry-for-example.com/bar | ` + registriesConf + ":3",
		`containers | mirror."registry.com" | mirror.registry.com | ` + registriesConf + ":19",
		`containers | unqualified-search-registries | example.com | ` + registriesConf + ":1",
		"containers | short-name-mode | enforcing | etc/containers/registries.conf.d/mode.conf:2",
		`containers | alias."x" | a.example/x | ` + registriesConf + ":28",
		`containerd | server."_default" | https://default.example/v2 (pull, resolve) | ` + certsD + "_default/hosts.toml:1",
		`containerd | mirror."ns.example:5000" | https://a.example/v2 (pull, insecure, header Authorization, dial timeout 1s) | ` + certsD + "ns.example_5000_/hosts.toml:1",
		`containerd | mirror."other.example" | http://b.example/x (pull, resolve, ca ` + m.dir + "/" + certsD + `other.example/b.crt, client certificate) | ` + certsD + "other.example/hosts.toml:1",
		`containerd | server."own.example" | https://own.example/v2 (pull, resolve, insecure) | ` + certsD + "own.example/hosts.toml:1",
		`docker | mirror."docker.io" | https://c.example/hub | etc/docker/daemon.json:1`,
		`docker | insecure."d.example" | true | etc/docker/daemon.json:1`,
		`docker | insecure."10.0.0.0/8" | true | etc/docker/daemon.json:1`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	// Whoever has seen enough may stop, anywhere.
	for n := range want {
		seen := 0
		for range c.Values() {
			if seen++; seen > n {
				break
			}
		}
		if seen != n+1 {
			t.Errorf("%d values, stopped after %d", seen, n+1)
		}
	}
}
