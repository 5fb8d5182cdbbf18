package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestPulls(t *testing.T) {
	s := openStore(t, t.TempDir())
	if _, _, err := s.LastPull(); !errors.Is(err, ErrNotFound) {
		t.Errorf("LastPull of none: %v", err)
	}
	if _, err := s.Pull("x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Pull of none: %v", err)
	}
	var ids []string
	for n := range 103 {
		id := NewPullID()
		ids = append(ids, id)
		noError(t, s.PutPull(id, fmt.Appendf(nil, `{"n":%d}`, n)))
	}
	if !slices.IsSorted(ids) {
		t.Errorf("ids are not in order: %v", ids)
	}
	for n, id := range ids {
		record, err := s.Pull(id)
		switch {
		case n < 3 && !errors.Is(err, ErrNotFound):
			t.Errorf("pull %d: %v, want ErrNotFound", n, err)
		case n >= 3 && (err != nil || string(record) != fmt.Sprintf(`{"n":%d}`, n)):
			t.Errorf("pull %d: %s, %v", n, record, err)
		}
	}
	noError(t, s.PutPull(ids[102], []byte(`{"again":true}`)))
	if id, record, err := s.LastPull(); id != ids[102] || string(record) != `{"again":true}` || err != nil {
		t.Errorf("LastPull: %s, %s, %v", id, record, err)
	}
}

func TestPullRefuses(t *testing.T) {
	s := openStore(t, t.TempDir())
	for _, id := range []string{"", ".", "..", "../x", "a/b", ".hidden", "-x", "a\x00", "a\nb", "ä", strings.Repeat("a", 65)} {
		_, err := s.Pull(id)
		checkError(t, err, "pull id ")
		checkError(t, s.PutPull(id, []byte("{}")), "pull id ")
		_, err = s.Lease(id)
		checkError(t, err, "lease id ")
	}
	checkError(t, s.PutPull("a", []byte("{")), "not JSON")
	checkError(t, s.PutPull("a", make([]byte, maxPull+1)), "more than the limit")
}
