package progress

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"unicode/utf8"
)

// jsonView writes one object a line. See the package comment for its shape.
type jsonView struct {
	w io.Writer
}

// snapshotLine is a line of type progress or done.
type snapshotLine struct {
	Type string `json:"type"`
	Snapshot
	BytesPerSecond int64  `json:"bytesPerSecond"`
	ETASeconds     *int64 `json:"etaSeconds,omitempty"`
}

// eventObject is a line of type event.
type eventObject struct {
	Type  string `json:"type"`
	Event        // its Type is "event"
}

func (v *jsonView) update(s Snapshot, p pace) { v.snapshot("progress", s, p.rate, p) }

func (v *jsonView) close(s Snapshot, p pace) { v.snapshot("done", s, p.average, p) }

func (v *jsonView) snapshot(kind string, s Snapshot, rate float64, p pace) {
	if s.Blobs == nil {
		s.Blobs = []Blob{}
	}
	line := snapshotLine{Type: kind, Snapshot: s, BytesPerSecond: int64(rate)}
	if p.eta >= 0 {
		seconds := int64(math.Ceil(p.eta.Seconds()))
		line.ETASeconds = &seconds
	}
	v.write(line)
}

func (v *jsonView) event(e Event) { v.write(eventObject{Type: "event", Event: e}) }

// write writes one line. Marshalling plain fields of plain types can't fail.
func (v *jsonView) write(line any) {
	encoded, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	v.w.Write(append(escape(encoded), '\n'))
}

// escape escapes what encoding/json leaves and a terminal might obey: DEL, the
// C1 controls and marks of writing direction. Outside ASCII only strings have
// characters, so an escape is right wherever one stands.
func escape(encoded []byte) []byte {
	var b bytes.Buffer
	for len(encoded) > 0 {
		r, size := utf8.DecodeRune(encoded)
		switch {
		case r < utf8.RuneSelf && r != 0x7f || harmless(r) || r == utf8.RuneError:
			b.Write(encoded[:size])
		case r > 0xffff:
			high := 0xd800 + (r-0x10000)>>10
			low := 0xdc00 + (r-0x10000)&0x3ff
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		encoded = encoded[size:]
	}
	return b.Bytes()
}
