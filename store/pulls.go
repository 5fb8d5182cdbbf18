package store

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	maxPulls   = 100      // records kept
	maxPull    = 32 << 20 // bytes of one
	pullSuffix = ".json"
)

// validID is what the id of a pull or a lease may be: one path element.
var validID = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z._-]{0,63}$`)

func checkID(what, id string) error {
	if !validID.MatchString(id) {
		return fmt.Errorf("%s id %s: want letters, digits, '.', '_' and '-', at most 64", what, quoteShort(id))
	}
	return nil
}

// NewPullID returns an id for a pull that nobody else has; ids sort by when
// they were made.
func NewPullID() string {
	var b [4]byte
	rand.Read(b[:])
	return fmt.Sprintf("%s-%x", time.Now().UTC().Format("20060102T150405.000000"), b)
}

// PutPull keeps the record of a pull, one JSON document, in place of any with
// that id. The newest 100 are kept.
func (s *Store) PutPull(id string, record []byte) error {
	if err := checkID("pull", id); err != nil {
		return err
	}
	if len(record) > maxPull {
		return fmt.Errorf("record of pull %s: %d bytes, more than the limit of %d", id, len(record), maxPull)
	}
	if !json.Valid(record) {
		return fmt.Errorf("record of pull %s: not JSON", id)
	}
	if err := s.writeFile(s.path(pullsDir, id+pullSuffix), record); err != nil {
		return fmt.Errorf("record of pull %s: %w", id, err)
	}
	ids, err := s.pullIDs()
	if err != nil {
		return err
	}
	for len(ids) > maxPulls {
		err := os.Remove(s.path(pullsDir, ids[0]+pullSuffix))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return s.writeError(err, 0)
		}
		ids = ids[1:]
	}
	return nil
}

// Pull returns the record of a pull, or [ErrNotFound].
func (s *Store) Pull(id string) ([]byte, error) {
	if err := checkID("pull", id); err != nil {
		return nil, err
	}
	b, err := readSmall(s.path(pullsDir, id+pullSuffix), maxPull)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("pull %s: %w", id, ErrNotFound)
	}
	return b, err
}

// LastPull returns the newest record and its id, or [ErrNotFound] where there
// is none.
func (s *Store) LastPull() (id string, record []byte, err error) {
	ids, err := s.pullIDs()
	if err != nil {
		return "", nil, err
	}
	if len(ids) == 0 {
		return "", nil, fmt.Errorf("pulls: %w", ErrNotFound)
	}
	id = ids[len(ids)-1]
	record, err = s.Pull(id)
	return id, record, err
}

// pullIDs returns the ids of the records, oldest first.
func (s *Store) pullIDs() ([]string, error) {
	var ids []string
	for entry, err := range readDir(s.path(pullsDir)) {
		if err != nil {
			return nil, err
		}
		if id, ok := strings.CutSuffix(entry.Name(), pullSuffix); ok && validID.MatchString(id) {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids, nil
}
