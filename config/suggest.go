package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
)

// unknownKey says that there is no such key, and which was probably meant.
func unknownKey(key toml.Key) error {
	section, known := siblings(key)
	if best := nearest(key, section, known); best != "" {
		return fmt.Errorf("no such key; did you mean %s?", best)
	}
	where := "at the top"
	if section != "" {
		where = "in [" + section + "]"
	}
	return errors.New("no such key; " + where + " there are " + strings.Join(known, ", "))
}

// siblings returns the section a key is in, as it is shown, and the keys that
// are known there. A key in a section that isn't known counts as one at the top.
func siblings(key toml.Key) (section string, known []string) {
	if key[0] == hostSection && len(key) > 2 {
		return key[:2].String(), hostKeys
	}
	if key[0] == nameSection && len(key) > 2 {
		return key[:2].String(), nameKeys
	}
	if len(key) > 1 && isSection(key[0]) {
		section = key[0]
	}
	for _, s := range settings {
		in, name, below := strings.Cut(s.key, ".")
		switch {
		case !below && section == "":
			known = append(known, s.key)
		case below && section == in:
			known = append(known, name)
		case below && section == "":
			if table := "[" + in + "]"; known[len(known)-1] != table {
				known = append(known, table)
			}
		}
	}
	if section == "" {
		known = append(known, `[host."HOST:PORT"]`, `[name."PATTERN"]`)
	}
	return section, known
}

// nearest returns the known key a misspelt one is closest to, as it would be
// written: a sibling by its name alone, another key with its section. It
// returns "" where none is close.
func nearest(key toml.Key, section string, known []string) string {
	last := key[len(key)-1]
	best, least := "", 1+len(last)/3
	try := func(as, written, candidate string) {
		if len(written) > 64 {
			return
		}
		if d := distance(strings.ToLower(written), candidate); d <= least {
			best, least = as, d-1
		}
	}
	for _, k := range known {
		if k[0] != '[' {
			try(k, last, k)
		}
	}
	if key[0] == hostSection || key[0] == nameSection {
		return best
	}
	for _, s := range settings {
		in, name, _ := strings.Cut(s.key, ".")
		if in != section && name != "" {
			try(s.key, last, name)
		}
		try(s.key, strings.Join(key, "."), s.key)
		if section == "" && name != "" {
			try("["+in+"]", key[0], in)
		}
	}
	if section == "" {
		try(`[host."HOST:PORT"]`, key[0], hostSection)
		try(`[name."PATTERN"]`, key[0], nameSection)
	}
	return best
}

// distance returns how many letters must be put in, taken out or replaced to
// make b of a (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
