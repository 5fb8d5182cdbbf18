package metalink

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Link is a link of a header (RFC 8288).
type Link struct {
	// URI is as written, maybe relative.
	URI string
	// Relations are its relation types, in lower case.
	Relations []string
	// Params are its other parameters by their names in lower case, the first of
	// each.
	Params map[string]string
}

// Is reports whether the link has a relation type.
func (l Link) Is(relation string) bool { return slices.Contains(l.Relations, relation) }

// ParseLinks reads Link headers (RFC 8288 §3), [MaxLinks] of them. An error says
// where one stops being understood; with it come the links before.
func ParseLinks(values []string) ([]Link, error) {
	var links []Link
	for _, v := range values {
		s := linkScanner{v}
		for {
			s.skip(" \t,")
			if s.rest == "" {
				break
			}
			if len(links) == MaxLinks {
				return links, fmt.Errorf("more links than the limit of %d", MaxLinks)
			}
			l, err := s.link()
			if err != nil {
				return links, fmt.Errorf("Link header, %d bytes before its end: %w", len(s.rest), err)
			}
			links = append(links, l)
		}
	}
	return links, nil
}

// linkScanner reads a header from its beginning.
type linkScanner struct{ rest string }

func (s *linkScanner) skip(chars string) { s.rest = strings.TrimLeft(s.rest, chars) }

// link reads <URI> and its parameters.
func (s *linkScanner) link() (Link, error) {
	rest, ok := strings.CutPrefix(s.rest, "<")
	uri, rest, closed := strings.Cut(rest, ">")
	if !ok || !closed {
		return Link{}, errors.New("want <URI>")
	}
	s.rest = rest
	l := Link{URI: strings.TrimSpace(uri), Params: map[string]string{}}
	for {
		s.skip(" \t")
		if s.rest == "" || s.rest[0] == ',' {
			return l, nil
		}
		if s.rest[0] != ';' {
			return l, errors.New("want ';' or ','")
		}
		s.skip("; \t")
		if s.rest == "" || s.rest[0] == ',' {
			return l, nil
		}
		name, value, err := s.parameter()
		if err != nil {
			return l, err
		}
		switch _, again := l.Params[name]; {
		case again || name == "rel" && l.Relations != nil:
		case name == "rel":
			l.Relations = append([]string{}, strings.Fields(strings.ToLower(value))...)
		case len(l.Params) < MaxAttributes:
			l.Params[name] = value
		default:
			return l, fmt.Errorf("a link of more parameters than the limit of %d", MaxAttributes)
		}
	}
}

// parameter reads NAME, NAME=TOKEN or NAME="TEXT".
func (s *linkScanner) parameter() (name, value string, err error) {
	name = strings.ToLower(s.token())
	if name == "" {
		return "", "", errors.New("want the name of a parameter")
	}
	s.skip(" \t")
	rest, ok := strings.CutPrefix(s.rest, "=")
	if !ok {
		return name, "", nil
	}
	s.rest = strings.TrimLeft(rest, " \t")
	if strings.HasPrefix(s.rest, `"`) {
		value, err = s.quoted()
		return name, value, err
	}
	return name, s.token(), nil
}

// token reads what is neither white space nor a delimiter.
func (s *linkScanner) token() string {
	end := strings.IndexAny(s.rest, " \t,;=\"<>")
	if end < 0 {
		end = len(s.rest)
	}
	token := s.rest[:end]
	s.rest = s.rest[end:]
	return token
}

// quoted reads a quoted string (RFC 9110 §5.6.4).
func (s *linkScanner) quoted() (string, error) {
	var text strings.Builder
	for i := 1; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == '"':
			s.rest = s.rest[i+1:]
			return text.String(), nil
		case c == '\\' && i+1 < len(s.rest):
			i++
			text.WriteByte(s.rest[i])
		default:
			text.WriteByte(c)
		}
	}
	return "", errors.New("a quote isn't closed")
}
