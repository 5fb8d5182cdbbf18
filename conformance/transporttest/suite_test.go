package transporttest_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/transport"
)

// flawVariable says which of flaws the process is to be tested with: a test
// that is to fail must do so in a process of its own.
const flawVariable = "TRANSPORTTEST_FLAW"

// TestReference shows that the suite can be passed, also by transports that
// can less and at places that have less.
func TestReference(t *testing.T) {
	for name, change := range map[string]func(h *transporttest.Harness){
		"everything": func(*transporttest.Harness) {},
		"only Open": func(h *transporttest.Harness) {
			h.Transport = transport.Func(h.Transport.Open)
			h.Stop, h.Start, h.Pause, h.Resume = nil, nil, nil, nil
		},
		"checked": checks(func(uri string) error {
			if !strings.HasPrefix(uri, "http://") {
				return transport.Errorf(transport.ErrPermanent, uri, "not http")
			}
			return nil
		}),
		"small blobs": func(h *transporttest.Harness) { h.MaxSize = 1 << 20 },
		"whole blobs": func(h *transporttest.Harness) {
			opens(wholeOnly)(h)
			h.WholeOnly = true
		},
	} {
		t.Run(name, func(t *testing.T) {
			transporttest.Run(t, func(t *testing.T) transporttest.Harness {
				h := startPlace(t).harness(newReference())
				change(&h)
				return h
			})
		})
	}
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
	group, patience, flaw := "Ranges", 10*time.Second, func(h *transporttest.Harness) {}
	for _, f := range flaws {
		if f.name != name {
			continue
		}
		group, flaw = f.group, f.flaw
		if strings.Contains(f.says, "hangs") {
			patience = 3 * time.Second // that is what it takes to fail
		}
	}
	transporttest.RunGroup(t, group, patience, func(t *testing.T) transporttest.Harness {
		h := startPlace(t).harness(newReference())
		flaw(&h)
		return h
	})
}
