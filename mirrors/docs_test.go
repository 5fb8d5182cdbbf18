package mirrors_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// fence is a block of a page: its language, and what is in it.
var fence = regexp.MustCompile("(?ms)^```([a-z]+)\n(.*?)^```")

// TestThePage holds docs/mirrors.md against what its files lead to.
func TestThePage(t *testing.T) {
	page, err := os.ReadFile("../docs/mirrors.md")
	if err != nil {
		t.Fatal(err)
	}
	m := newMachine(t, nil)
	var want []string
	for _, block := range fence.FindAllStringSubmatch(string(page), -1) {
		switch text := block[2]; block[1] {
		case "toml":
			name, _, _ := strings.Cut(strings.TrimPrefix(text, "# /"), "\n")
			m.write(t, name, text)
		case "json":
			m.write(t, daemonJSON, text)
		case "text":
			want = strings.Split(strings.TrimSpace(text), "\n")
		}
	}
	p, err := m.load(t).For("docker.io", "library/alpine")
	if err != nil {
		t.Fatal(err)
	}
	var got, silent []string
	for _, e := range p.Endpoints {
		got = append(got, e.URI())
		if !e.AnswersTags() {
			silent = append(silent, e.URI())
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("the files lead to\n\t%s\nand the page says\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	if len(want) < 3 || !slices.Equal(silent, want[:2]) {
		t.Errorf("%q don't answer for tags, the page says the first two", silent)
	}
	if len(m.notes) > 0 {
		t.Errorf("notes %v", m.notes)
	}
}
