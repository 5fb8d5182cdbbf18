package appc

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Caps on names.
const (
	// MaxName is the longest name, without labels, in bytes.
	MaxName = 512
	// MaxPath is how many parts a name may have: each may be asked.
	MaxPath = 16
	// MaxLabels is how many labels it may have.
	MaxLabels = 64
	// MaxLabel is the longest value of a label, in bytes.
	MaxLabel = 1024
)

// identifier is an AC Identifier (spec/types.md).
var identifier = regexp.MustCompile(`^[a-z0-9]+([-._~/][a-z0-9]+)*$`)

// Name is what is looked for.
type Name struct {
	// Name is like a URL without scheme: example.com/reduce-worker.
	Name string
	// Labels are the attributes to choose by. May be nil.
	Labels map[string]string
}

// Parse reads NAME[:VERSION][,label=value…]. A value is all between the first
// '=' and the next comma, taken as it is; a colon may only stand behind the
// name. The error is one line.
func Parse(s string) (Name, error) {
	fail := func(format string, args ...any) (Name, error) {
		return Name{}, fmt.Errorf("appc name %q: %s", clip(s), fmt.Sprintf(format, args...))
	}
	first, rest, labelled := strings.Cut(s, ",")
	id, version, versioned := strings.Cut(first, ":")
	switch {
	case id == "":
		return fail("it is empty; write one such as example.com/app")
	case len(id) > MaxName:
		return fail("it is %d bytes long; the limit is %d", len(id), MaxName)
	case !identifier.MatchString(id):
		return fail("not an AC Identifier: a-z and 0-9 with single '-', '.', '_', '~' or '/' between them")
	case strings.Count(id, "/") >= MaxPath:
		return fail("more than %d parts", MaxPath)
	case strings.ContainsAny(strings.Split(id, "/")[0], "_~"):
		return fail("its first part is no host name")
	case strings.Contains(version+rest, ":"):
		return fail("a colon may only stand once, behind the name")
	}
	n := Name{Name: id}
	if versioned {
		n.Labels = map[string]string{"version": version}
		if err := checkValue("version", version); err != nil {
			return fail("%v", err)
		}
	}
	if !labelled {
		return n, nil
	}
	if err := n.addLabels(rest); err != nil {
		return fail("%v", err)
	}
	return n, nil
}

func (n *Name) addLabels(list string) error {
	if n.Labels == nil {
		n.Labels = map[string]string{}
	}
	for label := range strings.SplitSeq(list, ",") {
		key, value, ok := strings.Cut(label, "=")
		switch {
		case !ok:
			return fmt.Errorf("%q is no label; write KEY=VALUE", clip(label))
		case len(key) > MaxName || !identifier.MatchString(key):
			return fmt.Errorf("label %q is no AC Identifier", clip(key))
		case len(n.Labels) == MaxLabels:
			return fmt.Errorf("more than %d labels", MaxLabels)
		}
		if _, twice := n.Labels[key]; twice {
			return fmt.Errorf("label %q is there twice", clip(key))
		}
		if err := checkValue(key, value); err != nil {
			return err
		}
		n.Labels[key] = value
	}
	return nil
}

func checkValue(key, value string) error {
	switch {
	case value == "" && key == "version":
		return errors.New("nothing follows the colon; write a version, or leave the colon out")
	case len(value) > MaxLabel:
		return fmt.Errorf("label %q is longer than %d bytes", key, MaxLabel)
	case !utf8.ValidString(value) || strings.ContainsFunc(value, unicode.IsControl):
		return fmt.Errorf("label %q isn't printable text", key)
	}
	return nil
}

// String returns the name as [Parse] reads it, labels sorted.
func (n Name) String() string {
	var b strings.Builder
	b.WriteString(n.Name)
	if v, ok := n.Labels["version"]; ok && v != "" {
		b.WriteString(":" + v)
	}
	for _, key := range slices.Sorted(maps.Keys(n.Labels)) {
		if v := n.Labels[key]; key != "version" || v == "" {
			b.WriteString("," + key + "=" + v)
		}
	}
	return b.String()
}

// URLs returns the discovery URLs, in the order in which they are asked.
func (n Name) URLs() []string {
	var urls []string
	for at := n.Name; ; {
		urls = append(urls, "https://"+at+"?ac-discovery=1")
		i := strings.LastIndexByte(at, '/')
		if i < 0 {
			return urls
		}
		at = at[:i]
	}
}

// clip keeps short what is repeated of names and documents.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
