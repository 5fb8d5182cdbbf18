package image

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// encoding/json matches keys without regard to case and lets the last of
// several duplicates win, where other readers are exact and take the first. A
// document that exploits this is one thing here and another elsewhere, so it
// is refused before it is decoded.

// schema says where encoding/json will look for which keys.
type schema struct {
	// keys maps the folded form of each key that means something to the key.
	keys map[string]string
	// nested are the keys below which objects are looked into; keys
	// elsewhere are free.
	nested map[string]bool
	// max is the largest document, in bytes, and members how many an object in it
	// may have.
	max, members int
}

var documentSchema = newSchema(MaxDocument, MaxMembers, []string{"config", "layers", "manifests", "subject", "platform"},
	"schemaVersion", "mediaType", "artifactType", "annotations", "fsLayers", "digest", "size", "urls", "data",
	"architecture", "os", "os.version", "os.features", "variant")

var configSchema = newSchema(MaxConfig, MaxConfig, []string{"config", "rootfs"},
	"created", "author", "architecture", "os", "os.version", "os.features", "variant", "history", "type", "diff_ids",
	"User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal", "ArgsEscaped")

func newSchema(most, members int, nested []string, keys ...string) schema {
	s := schema{keys: map[string]string{}, nested: map[string]bool{}, max: most, members: members}
	for _, k := range nested {
		s.nested[k] = true
		s.keys[fold(k)] = k
	}
	for _, k := range keys {
		s.keys[fold(k)] = k
	}
	return s
}

// fold brings keys that encoding/json takes for each other to one form:
// letters by case, and "ſ", which folds to "s" (strings.ToLower sees to the
// Kelvin sign).
func fold(key string) string {
	return strings.ReplaceAll(strings.ToLower(key), "ſ", "s")
}

// unmarshal decodes one JSON value after checking size, encoding, depth and
// keys.
func unmarshal(content []byte, into any, sch schema) error {
	switch {
	case len(content) > sch.max:
		return fmt.Errorf("%d bytes; the limit is %d", len(content), sch.max)
	case !utf8.Valid(content):
		return errors.New("not JSON: it isn't UTF-8")
	}
	s := scanner{dec: json.NewDecoder(bytes.NewReader(content)), schema: sch}
	s.dec.UseNumber() // numbers needn't fit anything yet
	if err := s.scan(); err != nil {
		return err
	}
	if err := json.Unmarshal(content, into); err != nil {
		// encoding/json repeats the value at fault, however long.
		var syntax *json.SyntaxError
		var shape *json.UnmarshalTypeError
		switch {
		case errors.As(err, &syntax):
			return fmt.Errorf("not JSON at byte %d: %w", syntax.Offset, err)
		case errors.As(err, &shape):
			return fmt.Errorf("JSON of another shape at byte %d: %s can't be %s", shape.Offset, where(shape.Field), clip(shape.Value))
		}
		return fmt.Errorf("JSON of another shape: %s", clip(err.Error()))
	}
	return nil
}

// where names the field of a document that is at fault.
func where(field string) string {
	if field == "" {
		return "the document"
	}
	return clip(field)
}

// scanner reads through a JSON value without building it.
type scanner struct {
	dec    *json.Decoder
	schema schema
	stack  []level
}

// level is an object or array that is open.
type level struct {
	keys    map[string]bool // those seen; nil for an array
	checked bool            // whether the schema speaks of this object, or those in this array
	key     string          // the key whose value comes next
	wantKey bool            // a key comes next
	values  int             // in this array so far
}

func (s *scanner) scan() error {
	for {
		tok, err := s.dec.Token()
		if errors.Is(err, io.EOF) && len(s.stack) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("not JSON at byte %d: %s", s.dec.InputOffset(), clip(err.Error()))
		}
		if err := s.token(tok); err != nil {
			return fmt.Errorf("at byte %d: %w", s.dec.InputOffset(), err)
		}
	}
}

func (s *scanner) token(tok json.Token) error {
	if delim, ok := tok.(json.Delim); ok {
		switch delim {
		case '{':
			return s.push(level{keys: map[string]bool{}, checked: s.checkedBelow(), wantKey: true})
		case '[':
			return s.push(level{checked: s.checkedBelow()})
		}
		s.stack = s.stack[:len(s.stack)-1]
		return s.valueDone()
	}
	top := s.top()
	if top == nil || !top.wantKey {
		return s.valueDone()
	}
	key, _ := tok.(string) // encoding/json lets nothing else be a key
	if top.keys[key] {
		return fmt.Errorf("the key %q is there twice", clip(key))
	}
	if known, ok := s.schema.keys[fold(key)]; ok && known != key && top.checked {
		return fmt.Errorf("the key %q differs from %q in case only", key, known)
	}
	if len(top.keys) == s.schema.members {
		return fmt.Errorf("an object of more than %d members; that is the limit", s.schema.members)
	}
	top.keys[key] = true
	top.key, top.wantKey = key, false
	return nil
}

// checkedBelow reports whether the schema speaks of the value that comes next.
func (s *scanner) checkedBelow() bool {
	top := s.top()
	return top == nil || top.checked && (top.keys == nil || s.schema.nested[top.key])
}

func (s *scanner) top() *level {
	if len(s.stack) == 0 {
		return nil
	}
	return &s.stack[len(s.stack)-1]
}

func (s *scanner) push(l level) error {
	if len(s.stack) == MaxJSONDepth {
		return fmt.Errorf("JSON nested deeper than %d", MaxJSONDepth)
	}
	s.stack = append(s.stack, l)
	return nil
}

// valueDone notes that a value is complete. Arrays are capped here already,
// because what "{}" decodes to is a hundred times as large.
func (s *scanner) valueDone() error {
	top := s.top()
	switch {
	case top == nil:
	case top.keys != nil:
		top.key, top.wantKey = "", true
	default:
		if top.values++; top.values > MaxDescriptors {
			return fmt.Errorf("a list of more than %d; that is the limit for descriptors", MaxDescriptors)
		}
	}
	return nil
}
