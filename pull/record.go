package pull

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/waybill-project/waybill/fetch"
	"github.com/waybill-project/waybill/resolve"
)

// Record is what happened in a pull. It is kept in the store, for pulls that
// failed too.
type Record struct {
	Pull      string             `json:"pull"`
	Name      string             `json:"name"`
	Digest    digest.Digest      `json:"digest,omitempty"`
	MediaType string             `json:"mediaType,omitempty"`
	Size      int64              `json:"size"` // of the manifest or index, in bytes
	Platform  string             `json:"platform,omitempty"`
	Started   time.Time          `json:"started"`
	Ended     time.Time          `json:"ended"`
	Error     string             `json:"error,omitempty"`
	By        *resolve.Testimony `json:"by,omitempty"` // who said what the name means
	Blobs     []Blob             `json:"blobs"`
	Sources   []Source           `json:"sources"`
	Events    []Event            `json:"events"`
	// EventsDropped is how many events there were beyond the bound.
	EventsDropped int `json:"eventsDropped,omitempty"`
}

// Blob is one blob of a pull.
type Blob struct {
	Digest    digest.Digest `json:"digest"`
	Size      int64         `json:"size"`
	MediaType string        `json:"mediaType"`
	// Cached: it was in the store before, nothing was asked for.
	Cached bool `json:"cached"`
	// Resumed is how many bytes an earlier, interrupted pull had left.
	Resumed int64 `json:"resumed,omitempty"`
	// Sources are those that served a part in this pull; with Resumed their
	// bytes add up to Size.
	Sources []Share `json:"sources"`
}

// Share is a source's part of a blob.
type Share struct {
	URI   string `json:"uri"`
	Bytes int64  `json:"bytes"`
}

// Source is a place that was named in a pull, and what became of it.
type Source struct {
	URI    string       `json:"uri"`
	Origin string       `json:"origin"`
	Bytes  int64        `json:"bytes"`
	Ranges []Range      `json:"ranges"`
	Status fetch.Status `json:"status"`
	Reason string       `json:"reason,omitempty"`
}

// Range is a part of a blob. In JSON it is [digest, offset, length].
type Range struct {
	Digest         digest.Digest
	Offset, Length int64
}

// MarshalJSON writes [digest, offset, length].
func (r Range) MarshalJSON() ([]byte, error) {
	return json.Marshal([]any{r.Digest, r.Offset, r.Length})
}

// UnmarshalJSON reads [digest, offset, length].
func (r *Range) UnmarshalJSON(b []byte) error {
	parts := []any{&r.Digest, &r.Offset, &r.Length}
	if err := json.Unmarshal(b, &parts); err != nil {
		return err
	}
	if len(parts) != 3 {
		return fmt.Errorf("range of %d parts; want [digest, offset, length]", len(parts))
	}
	return nil
}

// Event is one thing that happened, in time order.
type Event struct {
	Time   time.Time       `json:"time"`
	Type   fetch.EventType `json:"type"`
	Digest digest.Digest   `json:"digest,omitempty"`
	Source string          `json:"source,omitempty"`
	Detail string          `json:"detail,omitempty"`
}

// Bounds of a record: beyond them the oldest stay, and what was dropped is
// counted.
const (
	maxEvents = 4000
	maxRanges = 4000 // of one source
)

// Events of a pull beside those of package fetch.
const (
	EventResolved   fetch.EventType = "resolved"   // somebody said what the name means
	EventUnanswered fetch.EventType = "unanswered" // somebody else who was asked didn't
	EventDocument   fetch.EventType = "document"   // a document about the image was read
	EventAbsent     fetch.EventType = "absent"     // one that was looked for isn't there
	EventIgnored    fetch.EventType = "ignored"    // a document, or a part of one, isn't used
	EventFound      fetch.EventType = "found"      // a source was named for the first time
	EventWarning    fetch.EventType = "warning"    // the last known answer stands in, a registry wants to be heard, …
)

// maxFound is how many sources are told of when they are named.
const maxFound = 1000
