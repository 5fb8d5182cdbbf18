package mirrors_test

import (
	"strings"
	"testing"

	"github.com/waybill-project/waybill/mirrors"
)

const containerdConfig = "etc/containerd/config.toml"

// TestConfigPath: the directories with hosts.toml files are those that
// containerd's own configuration names, in all of its versions.
func TestConfigPath(t *testing.T) {
	const hosts = "hosts/ns.example/hosts.toml"
	for name, section := range map[string]string{
		"version 3": "version = 3\n[plugins.'io.containerd.cri.v1.images'.registry]\n",
		"version 2": "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n",
		"version 1": "disabled_plugins = []\n[plugins.cri.registry]\n",
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, map[string]string{
				hosts:                            "[host.\"https://a.example\"]\n",
				certsD + "ns.example/hosts.toml": "[host.\"https://not.example\"]\n",
			})
			m.write(t, containerdConfig, section+"config_path = \""+m.dir+"/none:"+m.dir+"/hosts\"\n")
			c := m.load(t)
			m.checkPlan(t, c, "ns.example/x", "docker://a.example/x?ns=ns.example mirror containerd "+hosts+":1", "docker://ns.example/x containerd "+hosts+":1")
			for v := range c.Values() {
				if v.Key == "config-path" && v.Kind == mirrors.Containerd && v.Value == m.dir+"/none "+m.dir+"/hosts" && m.short(v.From) == containerdConfig+":3" {
					return
				}
			}
			t.Error("the values don't tell of the path")
		})
	}
}

// TestConfigWithoutPath: the usual directory, and what containerd 1 had instead of
// hosts.toml is noted.
func TestConfigWithoutPath(t *testing.T) {
	m := newMachine(t, map[string]string{
		containerdConfig:                 "[plugins.\"io.containerd.grpc.v1.cri\".registry.mirrors.\"docker.io\"]\nendpoint = [\"https://old.example\"]\n",
		certsD + "ns.example/hosts.toml": "[host.\"https://a.example\"]\n",
	})
	c := m.load(t)
	const from = "containerd " + certsD + "ns.example/hosts.toml:1"
	m.checkPlan(t, c, "ns.example/x", "docker://a.example/x?ns=ns.example mirror "+from, "docker://ns.example/x "+from)
	if len(m.notes) != 1 || m.short(m.notes[0].Where) != containerdConfig+":1" || !strings.Contains(m.notes[0].Text, "config_path") {
		t.Errorf("noted %+v", m.notes)
	}
}

func TestMalformedContainerdConfig(t *testing.T) {
	testErrors(t, containerdConfig, []errorTest{
		{"not TOML", "[plugins", ":1", ""},
		{"a relative path", "[plugins.cri.registry]\nconfig_path = 'certs.d'", ":2", "not an absolute path"},
		{"not a path", "[plugins.cri.registry]\nconfig_path = 3", ":2", "want a string"},
		{"not a table", "[plugins]\ncri = 3", ":2", "want a table"},
	})
}
