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

// documentKeys are the keys that mean something in a manifest or index.
var documentKeys = keySet("schemaVersion", "mediaType", "artifactType", "config", "layers", "manifests", "subject",
	"annotations", "fsLayers", "digest", "size", "urls", "data", "platform", "architecture", "os", "os.version",
	"os.features", "variant")

// freeDocumentKeys hold objects whose keys are free to choose.
var freeDocumentKeys = map[string]bool{"annotations": true}

// configKeys are the keys that mean something in an image configuration.
var configKeys = keySet("created", "author", "architecture", "os", "os.version", "os.features", "variant", "config",
	"rootfs", "history", "type", "diff_ids", "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes",
	"WorkingDir", "Labels", "StopSignal", "ArgsEscaped")

var freeConfigKeys = map[string]bool{"Labels": true, "Volumes": true, "ExposedPorts": true}

// keySet maps the folded form of each key to the key.
func keySet(keys ...string) map[string]string {
	set := make(map[string]string, len(keys))
	for _, k := range keys {
		set[fold(k)] = k
	}
	return set
}

// fold brings keys that encoding/json takes for each other to one form:
// letters by case, and the two non-ASCII letters that fold to ASCII ones.
func fold(key string) string {
	return strings.NewReplacer("ſ", "s", "\u212a", "k").Replace(strings.ToLower(key))
}

// unmarshal decodes one JSON value after checking size, encoding, depth and
// keys.
func unmarshal(content []byte, into any, known map[string]string, free map[string]bool) error {
	switch {
	case len(content) > MaxDocument:
		return fmt.Errorf("%d bytes; the limit is %d", len(content), MaxDocument)
	case !utf8.Valid(content):
		return errors.New("not JSON: it isn't UTF-8")
	}
	s := scanner{dec: json.NewDecoder(bytes.NewReader(content)), known: known, free: free}
	if err := s.scan(); err != nil {
		return err
	}
	if err := json.Unmarshal(content, into); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return fmt.Errorf("not JSON at byte %d: %w", syntax.Offset, err)
		}
		return fmt.Errorf("JSON of another shape: %w", err)
	}
	return nil
}

// scanner reads through a JSON value without building it.
type scanner struct {
	dec   *json.Decoder
	known map[string]string
	free  map[string]bool
	stack []level
}

// level is an object or array that is open.
type level struct {
	keys map[string]bool // nil for an array
	free bool
	key  string // the key whose value comes next; "" when a key comes next
	want bool   // a key comes next
}

func (s *scanner) scan() error {
	for {
		tok, err := s.dec.Token()
		if errors.Is(err, io.EOF) && len(s.stack) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("not JSON at byte %d: %w", s.dec.InputOffset(), err)
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
			return s.push(level{keys: map[string]bool{}, want: true, free: top != nil && s.free[top.key]})
		case '[':
			return s.push(level{})
		}
		s.stack = s.stack[:len(s.stack)-1]
		s.valueDone()
		return nil
	}
	if top == nil || top.keys == nil || !top.want {
		s.valueDone()
		return nil
	}
	key, _ := tok.(string) // encoding/json lets nothing else be a key
	if top.keys[key] {
		return fmt.Errorf("the key %q is there twice", key)
	}
	if k, ok := s.known[fold(key)]; ok && k != key && !top.free {
		return fmt.Errorf("the key %q differs from %q in case only", key, k)
	}
	top.keys[key] = true
	top.key, top.want = key, false
	return nil
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

func (s *scanner) valueDone() {
	if top := s.top(); top != nil && top.keys != nil {
		top.key, top.want = "", true
	}
}
