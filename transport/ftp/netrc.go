package ftp

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxNetrc is the largest netrc file that is read, in bytes.
const maxNetrc = 1 << 20

// netrcEntry is a login in a netrc file.
type netrcEntry struct {
	// machine is empty for "default".
	machine         string
	login, password string
	hasPassword     bool
}

// netrcPath returns $NETRC, or ~/.netrc, or "" where neither is known.
func netrcPath() string {
	if path := os.Getenv("NETRC"); path != "" {
		return path
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".netrc")
}

// readNetrc returns the entries of the file at path; none where there is no
// such file. Who else may read it is not looked at, as curl does.
func readNetrc(path string) ([]netrcEntry, error) {
	if path == "" {
		return nil, nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("logins: %w", err)
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxNetrc+1))
	if err != nil {
		return nil, fmt.Errorf("logins: %w", err)
	}
	if len(content) > maxNetrc {
		return nil, fmt.Errorf("%s is larger than the limit of %d bytes", path, maxNetrc)
	}
	entries, err := parseNetrc(string(content))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return entries, nil
}

// findLogin returns the entry of a host, of a certain user unless that is
// empty. "default" is only used for anonymous logins, which is what ftp(1)
// describes it for: a password is not sent to whichever host is asked.
func findLogin(entries []netrcEntry, host, user string) (netrcEntry, bool) {
	for _, e := range entries {
		ofHost := strings.EqualFold(e.machine, host) || e.machine == "" && anonymous(e.login)
		if ofHost && (user == "" || e.login == user) && e.login != "" {
			return e, true
		}
	}
	return netrcEntry{}, false
}

// parseNetrc reads a netrc file as curl and ftp(1) do: words between white
// space, quoted if they hold some, a comment where a keyword could stand.
// Errors name the line and never what stands there.
func parseNetrc(content string) ([]netrcEntry, error) {
	var entries []netrcEntry
	s := netrcScanner{rest: content, line: 1}
	for {
		word, quoted, err := s.next()
		switch {
		case err != nil:
			return nil, err
		case word == "" && !quoted:
			return entries, nil
		case strings.HasPrefix(word, "#") && !quoted:
			s.skipLine()
			continue
		}
		if word == "default" {
			entries = append(entries, netrcEntry{})
			continue
		}
		if !slices.Contains(netrcKeywords, word) {
			return nil, fmt.Errorf("line %d: neither default nor any of %s", s.line, strings.Join(netrcKeywords, ", "))
		}
		line := s.line
		value, quotedValue, err := s.next()
		if err != nil {
			return nil, err
		}
		if value == "" && !quotedValue {
			return nil, fmt.Errorf("line %d: nothing follows %s", line, word)
		}
		if word == "macdef" {
			s.skipMacro()
			continue
		}
		if entries, err = setField(entries, word, value); err != nil {
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
	}
}

// netrcKeywords are the words that a value follows.
var netrcKeywords = []string{"machine", "login", "password", "account", "macdef"}

// setField begins an entry or sets a field of the last one.
func setField(entries []netrcEntry, keyword, value string) ([]netrcEntry, error) {
	if keyword == "machine" {
		if value == "" {
			return nil, errors.New("empty name of a machine")
		}
		return append(entries, netrcEntry{machine: value}), nil
	}
	if len(entries) == 0 {
		return nil, fmt.Errorf("%s before any machine", keyword)
	}
	if !sendable(value) {
		return nil, fmt.Errorf("%s holds a character that FTP can't send", keyword)
	}
	e := &entries[len(entries)-1]
	switch keyword {
	case "login":
		e.login = value
	case "password":
		e.password, e.hasPassword = value, true
	case "account": // ACCT is asked for by no server that is left
	}
	return entries, nil
}

// netrcScanner splits a netrc file into words.
type netrcScanner struct {
	rest string
	line int
}

const netrcSpace = " \t\r\n"

// next returns the next word; "" and false at the end.
func (s *netrcScanner) next() (word string, quoted bool, err error) {
	trimmed := strings.TrimLeft(s.rest, netrcSpace)
	s.line += strings.Count(s.rest[:len(s.rest)-len(trimmed)], "\n")
	s.rest = trimmed
	if strings.HasPrefix(s.rest, `"`) {
		word, err = s.quoted()
		return word, true, err
	}
	end := strings.IndexAny(s.rest, netrcSpace)
	if end < 0 {
		end = len(s.rest)
	}
	word, s.rest = s.rest[:end], s.rest[end:]
	return word, false, nil
}

// quoted returns a word between quotes, with the escapes that curl knows.
func (s *netrcScanner) quoted() (string, error) {
	var word strings.Builder
	for i := 1; i < len(s.rest); i++ {
		switch c := s.rest[i]; c {
		case '"':
			s.rest = s.rest[i+1:]
			return word.String(), nil
		case '\n':
			return "", fmt.Errorf("line %d: a quote isn't closed", s.line)
		case '\\':
			i++
			if i == len(s.rest) || s.rest[i] == '\n' {
				return "", fmt.Errorf("line %d: a quote isn't closed", s.line)
			}
			switch c := s.rest[i]; c {
			case 'n':
				word.WriteByte('\n')
			case 'r':
				word.WriteByte('\r')
			case 't':
				word.WriteByte('\t')
			default:
				word.WriteByte(c)
			}
		default:
			word.WriteByte(c)
		}
	}
	return "", fmt.Errorf("line %d: a quote isn't closed", s.line)
}

// skipLine skips the rest of a line.
func (s *netrcScanner) skipLine() {
	if end := strings.IndexByte(s.rest, '\n'); end >= 0 {
		s.rest = s.rest[end:]
		return
	}
	s.rest = ""
}

// skipMacro skips the lines of a macro, up to an empty one.
func (s *netrcScanner) skipMacro() {
	s.skipLine()
	for s.rest != "" {
		s.rest = s.rest[1:] // the end of the line before
		s.line++
		line, _, _ := strings.Cut(s.rest, "\n")
		s.skipLine()
		if strings.TrimSpace(line) == "" {
			return
		}
	}
}
