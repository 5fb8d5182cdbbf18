package docs

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

var (
	// root is the top of the module.
	root string
	// programs is a directory with the waybill under test, as PATH has it, and
	// the hello of the example's image.
	programs string
)

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if err := setUp(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(programs)
	return m.Run()
}

func setUp() (err error) {
	if root, err = filepath.Abs("../.."); err != nil {
		return err
	}
	// Tools of scripts/install-test-tools, and where Debian keeps servers.
	path := filepath.Join(root, "bin", "tools") + ":" + os.Getenv("PATH") + ":/usr/local/sbin:/usr/sbin:/sbin"
	if err := os.Setenv("PATH", path); err != nil {
		return err
	}
	if programs, err = os.MkdirTemp("", "waybill-docs-"); err != nil {
		return err
	}
	for _, p := range []string{"./cmd/waybill", "./test/docs/testdata/hello"} {
		args := []string{"build", "-o", filepath.Join(programs, filepath.Base(p))}
		if p == "./cmd/waybill" {
			args = append(args, "-ldflags", "-s -w") // as make build does; see TestBinarySize
		}
		build := exec.Command("go", append(args, p)...)
		build.Dir = root
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s: %w\n%s", p, err, out)
		}
	}
	return nil
}
