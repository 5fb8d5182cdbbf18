package config

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestLoadBadText(t *testing.T) {
	tests := []struct {
		name, text string
		line       int
		want       string
	}{
		{"misspelt", "[fetch]\nparalel = 4", 2, "fetch.paralel: no such key; did you mean parallel?"},
		{"underscore", "[fetch]\nmax_connections = 4", 2, "fetch.max_connections: no such key; did you mean max-connections?"},
		{"upper case", "Store = '/x'", 1, "Store: no such key; did you mean store?"},
		{"without its section", "\nparallel = 4", 2, "parallel: no such key; did you mean fetch.parallel?"},
		{"in another section", "[ingest]\nstall = '1s'", 2, "ingest.stall: no such key; did you mean fetch.stall?"},
		{"misspelt section", "[fetsh]\nparallel = 4", 1, "fetsh: no such key; did you mean [fetch]?"},
		{"misspelt section, dotted", "fetsh.parallel = 4", 1, "fetsh.parallel: no such key; did you mean fetch.parallel?"},
		{"misspelt host section", "[hosts.'a']", 1, "hosts.a: no such key; did you mean [host.\"HOST:PORT\"]?"},
		{"nothing like it", "[bundle]\nfrobnicate = 1", 2, "bundle.frobnicate: no such key; in [bundle] there are max-size"},
		{"nothing like it at the top", "frobnicate = 1", 1,
			`frobnicate: no such key; at the top there are store, platform, progress, [fetch], [ingest], [bundle], [resolve], [locate], [network], [registry], [ipfs], [bittorrent], [host."HOST:PORT"], [name."PATTERN"]`},
		{"dot in quotes", "\"fetch.parallel\" = 4", 1, `"fetch.parallel": no such key`},
		{"below a key", "[fetch.parallel]\nx = 1", 1, "fetch.parallel: a table is not a whole number from 1 to 64"},
		{"a key of a host", "[host.a]\nplain_http = true", 2, "host.a.plain_http: no such key; did you mean plain-http?"},
		{"a top key as a host's", "[host.a]\nfrobnicate = true", 2, "host.a.frobnicate: no such key; in [host.a] there are plain-http, insecure, trusted"},
		{"unprintable key", "\"a\\nb\\u0007\" = 1", 1, "no such key"},

		{"string for a number", "fetch.parallel = 'many'", 1, `fetch.parallel: "many" is not a whole number from 1 to 64`},
		{"quoted number", "fetch.parallel = '4'", 1, `fetch.parallel: "4" is not a whole number`},
		{"fraction", "fetch.parallel = 1.5", 1, "fetch.parallel: 1.5 is not a whole number"},
		{"zero", "fetch.parallel = 0", 1, "fetch.parallel: 0 is not a whole number"},
		{"negative", "fetch.max-connections = -1", 1, "fetch.max-connections: -1 is not a whole number"},
		{"too many", "fetch.parallel = 65", 1, "fetch.parallel: 65 is not a whole number"},
		{"number for a duration", "fetch.stall = 20", 1, `fetch.stall: 20 is not a duration above zero, such as "500ms"`},
		{"bad duration", "fetch.stall = '20 seconds'", 1, `fetch.stall: "20 seconds" is not a duration`},
		{"negative duration", "ingest.max-age = '-1d'", 1, `ingest.max-age: "-1d" is not a duration`},
		{"negative size", "ingest.quota = -1", 1, "ingest.quota: -1 is not a number of bytes above zero"},
		{"unknown unit", "ingest.quota = '32 parsecs'", 1, `ingest.quota: "32 parsecs" is not a number of bytes`},
		{"boolean for a size", "bundle.max-size = true", 1, "bundle.max-size: true is not a number of bytes"},
		{"unknown word", "progress = 'bars'", 1, `progress: "bars" is not one of auto, bar, plain, json, none`},
		{"platform", "platform = 'linux/arm/v7/x'", 1, `platform: "linux/arm/v7/x" is not all, OS/ARCH[/VARIANT]`},
		{"relative store", "store = 'images'", 1, `store: "images" is not an absolute path, which may begin with ~/`},
		{"empty store", "store = ''", 1, `store: "" is not an absolute path`},
		{"table for a path", "[store]", 1, "store: a table is not an absolute path"},
		{"path of two lines", `store = "/a\nb"`, 1, `store: "/a\nb" is not an absolute path`},
		{"string for a list", "registry.certs = '/a'", 1, `registry.certs: "/a" is not a list of absolute paths`},
		{"number in a list", "registry.certs = ['/a', 1]", 1, "registry.certs: a list with 1 is not a list of absolute paths"},
		{"relative path in a list", "registry.certs = ['/a', 'b']", 1, `registry.certs: ["/a" "b"] is not a list`},
		{"server with a path", "locate.named-information-hosts = ['https://h.example/x']", 1, `["https://h.example/x"] is not a list of web servers, https://HOST[:PORT]`},
		{"server without a scheme", "locate.named-information-hosts = ['h.example']", 1, "locate.named-information-hosts:"},
		{"gateway that is no URL", "ipfs.gateways = ['gw.example']", 1, `ipfs.gateways: ["gw.example"] is not a list of URLs that begin with https:// or http://`},
		{"gateway with a password", "ipfs.gateways = ['https://u:p@h']", 1, "ipfs.gateways:"},
		{"number in a list of URLs", "ipfs.routers = [1]", 1, "ipfs.routers: a list with 1 is not a list of URLs"},
		{"port too large", "bittorrent.port = 65536", 1, "bittorrent.port: 65536 is not a port"},
		{"network without its end", "network.trusted = ['10.0.0.1/8']", 1, `network.trusted: ["10.0.0.1/8"] is not a list of networks`},
		{"network that is mapped", "network.trusted = ['::ffff:10.0.0.0/104']", 1, "is not a list of networks"},
		{"a host for a network", "network.trusted = ['storage.internal']", 1, "is not a list of networks"},
		{"a network with a zone", "network.trusted = ['fe80::1%eth0']", 1, "is not a list of networks"},
		{"text for networks", "network.trusted = '10.0.0.0/8'", 1, "is not a list of networks"},
		{"node without a port", "bittorrent.dht-nodes = ['h']", 1, `bittorrent.dht-nodes: ["h"] is not a list of HOST:PORT`},
		{"address with a port", "bittorrent.listen = '127.0.0.1:1'", 1, `bittorrent.listen: "127.0.0.1:1" is not an IP address`},
		{"rate of nothing", "bittorrent.max-upload = 0", 1, `bittorrent.max-upload: 0 is not a number of bytes a second`},
		{"word for a boolean", "bittorrent.dht = 'on'", 1, `bittorrent.dht: "on" is not true or false`},
		{"string for a boolean", "host.a.insecure = 'yes'", 1, `host.a.insecure: "yes" is not true or false`},
		{"value for a section", "\nfetch = 3", 2, "fetch: 3 is not a table; write [fetch] on a line of its own"},
		{"list of tables", "[[fetch]]\nparallel = 1", 1, "fetch: a list of tables is not a table; write [fetch]"},
		{"value for a host", "host.a = 3", 1, "host.a: 3 is not a table; write [host.a]"},
		{"value for hosts", "host = 3", 1, "host: 3 is not a table; write [host]"},

		{"URL as host", "[host.'https://a']", 1, "host.\"https://a\": a URL, not a host; write HOST or HOST:PORT"},
		{"host with path", "[host.'a/b']", 1, "a host has no path"},
		{"host with bad port", "[host.'a:70000']", 1, "port is not a number from 1 to 65535"},
		{"host with no name", "[host.':5000']", 1, "no host;"},
		{"unquoted host with dots", "[host.registry.example]\ninsecure = true", 1,
			`host.registry.example: a host's name is one part of a key; if registry.example is meant, write [host."registry.example"]`},
		{"dotted host", "[host.a]\nhost.b.trusted = true", 2, `host.a.host.b.trusted: not a key of a host; write [host."HOST:PORT"]`},

		{"duplicate key", "store = '/a'\n\nstore = '/b'", 3, "Key 'store' has already been defined"},
		{"duplicate section", "[fetch]\n[ingest]\n[fetch]", 3, "Key 'fetch' has already been defined"},
		{"same host twice", "[host.A]\ninsecure = true\n[host.a]\ninsecure = false", 4, "host.a.insecure: set twice, first on line 2"},
		{"long duplicate", strings.Repeat(strings.Repeat("a", 10_000)+" = 1\n", 2), 2, "Key 'aaaa"},
		{"long host", "[host." + strings.Repeat("a", 10_000) + ".b]", 1, "a host's name is one part"},
		{"not TOML", "\nstore: /a", 2, "not valid TOML: "},
		{"no end of string", "a = \"x\n\n", 1, "not valid TOML: strings cannot contain newlines"},
		{"not UTF-8", "\n\nstore = '\xff'", 3, "not UTF-8"},
		{"UTF-16", "\xff\xfes\x00", 1, "not UTF-8"},
		{"NUL", "a\x00=1", 1, "NULL"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t)
			file := m.write(t, userFile, tt.text)
			_, err := Load(m.options())
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v", err)
			}
			checkLine(t, err, fmt.Sprintf("%s:%d: ", file, tt.line), tt.want)
		})
	}
}

// checkLine reports an error that isn't one short printable line with a prefix
// and a part.
func checkLine(t *testing.T, err error, prefix, part string) {
	t.Helper()
	line := err.Error()
	if !strings.HasPrefix(line, prefix) || !strings.Contains(line, part) {
		t.Errorf("got  %s\nwant %s…%s", line, prefix, part)
	}
	if oneLine(line) != line || len(line) > 1000 {
		t.Errorf("not one short line: %q", line)
	}
}

func TestHomeUnknown(t *testing.T) {
	file := newMachine(t).write(t, "config.toml", "store = '~/images'")
	_, err := Load(LoadOptions{File: file, Env: func(string) string { return "" }})
	if err == nil {
		t.Fatal("no error")
	}
	checkLine(t, err, file+":1: store: ", "(there is no home directory for ~/)")
}

func TestDefaultFiles(t *testing.T) {
	var got []string
	for _, f := range locate(LoadOptions{}, func(string) string { return "" }, "/home/a") {
		got = append(got, f.path)
	}
	if want := []string{"/etc/waybill/config.toml", "/home/a/.config/waybill/config.toml"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLoadBadFiles(t *testing.T) {
	tests := []struct {
		name    string
		prepare func(t *testing.T, m *machine, opts *LoadOptions)
		prefix  string // DIR is the machine's directory
		part    string
	}{
		{"--config does not exist", func(t *testing.T, m *machine, opts *LoadOptions) {
			opts.File = m.path("none")
		}, "--config: DIR/none: ", "no such file"},
		{"WAYBILL_CONFIG does not exist", func(t *testing.T, m *machine, opts *LoadOptions) {
			m.env["WAYBILL_CONFIG"] = m.path("none")
		}, "WAYBILL_CONFIG: DIR/none: ", "no such file"},
		{"a directory", func(t *testing.T, m *machine, opts *LoadOptions) {
			m.write(t, userFile+"/x", "")
		}, "DIR/" + userFile + ": ", "is a directory"},
		{"below a file", func(t *testing.T, m *machine, opts *LoadOptions) {
			m.write(t, "home/.config/waybill", "")
		}, "DIR/" + userFile + ": ", "not a directory"},
		{"too large", func(t *testing.T, m *machine, opts *LoadOptions) {
			m.write(t, userFile, strings.Repeat("#", maxFile+1))
		}, "DIR/" + userFile + ": ", "larger than 1048576 bytes"},
		{"endless", func(t *testing.T, m *machine, opts *LoadOptions) {
			opts.File = "/dev/zero"
		}, "--config: /dev/zero: ", "larger than 1048576 bytes"},
		{"WAYBILL_STORE of two lines", func(t *testing.T, m *machine, opts *LoadOptions) {
			m.env["WAYBILL_STORE"] = "/a\nb"
		}, "WAYBILL_STORE: store: ", "not an absolute path"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine(t)
			opts := m.options()
			tt.prepare(t, m, &opts)
			_, err := Load(opts)
			if err == nil {
				t.Fatal("no error")
			}
			checkLine(t, err, strings.ReplaceAll(tt.prefix, "DIR", m.dir), tt.part)
		})
	}
}

func TestLoadLargest(t *testing.T) {
	m := newMachine(t)
	text := "store = '/a'\n#"
	m.write(t, userFile, text+strings.Repeat("x", maxFile-len(text)))
	if c := m.load(t); c.Store != "/a" {
		t.Errorf("got %q", c.Store)
	}
}
