package config

import (
	"fmt"
	"strings"
	"unicode"
)

// Error says what is wrong with the configuration, on one line.
type Error struct {
	// From is the place: FILE:LINE, FILE, an environment variable or a flag.
	From string
	// Key is the key at fault; empty where it isn't about one.
	Key string
	// Problem says what is wrong, and what is accepted.
	Problem string
}

// Error returns the line: the place, the key and the problem.
func (e *Error) Error() string {
	if e.Key == "" {
		return oneLine(e.From + ": " + e.Problem)
	}
	return oneLine(e.From + ": " + clip(e.Key) + ": " + e.Problem)
}

// wrongValue says that raw, as TOML or text has it, is not for v.
func wrongValue(from string, raw any, v bound) *Error {
	problem := fmt.Sprintf("%s is not %s", show(raw), v.accepts())
	if c, ok := v.value.(choice); ok {
		if word := c.meant(raw); word != "" {
			problem += fmt.Sprintf("; did you mean %q?", word)
		}
	}
	return &Error{From: from, Key: v.key, Problem: problem}
}

// show returns a value fit to stand in an error.
func show(raw any) string {
	switch raw := raw.(type) {
	case string:
		return fmt.Sprintf("%q", clip(raw))
	case []any:
		for _, e := range raw {
			if _, ok := e.(string); !ok {
				return "a list with " + show(e)
			}
		}
		return clip(fmt.Sprintf("%q", raw))
	case map[string]any:
		return "a table"
	case []map[string]any:
		return "a list of tables"
	}
	return clip(fmt.Sprint(raw))
}

// clip shortens a key or a value that would make an error too long to read.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}

// oneLine replaces what is not printable: keys and paths may hold anything.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}
