package transporttest

import (
	"slices"
	"testing"
	"time"
)

// RunGroup runs one group of tests. What isn't done after patience, or after
// half of it where it should be prompt, is said to hang.
func RunGroup(t *testing.T, name string, patience time.Duration, newHarness func(t *testing.T) Harness) {
	i := slices.IndexFunc(groups, func(g group) bool { return g.name == name })
	if i < 0 {
		t.Fatalf("no group %q", name)
	}
	run(t, groups[i:i+1], limits{prompt: patience / 2, patience: patience}, newHarness)
}
