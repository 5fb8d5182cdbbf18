package abd

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Caps on names.
const (
	// MaxIdentifier is the longest identifier, in bytes: a DNS name's limit.
	MaxIdentifier = 253
	// MaxSegments is how many parts an identifier may have.
	MaxSegments = 16
	// MaxLabels is how many labels a name or entry may have.
	MaxLabels = 64
	// MaxLabel is the longest key or value of a label, in bytes.
	MaxLabel = 1024
)

// Name is what is looked for.
type Name struct {
	// Identifier is the reverse DNS name: com.coreos.etcd.
	Identifier string
	// Labels are what an entry must have. May be nil.
	Labels map[string]string
}

// Parse reads IDENTIFIER[,label=value…]. An identifier is segments of letters,
// digits, '-' and '_' with single dots between them. A value is all that stands
// between the first '=' and the next comma, taken as it is: nothing in it is
// decoded. The error is one line.
func Parse(s string) (Name, error) {
	fail := func(format string, args ...any) (Name, error) {
		return Name{}, fmt.Errorf("abd name %q: %s", clip(s), fmt.Sprintf(format, args...))
	}
	identifier, rest, labelled := strings.Cut(s, ",")
	if err := checkIdentifier(identifier); err != nil {
		return fail("%v", err)
	}
	n := Name{Identifier: identifier}
	if !labelled {
		return n, nil
	}
	n.Labels = map[string]string{}
	for label := range strings.SplitSeq(rest, ",") {
		key, value, ok := strings.Cut(label, "=")
		if !ok || key == "" {
			return fail("%q is no label; write KEY=VALUE", clip(label))
		}
		if _, twice := n.Labels[key]; twice {
			return fail("label %q is there twice", clip(key))
		}
		if len(n.Labels) == MaxLabels {
			return fail("more than %d labels", MaxLabels)
		}
		if err := checkLabel(key, value); err != nil {
			return fail("%v", err)
		}
		n.Labels[key] = value
	}
	return n, nil
}

func checkIdentifier(s string) error {
	switch {
	case s == "":
		return fmt.Errorf("no identifier; write one such as com.example.app")
	case len(s) > MaxIdentifier:
		return fmt.Errorf("the identifier is %d bytes long; the limit is %d", len(s), MaxIdentifier)
	}
	for i, r := range s {
		if !alphanumeric(r) && !strings.ContainsRune("._-", r) {
			return fmt.Errorf("character %d is %q; an identifier is letters, digits, '-', '_' and dots", utf8.RuneCountInString(s[:i])+1, r)
		}
	}
	segments := strings.Split(s, ".")
	if len(segments) > MaxSegments {
		return fmt.Errorf("%d segments; the limit is %d", len(segments), MaxSegments)
	}
	for _, seg := range segments {
		if seg == "" || !alphanumeric(rune(seg[0])) || !alphanumeric(rune(seg[len(seg)-1])) {
			return fmt.Errorf("segment %q; each begins and ends with a letter or digit", seg)
		}
	}
	return nil
}

func checkLabel(key, value string) error {
	switch {
	case len(key) > MaxLabel || len(value) > MaxLabel:
		return fmt.Errorf("label %q is longer than %d bytes", clip(key), MaxLabel)
	case !utf8.ValidString(key) || !utf8.ValidString(value) || strings.ContainsFunc(key+value, unicode.IsControl):
		return fmt.Errorf("label %q isn't printable text", clip(key))
	}
	return nil
}

func alphanumeric(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
}

// String returns the name as [Parse] reads it, labels sorted.
func (n Name) String() string {
	var b strings.Builder
	b.WriteString(n.Identifier)
	for _, key := range slices.Sorted(maps.Keys(n.Labels)) {
		b.WriteString("," + key + "=" + n.Labels[key])
	}
	return b.String()
}

// clip keeps short what is repeated of names and documents.
func clip(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
