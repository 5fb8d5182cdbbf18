package e2e

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/test/realserver"
)

// commands are those of this program that a user finds in its help.
var commands = []string{"pull", "resolve", "locate", "fetch", "bundle", "explain", "ls", "rm", "gc", "df", "config", "demo"}

// TestBadUsage ends with exit code 2, one clear line, and an empty stdout.
func TestBadUsage(t *testing.T) {
	tests := [][]string{
		{"nonsense"},
		{"--nonsense"},
		{"pull"},
		{"pull", "a", "b"},
		{"pull", "--nonsense", "oci:x"},
		{"pull", "--platform", "a/b/c/d/e", "oci:x"},
		{"pull", "--progress", "loud", "oci:x"},
		{"pull", "--from", "gopher://x/", "oci:x"},
		{"pull", "--from", "http://", "oci:x"},
		{"pull", "--from", "http://h/{algorithm", "oci:x"},
		{"pull", ""},
		{"pull", "UPPER/CASE:1"},
		{"pull", "host/app@sha256:123"},
		{"pull", "host/app@md5:d41d8cd98f00b204e9800998ecf8427e"},
		{"pull", "host/../app:1"},
		{"pull", "oci:"},
		{"fetch"},
		{"fetch", "sha256:123"},
		{"fetch", "sha256:" + strings.Repeat("../", 21) + "x"},
		{"fetch", "sha256:" + strings.Repeat("A", 64)},
		{"fetch", "sha256:" + strings.Repeat("0", 64), "--size", "-5"},
		{"fetch", "sha256:" + strings.Repeat("0", 64), "--size", "many"},
		{"bundle", "oci:x"},
		{"rm"},
		{"ls", "extra"},
		{"gc", "extra"},
		{"df", "extra"},
	}
	for _, args := range tests {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			o := newUser(t).exec(args...).exits(2)
			if o.stdout != "" {
				t.Errorf("%s\nstdout must be empty", o)
			}
			if lines := strings.Split(strings.TrimSpace(o.stderr), "\n"); len(lines) > 3 || lines[0] == "" {
				t.Errorf("%s\nwant a line that says what is wrong, not the manual", o)
			}
		})
	}
}

// TestHelp shows examples for every command, on stdout, and succeeds.
func TestHelp(t *testing.T) {
	u := newUser(t)
	overview := u.exec("--help").exits(0).stdout
	for _, command := range commands {
		if !strings.Contains(overview, "\n  "+command+" ") {
			t.Errorf("--help doesn't list %s:\n%s", command, overview)
		}
		help := u.exec(command, "--help").exits(0).stdout
		if !strings.Contains(help, "Examples:") || !strings.Contains(help, "waybill "+command) {
			t.Errorf("%s --help has no example:\n%s", command, help)
		}
	}
	if o := u.exec("--version").exits(0); !strings.Contains(o.stdout, "waybill") {
		t.Errorf("%s\nwant the version", o)
	}
}

// TestCompletion makes a script that bash accepts.
func TestCompletion(t *testing.T) {
	script := newUser(t).exec("completion", "bash").exits(0).stdout
	cmd := exec.CommandContext(t.Context(), "bash", "-n")
	cmd.Stdin = strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(script, "waybill") {
		t.Errorf("bash: %v: %s", err, out)
	}
}

// TestConfig shows each setting with the place it comes from.
func TestConfig(t *testing.T) {
	u := newUser(t)
	u.file(".docker/config.json", `{"auths":{"registry.example":{"auth":"`+basic("ann", "hidden-password")+`"}}}`)
	o := u.exec("config").exits(0).never("hidden-password", basic("ann", "hidden-password"))
	if strings.TrimSpace(o.stdout) == "" {
		t.Errorf("%s\nwant the configuration", o)
	}
	var doc any
	u.exec("config", "--json").exits(0).never("hidden-password", basic("ann", "hidden-password")).decode(&doc)

	bad := u.file("bad.toml", "this is = = not toml\n")
	u.exec("config", "--config", bad).exits(2).says(bad)
	u.exec("config", "--config", u.home+"/missing.toml").exits(2).says("missing.toml")
}

// TestProgress keeps stdout clean whatever is shown on stderr.
func TestProgress(t *testing.T) {
	i := smallImage(t)
	registry := startRegistry(t, realserver.RegistryOptions{})
	i.push(t, registry.Host+"/app:1")
	for _, mode := range []string{"auto", "bar", "plain", "json", "none"} {
		t.Run(mode, func(t *testing.T) {
			o := newUser(t).run("pull", "--progress", mode, registry.Host+"/app:1").exits(0)
			if o.stdout != i.desc.Digest.String()+"\n" {
				t.Errorf("%s\nstdout must be the digest alone", o)
			}
			switch mode {
			case "json":
				for line := range strings.Lines(o.stderr) {
					var event map[string]any
					if err := json.Unmarshal([]byte(line), &event); err != nil {
						t.Errorf("stderr line %q is not JSON: %v", line, err)
					}
				}
				if o.stderr == "" {
					t.Errorf("%s\nwant an event stream", o)
				}
			case "none":
				if o.stderr != "" {
					t.Errorf("%s\nwant no progress", o)
				}
			case "auto", "plain":
				if strings.Contains(o.stderr, "\x1b[") || strings.Contains(o.stderr, "\r") {
					t.Errorf("%s\nterminal codes where there is no terminal", o)
				}
			}
		})
	}
	t.Run("quiet", func(t *testing.T) {
		o := newUser(t).run("pull", "-q", registry.Host+"/app:1").exits(0)
		if o.stderr != "" || o.stdout != i.desc.Digest.String()+"\n" {
			t.Errorf("%s\n-q shows the digest and nothing else", o)
		}
	})
}

// TestBars shows bars on a terminal, which script(1) makes.
func TestBars(t *testing.T) {
	i := randomImage(t, 8<<20)
	s := startSources(t, i, 4<<20)
	u := newUser(t)
	cmd := exec.CommandContext(t.Context(), "script", "-qec",
		strings.Join(append([]string{binary, "pull", "--store", u.store, i.withoutLayers(t).name()}, s.from()...), " "), "/dev/null")
	cmd.Env = append(u.env, "TERM=xterm")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, text := range []string{"\x1b[", "/s", s[0].Host()} {
		if !strings.Contains(string(out), text) {
			t.Errorf("the bars don't show %q:\n%q", text, out)
		}
	}
}

// TestDemo runs the demonstration, which must leave nothing behind.
func TestDemo(t *testing.T) {
	o := newUser(t).exec("demo").exits(0)
	for _, text := range []string{"registry", "quarantined"} {
		if !strings.Contains(o.stdout, text) {
			t.Errorf("%s\nthe demo doesn't show %q", o, text)
		}
	}
}
