package oci

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
)

// regexps is what a document of [MediaTypeRegexpRefEngines] holds: documents of
// [MediaTypeRefEngines] by the expression that names have to match. They are
// parsed when one does.
type regexps map[string]json.RawMessage

// parseRegexps reads one.
func parseRegexps(content []byte) (regexps, error) {
	if len(content) > MaxDocument {
		return nil, tooLarge()
	}
	r, err := newReader(content)
	if err != nil {
		return nil, err
	}
	all := regexps{}
	err = r.Object(func(key string) (err error) {
		all[key], err = r.Raw()
		return err
	})
	return all, err
}

// match returns those of the keys that match name: the longest first, ties in
// byte order (xdg-ref-engine-discovery.md, "Regexp ref-engines objects"). A key
// that can't be used is told to note.
func match[V any](keys map[string]V, name string, note func(key, text string)) []string {
	sorted := slices.SortedFunc(maps.Keys(keys), func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	left := MaxExpressionsSize
	var matching []string
	for _, key := range sorted {
		re, size, err := compile(key, left)
		if err != nil {
			note(key, err.Error()+"; ignored")
			continue
		}
		left -= size
		if re.MatchString(name) {
			matching = append(matching, key)
		}
	}
	return matching
}

// compile compiles a POSIX extended regular expression whose size is at most
// left. Matching takes time in proportion to that size and the length of the
// name, whatever the expression.
func compile(key string, left int) (*regexp.Regexp, int, error) {
	if len(key) > MaxExpression {
		return nil, 0, fmt.Errorf("an expression of %d bytes; the limit is %d", len(key), MaxExpression)
	}
	tree, err := syntax.Parse(key, syntax.POSIX)
	if err != nil {
		return nil, 0, fmt.Errorf("not a POSIX extended regular expression: %w", err)
	}
	n := size(tree)
	switch {
	case n > MaxExpressionSize:
		return nil, 0, fmt.Errorf("an expression of more than %d states, its repetitions written out; that is the limit", MaxExpressionSize)
	case n > left:
		return nil, 0, fmt.Errorf("expressions of more than %d states together; that is the limit", MaxExpressionsSize)
	}
	re, err := regexp.CompilePOSIX(key)
	if err != nil {
		return nil, 0, fmt.Errorf("not a POSIX extended regular expression: %w", err)
	}
	return re, n, nil
}

// size returns about how many states an expression has, its repetitions written
// out. It stops counting above the limit.
func size(re *syntax.Regexp) int {
	n := 1
	if re.Op == syntax.OpLiteral {
		n = len(re.Rune)
	}
	for _, sub := range re.Sub {
		n = min(n+size(sub), MaxExpressionSize+1)
	}
	if re.Op == syntax.OpRepeat {
		times := max(re.Min+1, re.Max, 1)
		n = min(n*times, MaxExpressionSize+1)
	}
	return min(n, MaxExpressionSize+1)
}
