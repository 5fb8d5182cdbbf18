package fetch

import (
	"fmt"
	"testing"
	"time"
)

// watchInvariants looks at every transfer of the engines again and again, until
// stopped, and reports the first thing that must not be.
func watchInvariants(t testing.TB, engines ...*Engine) (stop func()) {
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(2 * time.Millisecond)
		defer ticker.Stop()
		for {
			for _, e := range engines {
				if err := e.checkInvariants(); err != nil {
					t.Error(err)
					return
				}
			}
			select {
			case <-quit:
				return
			case <-ticker.C:
			}
		}
	}()
	return func() { close(quit); <-ended }
}

func (e *Engine) checkInvariants() error {
	e.mu.Lock()
	transfers := make([]*transfer, 0, len(e.transfers))
	for _, t := range e.transfers {
		transfers = append(transfers, t)
	}
	e.mu.Unlock()
	for _, t := range transfers {
		t.mu.Lock()
		err := t.checkInvariants()
		t.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// checkInvariants holds the books of a transfer against one another. t.mu is
// held.
func (t *transfer) checkInvariants() error {
	if err := sorted(t.need); err != nil {
		return fmt.Errorf("need: %w", err)
	}
	if err := sorted(t.unclaimed); err != nil {
		return fmt.Errorf("unclaimed: %w", err)
	}
	lanes := map[*member]map[*lane]bool{}
	for c := range t.claims {
		if c.lane.cur != c && c.lane.ahead != c {
			return fmt.Errorf("claim %d-%d of %s is nobody's", c.pos, c.end, c.lane.m.src.key)
		}
		if c.copies < 0 {
			return fmt.Errorf("claim %d-%d of %s has %d copies", c.pos, c.end, c.lane.m.src.key, c.copies)
		}
		if lanes[c.lane.m] == nil {
			lanes[c.lane.m] = map[*lane]bool{}
		}
		lanes[c.lane.m][c.lane] = true
	}
	for _, m := range t.members {
		if m.width < 1 || m.width > t.e.opts.MaxConnections || m.lanes < len(lanes[m]) {
			return fmt.Errorf("%s has %d connections of %d, %d at work", m.src.key, m.lanes, m.width, len(lanes[m]))
		}
	}
	if t.over {
		return nil // no download is under way
	}
	if extra := t.unclaimed.minus(t.need); len(extra) > 0 {
		return fmt.Errorf("unclaimed, and not needed: %v", extra)
	}
	lost := t.need.minus(t.unclaimed)
	for c := range t.claims {
		if both := t.unclaimed.within(c.pos, c.end); len(both) > 0 {
			return fmt.Errorf("claimed by %s, and unclaimed: %v", c.lane.m.src.key, both)
		}
		lost.remove(c.pos, c.end)
	}
	if len(lost) > 0 {
		return fmt.Errorf("needed, and neither claimed nor unclaimed: %v", lost)
	}
	if t.repair != nil {
		return nil
	}
	have := int64(0)
	for i, e := range t.have {
		have += e.len()
		if i > 0 && t.have[i-1].end > e.start || e.len() <= 0 {
			return fmt.Errorf("bad ledger: %v", t.have)
		}
		if t.need.overlaps(e.start, e.end) {
			return fmt.Errorf("%d-%d is there, and needed", e.start, e.end)
		}
	}
	if missing := t.size - have - t.need.size(); missing != 0 && t.writing == 0 {
		return fmt.Errorf("%d bytes are neither there, nor needed, nor being written", missing)
	}
	return nil
}

func sorted(s spans) error {
	for i, r := range s {
		if r.start >= r.end || i > 0 && s[i-1].end >= r.start {
			return fmt.Errorf("not in order: %v", s)
		}
	}
	return nil
}
