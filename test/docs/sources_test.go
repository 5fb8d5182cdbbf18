package docs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/locate"
	"github.com/waybill-project/waybill/name"
)

var update = os.Getenv("UPDATE_DOCS") != ""

const sourcesBegin, sourcesEnd = "<!-- sources: made by UPDATE_DOCS=1 go test ./test/docs -run SourcesTable -->\n", "<!-- /sources -->"

// TestSourcesTable: the README's table is the one the program is made with.
func TestSourcesTable(t *testing.T) {
	var want strings.Builder
	want.WriteString("| URI | source | name |\n|---|---|---|\n")
	for k := range locate.Kinds() {
		forms := make([]string, len(k.Forms))
		for i, f := range k.Forms {
			forms[i] = "`" + f + "`"
		}
		mark := ""
		if k.Name {
			mark = "yes"
		}
		want.WriteString("| " + strings.Join(forms, ", ") + " | [" + k.What + "](docs/" + k.Page + ") | " + mark + " |\n")
	}
	file := filepath.Join(root, "README.md")
	text, err := os.ReadFile(file)
	check(t, err)
	before, rest, ok := strings.Cut(string(text), sourcesBegin)
	have, after, ended := strings.Cut(rest, sourcesEnd)
	if !ok || !ended {
		t.Fatalf("README.md has no table between %q and %q", sourcesBegin, sourcesEnd)
	}
	if have == want.String() {
		return
	}
	if !update {
		t.Fatalf("README.md's table of sources isn't that of package locate; make it anew:\nUPDATE_DOCS=1 go test ./test/docs -run SourcesTable")
	}
	check(t, os.WriteFile(file, []byte(before+sourcesBegin+want.String()+sourcesEnd+after), 0o644))
}

// TestSourcesThatAreNames: what the table calls a name can be one, and nothing
// else can.
func TestSourcesThatAreNames(t *testing.T) {
	for k := range locate.Kinds() {
		for _, scheme := range k.Schemes {
			uri := scheme + ":x"
			switch {
			case strings.Contains(k.Forms[0], "://"):
				uri = scheme + "://host/x"
			case strings.Contains(k.Forms[0], ":?"):
				uri = scheme + ":?x"
			}
			if _, err := name.Parse(uri); (err == nil) != k.Name {
				t.Errorf("the table says name=%v of %s, and name.Parse says %v", k.Name, uri, err)
			}
		}
	}
}
