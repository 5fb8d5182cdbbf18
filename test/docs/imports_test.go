package docs

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// heavy are the libraries that only the package which needs them may bring in.
var heavy = []string{
	"github.com/anacrolix/", "github.com/ipfs/", "github.com/libp2p/", "github.com/multiformats/",
	"github.com/aws/", "github.com/Azure/", "golang.org/x/oauth2", "cloud.google.com/",
	"golang.org/x/crypto/ssh",
}

// TestLightImports: who uses the engine with one transport links no other's
// libraries.
func TestLightImports(t *testing.T) {
	for _, packages := range [][]string{
		{"./fetch", "./transport/https"},
		{"./pull", "./locate", "./resolve", "./transport/registry", "./transport/layout"},
		{"./conformance/transporttest"},
	} {
		t.Run(strings.Join(packages, " "), func(t *testing.T) {
			deps := dependencies(t, packages...)
			if len(deps) < 50 {
				t.Fatalf("go list names %d dependencies only", len(deps))
			}
			for _, dep := range deps {
				for _, h := range heavy {
					if strings.HasPrefix(dep, h) {
						t.Errorf("%v bring in %s", packages, dep)
					}
				}
			}
		})
	}
}

// TestHeavyImports: each heavy library is somebody's, or the list above is out
// of date.
func TestHeavyImports(t *testing.T) {
	all := strings.Join(dependencies(t, "./cmd/waybill"), "\n")
	for _, h := range heavy {
		if !strings.Contains(all, h) {
			t.Errorf("the program doesn't use %s", h)
		}
	}
}

func dependencies(t *testing.T, packages ...string) []string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-deps"}, packages...)...)
	cmd.Dir = root
	out, err := cmd.Output()
	check(t, err)
	return strings.Fields(string(out))
}

// maxBinary is the largest the program may be, in bytes.
const maxBinary = 100e6

// TestBinarySize weighs the program as `make build` makes it: static and
// stripped.
func TestBinarySize(t *testing.T) {
	info, err := os.Stat(filepath.Join(programs, "waybill"))
	check(t, err)
	t.Logf("%.1f MB", float64(info.Size())/1e6)
	if info.Size() > maxBinary {
		t.Errorf("the program has %d bytes; it may have %d", info.Size(), int64(maxBinary))
	}
}
