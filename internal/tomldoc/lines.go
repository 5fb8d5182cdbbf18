package tomldoc

import (
	"fmt"
	"strings"
)

// What a document may hold. We need a fraction of it; the rest is room.
const (
	maxNesting  = 16     // lists and tables within one another
	maxKeyParts = 16     // names of a dotted key
	maxKeys     = 20_000 // keys and tables
)

// keyLines returns the line of every key and table header of a TOML document,
// in the order of the text: the order of toml.MetaData.Keys, which doesn't tell
// where its keys are. Only the limits above are errors. What it returns for a
// text that isn't TOML means nothing, but it does return.
func keyLines(text string) ([]int, error) {
	s := &scanner{text: text, line: 1}
	for s.skipBlank(""); s.more(); s.skipBlank("") {
		if s.peek() != '[' {
			s.keyAndValue(0)
			continue
		}
		for s.peek() == '[' {
			s.next()
		}
		s.key(']')
		for s.peek() == ']' {
			s.next()
		}
	}
	if s.err != nil {
		return nil, s.err
	}
	return s.lines, nil
}

// scanner finds the keys of a TOML document. It takes the document's validity
// for granted and only looks at what delimits: quotes, brackets, comments.
type scanner struct {
	text  string
	pos   int
	line  int // of pos
	lines []int
	err   error // a limit was exceeded
}

// more reports whether there is anything left to scan.
func (s *scanner) more() bool { return s.err == nil && s.pos < len(s.text) }

// peek returns the next byte, or 0 at the end.
func (s *scanner) peek() byte {
	if !s.more() {
		return 0
	}
	return s.text[s.pos]
}

// at reports whether the rest begins with prefix.
func (s *scanner) at(prefix string) bool {
	return s.more() && strings.HasPrefix(s.text[s.pos:], prefix)
}

// next steps over one byte.
func (s *scanner) next() {
	if !s.more() {
		return
	}
	if s.text[s.pos] == '\n' {
		s.line++
	}
	s.pos++
}

// skipBlank steps over white space, new lines, comments and any of also.
func (s *scanner) skipBlank(also string) {
	for s.more() {
		switch c := s.peek(); {
		case c == '#':
			for s.more() && s.peek() != '\n' {
				s.next()
			}
		case strings.IndexByte(" \t\r\n", c) >= 0, strings.IndexByte(also, c) >= 0:
			s.next()
		default:
			return
		}
	}
}

// keyAndValue steps over "key = value".
func (s *scanner) keyAndValue(depth int) {
	s.key('=')
	s.next()
	for c := s.peek(); c == ' ' || c == '\t'; c = s.peek() {
		s.next()
	}
	s.value(depth)
}

// key notes the line of a key and steps over it, up to the byte that ends it.
func (s *scanner) key(end byte) {
	if len(s.lines) == maxKeys {
		s.fail("more than %d keys", maxKeys)
	}
	s.lines = append(s.lines, s.line)
	parts := 1
	for s.more() && s.peek() != end && s.peek() != '\n' {
		switch s.peek() {
		case '"', '\'':
			s.quoted()
		case '.':
			if parts++; parts > maxKeyParts {
				s.fail("a key of more than %d parts", maxKeyParts)
			}
			s.next()
		default:
			s.next()
		}
	}
}

// value steps over a value, and notes the keys of the tables in it.
func (s *scanner) value(depth int) {
	if depth > maxNesting {
		s.fail("lists and tables nested more than %d deep", maxNesting)
	}
	switch s.peek() {
	case '"', '\'':
		s.quoted()
	case '[':
		s.next()
		for s.skipBlank(","); s.more() && s.peek() != ']'; s.skipBlank(",") {
			s.value(depth + 1)
		}
		s.next()
	case '{':
		s.next()
		for s.skipBlank(","); s.more() && s.peek() != '}'; s.skipBlank(",") {
			s.keyAndValue(depth + 1)
		}
		s.next()
	default: // a number, a date, true, false
		s.next()
		for s.more() && strings.IndexByte(",]}#\n", s.peek()) < 0 {
			s.next()
		}
	}
}

// quoted steps over a string of any of TOML's four kinds.
func (s *scanner) quoted() {
	quote := s.text[s.pos : s.pos+1]
	escapes := quote == `"`
	long := strings.Repeat(quote, 3)
	end := quote
	if s.at(long) {
		end = long
	}
	for range end {
		s.next()
	}
	for s.more() && !s.at(end) {
		if escapes && s.peek() == '\\' {
			s.next()
		} else if end == quote && s.peek() == '\n' {
			return // not TOML
		}
		s.next()
	}
	for range end {
		s.next()
	}
	// A long string may end in one or two quotes of its own.
	for i := 0; end == long && i < 2 && s.at(quote); i++ {
		s.next()
	}
}

// fail ends the scan.
func (s *scanner) fail(format string, args ...any) {
	if s.err == nil {
		s.err = &Error{s.line, fmt.Sprintf(format, args...)}
	}
}
