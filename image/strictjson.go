package image

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
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
	max     int64
	members int
	// list is the member of the document that is a list to be read an entry at a
	// time; empty where there is none.
	list string
	// extension is a member, of the document or of the list's entries, whose places
	// are wanted; empty where there is none.
	extension string
}

// with is the schema with places of an extension wanted, which may be nil.
func (s schema) with(x *Extension) schema {
	if x != nil {
		s.extension = x.Member
	}
	return s
}

var documentSchema = newSchema(MaxDocument, MaxMembers, "manifests", []string{"config", "layers", "manifests", "subject", "platform"},
	"schemaVersion", "mediaType", "artifactType", "annotations", "fsLayers", "digest", "size", "urls", "data",
	"architecture", "os", "os.version", "os.features", "variant")

var configSchema = newSchema(MaxConfig, MaxConfig, "", []string{"config", "rootfs"},
	"created", "author", "architecture", "os", "os.version", "os.features", "variant", "history", "type", "diff_ids",
	"User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels", "StopSignal", "ArgsEscaped")

func newSchema(most int64, members int, list string, nested []string, keys ...string) schema {
	s := schema{keys: map[string]string{}, nested: map[string]bool{}, max: most, members: members, list: list}
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

var errNotUTF8 = errors.New("not JSON: it isn't UTF-8")

// unmarshal decodes one JSON value after checking size, encoding, depth and keys:
// all but the schema's list, which is left empty and returned.
func unmarshal(content io.ReaderAt, size int64, into any, sch schema) (*entries, error) {
	if size > sch.max {
		return nil, tooLarge(size, sch.max)
	}
	if err := checkUTF8(content, size); err != nil {
		return nil, err
	}
	s := scanner{dec: json.NewDecoder(io.NewSectionReader(content, 0, size)), schema: sch}
	s.dec.UseNumber() // numbers needn't fit anything yet
	if err := s.scan(); err != nil {
		return nil, err
	}
	rest, err := readSpan(content, span{0, size - s.list.len()})
	if err != nil {
		return nil, err
	}
	if s.list.len() > 0 {
		tail, err := readSpan(content, span{s.list.to, size})
		if err != nil {
			return nil, err
		}
		copy(rest[s.list.from:], tail)
	}
	if err := json.Unmarshal(rest, into); err != nil {
		return nil, notShape(err, s.list)
	}
	return &entries{content: content, at: s.entries, ext: members{content: content, own: s.own, at: s.members}}, nil
}

// notShape is the error for JSON that doesn't fit a type, and from which a part of
// the document was left out. encoding/json repeats the value at fault, however long.
func notShape(err error, out span) error {
	at := func(offset int64) int64 {
		if offset > out.from {
			offset += out.len()
		}
		return offset
	}
	var syntax *json.SyntaxError
	var shape *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("not JSON at byte %d: %w", at(syntax.Offset), err)
	case errors.As(err, &shape):
		return fmt.Errorf("JSON of another shape at byte %d: %s can't be %s", at(shape.Offset), where(shape.Field), clip(shape.Value))
	}
	return fmt.Errorf("JSON of another shape: %s", clip(err.Error()))
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
	dec     *json.Decoder
	schema  schema
	stack   []level
	list    span      // what is between the brackets of the schema's list
	entries []offsets // of that list
	own     *member   // where the schema's extension stands in the document
	members []member  // and where in the entries
}

// level is an object or array that is open.
type level struct {
	keys    map[string]bool // those seen; nil for an array
	checked bool            // whether the schema speaks of this object, or those in this array
	key     string          // the key whose value comes next
	wantKey bool            // a key comes next
	value   uint32          // where that value begins, or the colon before it
	values  int             // in this array so far
	list    bool            // it is the schema's list
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
	top := s.top()
	if delim, ok := tok.(json.Delim); ok {
		switch delim {
		case '{':
			if top != nil && top.list {
				s.entries = append(s.entries, offsets{from: uint32(s.dec.InputOffset()) - 1})
			}
			return s.push(level{keys: map[string]bool{}, checked: s.checkedBelow(), wantKey: true})
		case '[':
			list := len(s.stack) == 1 && top.key == s.schema.list && s.schema.list != ""
			if list {
				s.list.from = s.dec.InputOffset()
			}
			return s.push(level{checked: s.checkedBelow(), list: list})
		}
		s.closed(*top)
		return s.valueDone()
	}
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
	top.value = uint32(s.dec.InputOffset())
	return nil
}

// closed takes what ends off the stack, and notes where that is of the schema's
// list and of an entry of it.
func (s *scanner) closed(l level) {
	s.stack = s.stack[:len(s.stack)-1]
	if l.list {
		s.list.to = s.dec.InputOffset() - 1
	}
	if top := s.top(); top != nil && top.list && l.keys != nil {
		s.entries[len(s.entries)-1].to = uint32(s.dec.InputOffset())
	}
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
		s.valueOf(*top)
		top.key, top.wantKey = "", true
	default:
		if top.values++; top.values > MaxDescriptors {
			return fmt.Errorf("a list of more than %d; that is the limit for descriptors", MaxDescriptors)
		}
		if top.list && top.values != len(s.entries) {
			return fmt.Errorf("%s isn't an object", place{s.schema.list, top.values - 1})
		}
	}
	return nil
}

// valueOf notes where the value that has ended is, where that is the schema's
// extension.
func (s *scanner) valueOf(l level) {
	if l.key != s.schema.extension || s.schema.extension == "" {
		return
	}
	m := member{entry: int32(len(s.entries)) - 1, from: l.value, to: uint32(s.dec.InputOffset())}
	switch {
	case len(s.stack) == 1:
		m.entry = -1
		s.own = &m
	case len(s.stack) == 3 && s.stack[1].list:
		s.members = append(s.members, m)
	}
}
