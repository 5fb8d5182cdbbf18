package waybills_test

import (
	"errors"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/discovery/waybills"
	"github.com/waybill-project/waybill/waybill"
)

// memory is a [waybills.Memory].
type memory struct {
	seen  map[string]waybill.Seen
	until time.Time // of what was remembered last
	err   error
}

func (m *memory) Seen(signer string, image digest.Digest) (waybill.Seen, error) {
	return m.seen[signer+string(image)], m.err
}

func (m *memory) Remember(signer string, image digest.Digest, what waybill.Seen, until time.Time) error {
	if m.err == nil {
		m.seen, m.until = map[string]waybill.Seen{signer + string(image): what}, until
	}
	return m.err
}

// TestMemory: once a document was used, an older one of the same place isn't, for
// a while.
func TestMemory(t *testing.T) {
	w := newWorld(t)
	search := func(n int64) string {
		w.put(wellKnown(), waybill.MediaType, bill(t, "/at", sequence(n), func(d *waybill.Document) { d.Expires = now.AddDate(1, 0, 0) }))
		w.newClient() // one asks the web once
		return uris(located(t, w.client.Search(t.Context(), subject.Digest, w.client.WellKnown(w.host))))
	}
	if got, want := search(5), w.URL+"/at"; got != want {
		t.Fatalf("found %s, want %s", got, want)
	}
	if want := now.Add(waybills.MaxMemory); !w.memory.until.Equal(want) {
		t.Errorf("remembered until %v, want %v", w.memory.until, want)
	}
	if got := search(4); got != "" {
		t.Errorf("found %s, of a document that was rolled back", got)
	}
	w.told.want(t, "number 5 since number 4")
	if got, want := search(6), w.URL+"/at"; got != want {
		t.Errorf("found %s, want %s", got, want)
	}
	w.memory.err = errors.New("the disk is full")
	if got, want := search(6), w.URL+"/at"; got != want {
		t.Errorf("found %s without a memory, want %s", got, want)
	}
	w.told.want(t, "number 5 since number 4", "isn't known: the disk is full", "can't be remembered: the disk is full")
}
