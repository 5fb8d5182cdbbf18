package docs

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// TestLinks follows every link from one of the repository's pages to a file of
// it, and to the heading behind a "#".
func TestLinks(t *testing.T) {
	for _, p := range allPages(t) {
		for i, line := range strings.Split(p.prose, "\n") {
			for _, target := range linkTargets(line) {
				if problem := follow(t, p.name, target); problem != "" {
					t.Errorf("%s:%d: %s: %s", p.name, i+1, target, problem)
				}
			}
		}
	}
}

// allPages are the pages and the other Markdown files at the top.
func allPages(t *testing.T) []*page {
	t.Helper()
	all := pages(t)
	names, err := filepath.Glob(filepath.Join(root, "*.md"))
	check(t, err)
	for _, name := range names {
		if base := filepath.Base(name); base != "README.md" && base != "ARCHITECTURE.md" {
			all = append(all, readPage(t, base))
		}
	}
	return all
}

var (
	inlineLink = regexp.MustCompile(`\]\(([^()\s]+)\)`)
	codeSpan   = regexp.MustCompile("`[^`]*`")
)

// linkTargets are the targets of a line's links within the repository.
func linkTargets(line string) []string {
	var targets []string
	for _, m := range inlineLink.FindAllStringSubmatch(codeSpan.ReplaceAllString(line, "`"), -1) {
		if !strings.Contains(m[1], "://") {
			targets = append(targets, m[1])
		}
	}
	return targets
}

// follow returns what is wrong with a link, or "".
func follow(t *testing.T, from, target string) string {
	t.Helper()
	file, anchor, hasAnchor := strings.Cut(target, "#")
	path := filepath.Join(filepath.Dir(from), file)
	if file == "" {
		path = from
	}
	if _, err := os.Stat(filepath.Join(root, path)); err != nil {
		return "no such file"
	}
	if !hasAnchor {
		return ""
	}
	for line := range strings.Lines(readPage(t, path).prose) {
		if title := strings.TrimLeft(line, "#"); title != line && anchorOf(title) == anchor {
			return ""
		}
	}
	return "no such heading"
}

// anchorOf is the anchor that GitHub gives a heading.
func anchorOf(title string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(strings.TrimSpace(title)) {
		switch {
		case r == ' ':
			b.WriteByte('-')
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			b.WriteRune(r)
		}
	}
	return b.String()
}

// TestFollow makes sure that a broken link is found.
func TestFollow(t *testing.T) {
	for target, ok := range map[string]bool{
		"store.md": true, "store.md#on-disk": true, "../store/doc.go": true, "#keys": true,
		"stores.md": false, "store.md#on-tape": false, "#key": false,
	} {
		if problem := follow(t, "docs/configuration.md", target); (problem == "") != ok {
			t.Errorf("%s: %q", target, problem)
		}
	}
	if got := linkTargets("see [a](b.md), [c](https://d.example/) and `[e](f)`"); len(got) != 1 || got[0] != "b.md" {
		t.Errorf("links found: %q", got)
	}
}
