package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestLastLinesAreExplained: what the program may say to do stands in
// docs/troubleshooting.md, word for word.
func TestLastLinesAreExplained(t *testing.T) {
	prose := readPage(t, "docs/troubleshooting.md").prose
	hints := lastLines(t)
	if len(hints) < 10 {
		t.Fatalf("found only %d last lines in the program: %q", len(hints), hints)
	}
	for _, hint := range hints {
		if !strings.Contains(prose, "`"+hint+"`") {
			t.Errorf("docs/troubleshooting.md doesn't have the last line `%s`", hint)
		}
	}
}

// lastLines are the texts that cmd/waybill gives to Hint or to a
// notFoundError's hint. What differs from use to use is an ellipsis.
func lastLines(t *testing.T) []string {
	t.Helper()
	seen := map[string]bool{}
	var all []string
	add := func(e ast.Expr) {
		if call, ok := e.(*ast.CallExpr); ok && len(call.Args) > 0 { // fmt.Sprintf
			e = call.Args[0]
		}
		literal, ok := e.(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return
		}
		text, err := strconv.Unquote(literal.Value)
		check(t, err)
		text = strings.NewReplacer("%q", `"…"`, `"waybill --help"`, `"…"`).Replace(text)
		if !seen[text] {
			seen[text] = true
			all = append(all, text)
		}
	}
	for _, file := range parseDir(t, "cmd/waybill") {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				for i, left := range n.Lhs {
					if s, ok := left.(*ast.SelectorExpr); ok && s.Sel.Name == "Hint" && len(n.Rhs) == len(n.Lhs) {
						add(n.Rhs[i])
					}
				}
			case *ast.CompositeLit:
				if name, ok := n.Type.(*ast.Ident); ok && name.Name == "notFoundError" && len(n.Elts) == 2 {
					add(n.Elts[1])
				}
			}
			return true
		})
	}
	return all
}

// TestWordsAreExplained: the words of events and states that the program shows
// stand in docs/explaining.md.
func TestWordsAreExplained(t *testing.T) {
	prose := readPage(t, "docs/explaining.md").prose
	for _, from := range []struct {
		dir   string
		types string
	}{
		{"fetch", "EventType Status"},
		{"pull", "EventType"},
		{"progress", "BlobState SourceStatus Mode"},
	} {
		words := constants(t, from.dir, strings.Fields(from.types))
		if len(words) == 0 {
			t.Errorf("package %s has no constants of %s", from.dir, from.types)
		}
		for _, word := range words {
			if !strings.Contains(prose, "`"+word+"`") {
				t.Errorf("docs/explaining.md doesn't have `%s` of package %s", word, from.dir)
			}
		}
	}
}

// constants are the values of a package's string constants of those types.
func constants(t *testing.T, dir string, types []string) []string {
	t.Helper()
	var all []string
	for _, file := range parseDir(t, dir) {
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || len(spec.Values) != 1 {
				return true
			}
			name := ""
			switch typ := spec.Type.(type) {
			case *ast.Ident:
				name = typ.Name
			case *ast.SelectorExpr:
				name = typ.Sel.Name
			}
			literal, ok := spec.Values[0].(*ast.BasicLit)
			for _, want := range types {
				if ok && want == name {
					text, err := strconv.Unquote(literal.Value)
					check(t, err)
					all = append(all, text)
				}
			}
			return true
		})
	}
	return all
}

// parseDir parses a package's files but for its tests.
func parseDir(t *testing.T, dir string) []*ast.File {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	check(t, err)
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		check(t, err)
		file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.SkipObjectResolution)
		check(t, err)
		files = append(files, file)
	}
	return files
}
