package abd

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Caps on metadata.
const (
	// MaxMetadata is the largest metadata blob, in bytes.
	MaxMetadata = 4 << 20
	// MaxEntries is how many entries it may have.
	MaxEntries = 1000
	// MaxMirrors is how many mirrors an entry may have.
	MaxMirrors = 100
	// MaxNotes is how much is told about one document's entries, and about its
	// mirrors.
	MaxNotes = 200
)

// Entry is one artefact in a metadata blob.
type Entry struct {
	// Name is its identifier.
	Name string `json:"name"`
	// Labels say which of the identifier's artefacts it is.
	Labels map[string]string `json:"labels"`
	// Mirrors are where it may be had: all the same bytes.
	Mirrors []string `json:"mirrors"`
}

// Matches reports whether the entry is what n looks for: it has n's identifier
// and each of n's labels with the same value. Labels that n leaves open don't
// matter.
func (e Entry) Matches(n Name) bool {
	if e.Name != n.Identifier {
		return false
	}
	for key, value := range n.Labels {
		if have, ok := e.Labels[key]; !ok || have != value {
			return false
		}
	}
	return true
}

// wrappers are the keys that the publication's example puts around the list.
var wrappers = []string{"metadata", "io.abd.metadata"}

// ParseMetadata reads a blob in the ABD Metadata Format. The publication
// describes a list of entries, shows one inside {"metadata":
// {"io.abd.metadata": …}}, has a strategy that makes a single entry, and one
// that answers {} for nothing; each is read. note is told of entries that
// aren't usable.
func ParseMetadata(content []byte, note func(text string)) ([]Entry, error) {
	if len(content) > MaxMetadata {
		return nil, fmt.Errorf("metadata of %d bytes; the limit is %d", len(content), MaxMetadata)
	}
	if !json.Valid(content) {
		return nil, errors.New("metadata isn't JSON")
	}
	raws, err := list(content)
	if err != nil {
		return nil, err
	}
	if len(raws) > MaxEntries {
		return nil, fmt.Errorf("%d entries in metadata; the limit is %d", len(raws), MaxEntries)
	}
	var all []Entry
	refused := 0
	for i, raw := range raws {
		e, err := parseEntry(raw)
		if err != nil {
			if refused++; refused > MaxNotes {
				continue
			}
			note(fmt.Sprintf("entry %d skipped: %v", i+1, err))
			continue
		}
		all = append(all, e)
	}
	return all, nil
}

// list takes the list of entries out of what is around it.
func list(content json.RawMessage) ([]json.RawMessage, error) {
	for range len(wrappers) + 1 {
		var raws []json.RawMessage
		if err := json.Unmarshal(content, &raws); err == nil {
			return raws, nil
		}
		var object map[string]json.RawMessage
		if err := json.Unmarshal(content, &object); err != nil {
			break
		}
		if len(object) == 0 {
			return nil, nil
		}
		if object["name"] != nil {
			return []json.RawMessage{content}, nil
		}
		content = nil
		for _, key := range wrappers {
			if object[key] != nil {
				content = object[key]
			}
		}
		if content == nil {
			break
		}
	}
	return nil, errors.New("metadata is neither a list of entries nor something known around one")
}

func parseEntry(raw json.RawMessage) (Entry, error) {
	var e Entry
	if !bytes.HasPrefix(raw, []byte("{")) {
		return e, errors.New("not an object")
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		return e, errors.New("not of a name, labels and mirrors")
	}
	if err := checkIdentifier(e.Name); err != nil {
		return e, err
	}
	if len(e.Labels) > MaxLabels {
		return e, fmt.Errorf("%d labels; the limit is %d", len(e.Labels), MaxLabels)
	}
	if len(e.Mirrors) > MaxMirrors {
		return e, fmt.Errorf("%d mirrors; the limit is %d", len(e.Mirrors), MaxMirrors)
	}
	for key, value := range e.Labels {
		if err := checkLabel(key, value); err != nil {
			return e, err
		}
	}
	return e, nil
}
