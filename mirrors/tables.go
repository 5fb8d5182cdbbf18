package mirrors

import (
	"fmt"
	"maps"
	"slices"
)

// table is a table of a TOML file.
type table struct {
	file   tomlFile
	path   []any
	values map[string]any
}

// root returns the table that is the whole file.
func (f tomlFile) root() table { return table{f, nil, f.doc.Root()} }

// from returns FILE:LINE of a key of t, or of t itself where it hasn't that key.
func (t table) from(key string) string { return t.file.from(within(t.path, key)...) }

// self returns FILE:LINE of t.
func (t table) self() string { return t.file.from(t.path...) }

// fail returns an error about a key.
func (t table) fail(key, format string, args ...any) error {
	return t.file.fail(within(t.path, key), key+": "+format, args...)
}

// wrong says that a key has a value of another type than what.
func (t table) wrong(key, what string) error {
	return t.fail(key, "is %s, want %s", typeName(t.values[key]), what)
}

// text returns the string at key, or "".
func (t table) text(key string) (string, error) {
	switch v := t.values[key].(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	}
	return "", t.wrong(key, "a string")
}

// boolean returns the boolean at key, and whether there is one.
func (t table) boolean(key string) (value, set bool, err error) {
	switch v := t.values[key].(type) {
	case nil:
		return false, false, nil
	case bool:
		return v, true, nil
	}
	return false, false, t.wrong(key, "true or false")
}

// texts returns the list of strings at key; nil where there is none.
func (t table) texts(key string) ([]string, error) {
	switch v := t.values[key].(type) {
	case nil:
		return nil, nil
	case []any:
		if list, ok := stringList(v); ok {
			return list, nil
		}
	}
	return nil, t.wrong(key, "a list of strings")
}

// sub returns the table at key; one without values where there is none.
func (t table) sub(key string) (table, error) {
	sub := table{file: t.file, path: within(t.path, key)}
	switch v := t.values[key].(type) {
	case nil:
		return sub, nil
	case map[string]any:
		sub.values = v
		return sub, nil
	}
	return sub, t.wrong(key, "a table")
}

// tables returns the list of tables at key.
func (t table) tables(key string) ([]table, error) {
	var list []map[string]any
	switch v := t.values[key].(type) {
	case nil:
	case []map[string]any:
		list = v
	case []any: // an empty list
		if len(v) > 0 {
			return nil, t.wrong(key, "a list of tables")
		}
	default:
		return nil, t.wrong(key, "a list of tables")
	}
	all := make([]table, len(list))
	for i, values := range list {
		all[i] = table{t.file, within(t.path, key, i), values}
	}
	return all, nil
}

// known notes the keys of t that aren't among keys.
func (t table) known(keys ...string) {
	for _, key := range slices.Sorted(maps.Keys(t.values)) {
		if !slices.Contains(keys, key) {
			t.file.note(Note{t.from(key), fmt.Sprintf("passed over: %s is not a known key", clip(key))})
		}
	}
}

// stringList returns a list all of whose elements are strings.
func stringList(list []any) ([]string, bool) {
	all := make([]string, len(list))
	for i, v := range list {
		s, ok := v.(string)
		if !ok {
			return nil, false
		}
		all[i] = s
	}
	return all, true
}

// typeName says what a value of TOML is.
func typeName(v any) string {
	switch v.(type) {
	case string:
		return "a string"
	case bool:
		return "a boolean"
	case int64, float64:
		return "a number"
	case map[string]any:
		return "a table"
	case []any, []map[string]any:
		return "a list"
	}
	return "a date or time"
}
