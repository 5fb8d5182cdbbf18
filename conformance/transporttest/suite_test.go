package transporttest_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/conformance/transporttest"
)

// flawVariable says which of flaws the process is to be tested with: a test
// that is to fail must do so in a process of its own.
const flawVariable = "TRANSPORTTEST_FLAW"

func TestReference(t *testing.T) {
	transporttest.Run(t, func(t *testing.T) transporttest.Harness {
		return startPlace(t).harness(newReference())
	})
}

// TestFlawsAreFound proves that the suite's tests can fail, each for the flaw
// it is there for.
func TestFlawsAreFound(t *testing.T) {
	for _, f := range flaws {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run=^TestFlawed$", "-test.v")
			cmd.Env = append(os.Environ(), flawVariable+"="+f.name)
			out, err := cmd.CombinedOutput()
			if err == nil {
				t.Fatalf("the suite passes:\n%s", out)
			}
			failed := "--- FAIL: " + strings.TrimSuffix("TestFlawed/"+f.group+"/"+f.test, "/")
			for _, want := range []string{failed, f.says} {
				if !strings.Contains(string(out), want) {
					t.Errorf("the suite doesn't say %q:\n%s", want, out)
				}
			}
		})
	}
}

// TestFlawed is what [TestFlawsAreFound] runs. By itself it tests the suite's
// least: that the reference passes a group with little patience.
func TestFlawed(t *testing.T) {
	name := os.Getenv(flawVariable)
	group, flaw := "Ranges", func(h *transporttest.Harness) {}
	for _, f := range flaws {
		if f.name == name {
			group, flaw = f.group, f.flaw
		}
	}
	transporttest.RunGroup(t, group, func(t *testing.T) transporttest.Harness {
		h := startPlace(t).harness(newReference())
		flaw(&h)
		return h
	})
}
