package main

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
)

// spool is one JSON document on its way to stdout, a list of which is written
// element by element. Of an error nothing may stand there, so it is held back
// until it is whole: in memory while it is small, then in a file.
type spool struct {
	buf  bytes.Buffer
	file *os.File
	n    int // elements so far
}

// maxSpooled is how much of a document is held in memory, in bytes.
const maxSpooled = 1 << 20

// text adds text as it is.
func (s *spool) text(text string) { s.buf.WriteString(text) }

// element adds an element of a list that is a member of the document.
func (s *spool) element(v any) error {
	separator := ",\n    "
	if s.n == 0 {
		separator = "\n    "
	}
	s.n++
	s.text(separator)
	if err := s.encode(v, "    "); err != nil || s.buf.Len() < maxSpooled {
		return err
	}
	return s.flush()
}

// encode adds a value as [app.printJSON] prints it, without the end of its last line.
func (s *spool) encode(v any, prefix string) error {
	enc := json.NewEncoder(&s.buf)
	enc.SetIndent(prefix, "  ")
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	if err == nil {
		s.buf.Truncate(s.buf.Len() - 1)
	}
	return err
}

// flush moves what is in memory to the file.
func (s *spool) flush() error {
	if s.file == nil {
		f, err := os.CreateTemp("", "waybill-*.json")
		if err != nil {
			return err
		}
		s.file = f
		if err := os.Remove(f.Name()); err != nil { // it goes with its descriptor
			return err
		}
	}
	_, err := s.buf.WriteTo(s.file)
	return err
}

// writeTo writes all of it.
func (s *spool) writeTo(w io.Writer) error {
	if s.file != nil {
		if _, err := s.file.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.Copy(w, s.file); err != nil {
			return err
		}
	}
	_, err := s.buf.WriteTo(w)
	return err
}

// close drops it.
func (s *spool) close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}
