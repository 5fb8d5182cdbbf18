package oci

import (
	"errors"
	"fmt"

	"github.com/waybill-project/waybill/transport"
)

// Note says what came of a document, or of an entry in one.
type Note struct {
	// Where is the document: a URL, a file, or what else was looked at.
	Where string
	// Text is one line: what was read, or what was refused and why.
	Text string
}

// notes makes the notes about one document, a bounded number of them.
type notes struct {
	where string
	note  func(Note) // may be nil
	n     int
}

func (n *notes) add(text string) {
	if n.n++; n.n <= MaxNotes && n.note != nil {
		n.note(Note{n.where, text})
	}
}

// end says how many were left out.
func (n *notes) end() {
	if more := n.n - MaxNotes; more > 0 && n.note != nil {
		n.note(Note{n.where, fmt.Sprintf("%d more like these; the limit is %d notes", more, MaxNotes)})
	}
}

// reason returns what an error says beside the place, which is told already.
func reason(err error) string {
	var te *transport.Error
	if errors.As(err, &te) && te.Err != nil {
		return te.Err.Error()
	}
	return err.Error()
}
