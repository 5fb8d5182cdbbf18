package mirrors_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/mirrors"
	"github.com/waybill-project/waybill/transport/registry"
)

// fuzz loads a text as one file. Whatever it is, the outcome is an error of one
// line about the file, or plans whose every URI the registry client reads.
func fuzz(f *testing.F, file string) {
	client := registry.New(registry.Options{})
	m := newMachine(f, nil)
	f.Fuzz(func(t *testing.T, text, host, repository string) {
		m.write(t, file, text)
		c, err := mirrors.Load(m.options())
		if err != nil {
			var e *mirrors.Error
			if !errors.As(err, &e) || !strings.HasPrefix(m.short(e.From), file) || strings.ContainsAny(err.Error(), "\n\r\x1b") {
				t.Fatalf("error %q", err)
			}
			return
		}
		for v := range c.Values() {
			if v.Key == "" || !strings.HasPrefix(m.short(v.From), file+":") || strings.ContainsAny(v.Key+v.Value, "\n\r\x1b") {
				t.Fatalf("value %+v", v)
			}
		}
		p, err := c.For(host, repository)
		if err != nil {
			return
		}
		for _, e := range p.Endpoints {
			if err := client.Check(e.URI()); err != nil {
				t.Fatalf("%s: %v", e.URI(), err)
			}
			if !e.Pull && !e.Resolve {
				t.Fatalf("%s is good for nothing", e.URI())
			}
			c.Settings(e.Place())
		}
	})
}

func FuzzRegistries(f *testing.F) {
	f.Add(documentedRegistries, "example.com", "foo/image")
	f.Add(mirrored("*.example", "a.example/b", "c.example:5000"), "a.b.example:80", "x")
	fuzz(f, registriesConf)
}

func FuzzHosts(f *testing.F) {
	f.Add(everyHost, "docker.io", "library/alpine")
	f.Add("server = \"http://[::1]:80/a%2Fb\"\nskip_verify = true", "127.0.0.1:5000", "x")
	fuzz(f, certsD+"_default/hosts.toml")
}

func FuzzDaemon(f *testing.F) {
	f.Add(`{"registry-mirrors": ["https://a.example/b%20c"], "insecure-registries": ["::1/128", "a:1"]}`, "docker.io", "library/alpine")
	fuzz(f, daemonJSON)
}
