package transporttest

import (
	"slices"
	"testing"
	"time"
)

// RunGroup runs one group of tests, with little patience for what hangs.
func RunGroup(t *testing.T, name string, newHarness func(t *testing.T) Harness) {
	i := slices.IndexFunc(groups, func(g group) bool { return g.name == name })
	if i < 0 {
		t.Fatalf("no group %q", name)
	}
	run(t, groups[i:i+1], limits{prompt: 2 * time.Second, patience: 5 * time.Second}, newHarness)
}
