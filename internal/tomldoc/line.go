package tomldoc

import (
	"fmt"
	"strings"

	"github.com/BurntSushi/toml"
)

// Line returns the line of what a path leads to: names of keys and, behind the
// name of a list of tables, the index of one. What has no line of its own (a
// default, a table within a list written on one line) has that of what it is
// in, and at least 1.
func (d *Document) Line(path ...any) int {
	for n := len(path); n > 0; n-- {
		if line, ok := d.byPath[pathKey(path[:n])]; ok {
			return line
		}
	}
	return 1
}

// index returns the lines by path. What stands on several (a table continued
// elsewhere) has the first.
func (d *Document) index() map[string]int {
	lines := make(map[string]int, len(d.names))
	seen := make(map[string]int) // elements of a list so far, by its path
	for i, key := range d.names {
		for _, path := range d.paths(key, seen) {
			// A table that only has keys of its own has the line of the first.
			for n := range path {
				if at := pathKey(path[:n+1]); lines[at] == 0 {
					lines[at] = d.lines[i]
				}
			}
		}
	}
	return lines
}

// paths returns the paths that a key, the next in the text, stands for: its own
// and, where it begins an element of a list, the element's.
func (d *Document) paths(key toml.Key, seen map[string]int) [][]any {
	var path []any
	var v any = d.root
	for i, name := range key {
		table, _ := v.(map[string]any)
		v = table[name]
		path = append(path, name)
		list, ok := v.([]map[string]any)
		if !ok || len(list) == 0 {
			continue
		}
		at := pathKey(path)
		if i == len(key)-1 {
			element := min(seen[at], len(list)-1)
			seen[at]++
			return [][]any{path, append(path[:len(path):len(path)], element)}
		}
		element := min(max(seen[at]-1, 0), len(list)-1)
		path = append(path, element)
		v = list[element]
	}
	return [][]any{path}
}

// pathKey returns a path as a string that no other path has.
func pathKey(path []any) string {
	var b strings.Builder
	for _, p := range path {
		fmt.Fprintf(&b, "%#v.", p)
	}
	return b.String()
}
