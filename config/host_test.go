package config

import "testing"

func TestHosts(t *testing.T) {
	m := newMachine(t)
	m.write(t, userFile, `
[host."registry.example"]
plain-http = true
insecure = true
trusted = true
[host."Registry.Example:5000"]
plain-http = false
trusted = false
[host."[0::1]:5001"]
insecure = true
[host."localhost:5002"]
plain-http = false
`)
	opts := m.options()
	opts.PlainHTTP = func(host string) bool { return host == "localhost:5002" || host == "localhost:5003" }
	c, err := Load(opts)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, host               string
		plain, insecure, trusted bool
	}{
		{"as configured", "registry.example", true, true, true},
		{"in another case", "REGISTRY.example", true, true, true},
		{"any port", "registry.example:443", true, true, true},
		{"exact port first, the rest from the host", "registry.example:5000", false, true, false},
		{"subdomain", "a.registry.example", false, false, false},
		{"another host", "example", false, false, false},
		{"IPv6 in another form", "[::1]:5001", false, true, false},
		{"IPv6 at another port", "[::1]:5000", false, false, false},
		{"IPv6 without port", "[::1]", false, false, false},
		{"default allows, configuration forbids", "localhost:5002", false, false, false},
		{"default allows", "localhost:5003", true, false, false},
		{"not a host", "https://registry.example", false, false, false},
		{"empty", "", false, false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if c.HostPlainHTTP(tt.host) != tt.plain || c.HostInsecure(tt.host) != tt.insecure || c.HostTrusted(tt.host) != tt.trusted {
				t.Errorf("%s: got %v %v %v", tt.host, c.HostPlainHTTP(tt.host), c.HostInsecure(tt.host), c.HostTrusted(tt.host))
			}
		})
	}
}

func TestCanonicalHost(t *testing.T) {
	tests := []struct {
		in, want string // empty: refused
	}{
		{"a", "a"},
		{"A.B-c_d:0080", "a.b-c_d:80"},
		{"127.0.0.1:5000", "127.0.0.1:5000"},
		{"[::1]", "[::1]"},
		{"[0:0::1]:5000", "[::1]:5000"},
		{"[fe80::1%eth0]", "[fe80::1%eth0]"},
		{"", ""},
		{":5000", ""},
		{"a:", ""},
		{"a:0", ""},
		{"a:65536", ""},
		{"a:+1", ""},
		{"a:b", ""},
		{"::1", ""},
		{"[::1", ""},
		{"[::1]x", ""},
		{"[127.0.0.1]", ""},
		{"user@a", ""},
		{"*.a", ""},
		{"a b", ""},
		{"ä", ""},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			got, err := canonicalHost(tt.in)
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("got %q, %v; want %q", got, err, tt.want)
			}
		})
	}
}

func FuzzCanonicalHost(f *testing.F) {
	for _, s := range []string{"a:5000", "[::1]:5000", "[fe80::1%eth0]", "A.b", "::1", "a:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		host, err := canonicalHost(s)
		if err != nil {
			return
		}
		if again, err := canonicalHost(host); err != nil || again != host {
			t.Fatalf("%q is %q and then %q, %v", s, host, again, err)
		}
	})
}
