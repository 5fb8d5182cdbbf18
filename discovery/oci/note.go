package oci

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/waybill-project/waybill/discovery"
	"github.com/waybill-project/waybill/transport"
)

// notes makes the notes about one document, a bounded number of them.
type notes struct {
	where string
	note  func(discovery.Note) // may be nil
	n     int
}

// read says what was read of it.
func (n *notes) read(text string) {
	if n.note != nil {
		n.note(discovery.Note{Where: n.where, Text: "read: " + text})
	}
}

// add says what of it isn't used.
func (n *notes) add(text string) {
	if n.n++; n.n <= MaxNotes && n.note != nil {
		n.note(discovery.Note{Where: n.where, Text: text, Ignored: true})
	}
}

// end says how many were left out.
func (n *notes) end() {
	if more := n.n - MaxNotes; more > 0 && n.note != nil {
		n.note(discovery.Note{Where: n.where, Text: fmt.Sprintf("%d more like these; the limit is %d notes", more, MaxNotes), Ignored: true})
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

// clip keeps what notes and errors repeat of a document short.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	for i := most; ; i-- {
		if utf8.RuneStart(s[i]) {
			return s[:i] + "…"
		}
	}
}
