package docs

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// tablePackage is the first column of ARCHITECTURE.md's table of packages.
var tablePackage = regexp.MustCompile("(?m)^\\| `([a-z0-9/]+)` \\|")

// notInTable are packages that are no part of the program.
var notInTable = regexp.MustCompile(`^(bench|test/.*|internal/faultserver/faultserverd|transport/local/localtest)$`)

// TestPackageTable: every package is in the table, and imports only packages
// below it.
func TestPackageTable(t *testing.T) {
	place := map[string]int{}
	for i, m := range tablePackage.FindAllStringSubmatch(readPage(t, "ARCHITECTURE.md").prose, -1) {
		place[m[1]] = i + 1
	}
	imports := packageImports(t)
	for name := range place {
		if _, ok := imports[name]; !ok {
			t.Errorf("ARCHITECTURE.md lists %s, which isn't a package", name)
		}
	}
	for name, uses := range imports {
		if notInTable.MatchString(name) {
			continue
		}
		if place[name] == 0 {
			t.Errorf("ARCHITECTURE.md doesn't list package %s", name)
			continue
		}
		for _, used := range uses {
			if place[used] <= place[name] {
				t.Errorf("%s imports %s, which isn't below it in ARCHITECTURE.md", name, used)
			}
		}
	}
}

// packageImports are the module's packages and those of the module they import,
// by their directories.
func packageImports(t *testing.T) map[string][]string {
	t.Helper()
	const module = "github.com/waybill-project/waybill/"
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	check(t, err)
	all := map[string][]string{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		check(t, err)
		uses := []string{}
		for _, i := range p.Imports {
			if used, ok := strings.CutPrefix(i, module); ok {
				uses = append(uses, used)
			}
		}
		all[strings.TrimPrefix(p.ImportPath, module)] = uses
	}
}
