package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binary is the waybill under test; TestMain builds it.
var binary string

// root is the top of the module.
var root string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "waybill-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if root, err = filepath.Abs("../.."); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// The peers that scripts/install-test-tools builds, and where Debian keeps servers.
	path := filepath.Join(root, "bin", "tools") + ":" + os.Getenv("PATH") + ":/usr/local/sbin:/usr/sbin:/sbin"
	if err := os.Setenv("PATH", path); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	// Who has a program to be tested, a package of a distribution say, names it.
	if binary = os.Getenv("WAYBILL_BINARY"); binary != "" {
		return m.Run()
	}
	binary = filepath.Join(dir, "waybill")
	// With the race detector: a user's waybill is as concurrent as the packages' tests.
	build := exec.Command("go", "build", "-race", "-o", binary, "./cmd/waybill")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build waybill: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}
