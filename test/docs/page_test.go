package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// page is a Markdown file.
type page struct {
	name   string // from the top of the module
	blocks []block
	prose  string // what is outside of the blocks, line for line
}

// block is a fenced block.
type block struct {
	language string
	line     int // number of its first line, counting from 1
	text     string
}

// pages are the files whose examples are run.
func pages(t *testing.T) []*page {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	check(t, err)
	if len(names) == 0 {
		t.Fatal("no pages in docs")
	}
	all := []*page{readPage(t, "README.md"), readPage(t, "ARCHITECTURE.md")}
	for _, name := range names {
		all = append(all, readPage(t, "docs/"+filepath.Base(name)))
	}
	return all
}

func readPage(t *testing.T, name string) *page {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, name))
	check(t, err)
	p, err := parsePage(name, string(content))
	check(t, err)
	return p
}

// parsePage finds the fenced blocks of a page. Fences are three backticks and
// stand at the beginning of a line.
func parsePage(name, content string) (*page, error) {
	p := &page{name: name}
	var prose strings.Builder
	open := -1
	for i, line := range strings.Split(content, "\n") {
		switch language, fence := strings.CutPrefix(line, "```"); {
		case fence && open < 0:
			p.blocks = append(p.blocks, block{language: language, line: i + 2})
			open = i + 1
			prose.WriteString("\n")
		case fence:
			open = -1
			prose.WriteString("\n")
		case open >= 0:
			p.blocks[len(p.blocks)-1].text += line + "\n"
			prose.WriteString("\n")
		default:
			prose.WriteString(line + "\n")
		}
	}
	if open >= 0 {
		return nil, fmt.Errorf("%s:%d: the block has no end", name, open)
	}
	p.prose = prose.String()
	return p, nil
}

// fenced are the page's blocks in a language.
func (p *page) fenced(language string) []block {
	var found []block
	for _, b := range p.blocks {
		if b.language == language {
			found = append(found, b)
		}
	}
	return found
}

// TestEveryBlockSaysWhatItIs: a block in a language that isn't known here would
// be an example nobody tests.
func TestEveryBlockSaysWhatItIs(t *testing.T) {
	known := map[string]bool{"console": true, "text": true, "go": true, "toml": true, "nginx": true, "json": true,
		"python": true, "html": true} // the example of docs/transport-exec.md, which the tests of transport/exec run
	for _, p := range pages(t) {
		for _, b := range p.blocks {
			if !known[b.language] {
				t.Errorf("%s:%d: a block of %q; console is run, text is not", p.name, b.line-1, b.language)
			}
		}
	}
}

// TestNoPathsOfAMachine keeps out what only one machine has.
func TestNoPathsOfAMachine(t *testing.T) {
	odd := regexp.MustCompile(`/root/|/home/|/tmp/|127\.0\.0\.1:\d{4,5}`)
	for _, p := range pages(t) {
		for _, text := range append([]block{{line: 1, text: p.prose}}, p.blocks...) {
			for i, line := range strings.Split(text.text, "\n") {
				if found := odd.FindString(line); found != "" {
					t.Errorf("%s:%d: %s", p.name, text.line+i, found)
				}
			}
		}
	}
}
