package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/config"
)

// keyRow is a row of the table of keys: the key, and its default where that is
// a value.
var keyRow = regexp.MustCompile("^\\| `([a-z-]+(?:\\.[a-z-]+)?|host\\.\"HOST\"\\.[a-z-]+|name\\.\"PATTERN\"\\.[a-z-]+)` \\| (?:`([^`]*)` \\|)?")

// TestConfigurationKeys: the page's table has every key there is, no other, and
// their defaults; and its example sets every one of them.
func TestConfigurationKeys(t *testing.T) {
	p := readPage(t, "docs/configuration.md")
	listed := map[string]string{}
	_, table, found := strings.Cut(p.prose, "\n## Keys\n")
	if !found {
		t.Fatal("docs/configuration.md has no section Keys")
	}
	table, _, _ = strings.Cut(table, "\n## ")
	for line := range strings.Lines(table) {
		if m := keyRow.FindStringSubmatch(line); m != nil {
			listed[m[1]] = m[2]
		}
	}

	home := t.TempDir()
	none := config.LoadOptions{Env: func(string) string { return "" }, Home: home, SystemFile: filepath.Join(home, "none")}
	c, err := config.Load(none)
	check(t, err)
	defaults := valuesOf(c)
	for key, value := range defaults {
		stated, ok := listed[key]
		switch stated = strings.Replace(stated, "~", home, 1); {
		case !ok:
			t.Errorf("docs/configuration.md doesn't list %s", key)
		case stated != "" && stated != value:
			t.Errorf("docs/configuration.md: the default of %s is %q, not %q", key, value, stated)
		}
	}

	examples := p.fenced("toml")
	if len(examples) != 1 {
		t.Fatalf("docs/configuration.md has %d toml blocks, want one", len(examples))
	}
	file := filepath.Join(home, "example.toml")
	check(t, os.WriteFile(file, []byte(examples[0].text), 0o600))
	c, err = config.Load(config.LoadOptions{Env: none.Env, Home: home, File: file})
	if err != nil {
		t.Fatalf("the example of docs/configuration.md: %v", err)
	}
	set := map[string]bool{}
	for key := range valuesOf(c) {
		if strings.HasPrefix(c.From(key), file+":") {
			key = hostName.ReplaceAllString(key, `host."HOST".`)
			set[patternName.ReplaceAllString(key, `name."PATTERN".`)] = true
		}
	}
	for key := range listed {
		if !set[key] {
			t.Errorf("docs/configuration.md: the example doesn't set %s, or there is no such key", key)
		}
	}
	for key := range set {
		if _, ok := listed[key]; !ok {
			t.Errorf("docs/configuration.md doesn't list %s", key)
		}
	}
	wantHostKeys(t, c, set)
}

// hostName is the part of a key that names a host.
var hostName = regexp.MustCompile(`^host\.(?:"[^"]*"|[^".]*)\.`)

// patternName is the part of a key that names a pattern of names.
var patternName = regexp.MustCompile(`^name\.(?:"[^"]*"|[^".]*)\.`)

// wantHostKeys holds the page against the keys that the error about an unknown
// one lists.
func wantHostKeys(t *testing.T, c *config.Config, listed map[string]bool) {
	t.Helper()
	err := c.Override(`host."a.example".nothing-like-a-key`, "true", "the test")
	if err == nil {
		t.Fatal("a host's key that can't be is accepted")
	}
	_, known, ok := strings.Cut(err.Error(), "there are ")
	if !ok {
		t.Fatalf("the error doesn't list the keys of hosts: %v", err)
	}
	for _, key := range strings.Split(known, ", ") {
		if !listed[`host."HOST".`+key] {
			t.Errorf("docs/configuration.md doesn't list %s of a host", key)
		}
	}
}

// valuesOf are the keys that can be set and their values.
func valuesOf(c *config.Config) map[string]string {
	values := map[string]string{}
	shown := []string{"config-file.", "credential-file.", "certs-dir.", "abd-dir.", "proxy."}
	for v := range c.Values() {
		if !slices.ContainsFunc(shown, func(prefix string) bool { return strings.HasPrefix(v.Key, prefix) }) {
			values[v.Key] = v.Value
		}
	}
	return values
}
