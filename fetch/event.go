package fetch

import (
	"fmt"
	"time"

	"github.com/opencontainers/go-digest"
)

// EventType says what an [Event] is about.
type EventType string

// What the engine tells its observer.
const (
	EventCached      EventType = "cached"      // the blob was in the store
	EventStarted     EventType = "started"     // a blob is being fetched
	EventResumed     EventType = "resumed"     // a partial was found; Bytes are already there
	EventAsked       EventType = "asked"       // a source joined a blob
	EventFailed      EventType = "failed"      // a source answered with an error
	EventMissing     EventType = "missing"     // a source doesn't have the blob
	EventGone        EventType = "gone"        // a source won't be asked for the blob again
	EventDemoted     EventType = "demoted"     // a source was set aside
	EventStolen      EventType = "stolen"      // a fast source took over what a slow one owed
	EventHedged      EventType = "hedged"      // a second source was asked beside a late first
	EventConnections EventType = "connections" // the number of connections to a source changed
	EventPieces      EventType = "pieces"      // hashes of its pieces were found, or dropped
	EventMismatch    EventType = "mismatch"    // the digest, or a piece, was wrong; the liar is being looked for
	EventQuarantined EventType = "quarantined" // a source was proven to have sent wrong bytes
	EventVerified    EventType = "verified"    // the blob is right and in the store
)

// Event is one thing that happened to a blob or a source.
type Event struct {
	Time   time.Time
	Type   EventType
	Digest digest.Digest
	Source string // the source's URI, without any password; empty when it is about the blob
	Detail string // one line for people
}

func newEvent(typ EventType, d digest.Digest, src *source, format string, args ...any) Event {
	ev := Event{Time: time.Now(), Type: typ, Digest: d, Detail: fmt.Sprintf(format, args...)}
	if src != nil {
		ev.Source = src.key
	}
	return ev
}
