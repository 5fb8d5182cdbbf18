package metalink

import (
	"bytes"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/blobdigest"
)

// hashNames are the names of hash functions (the IANA registry that RFC 5854
// §4.2.4 refers to) whose digests descriptors may use.
var hashNames = map[string]digest.Algorithm{"sha-256": blobdigest.SHA256, "sha-512": blobdigest.SHA512}

// Parse reads a metalink. What is wrong with one entry costs that entry, and is
// told to note (which may be nil); what is unknown is passed over. A document type
// declaration is refused, with all that entities can do.
func Parse(content []byte, note func(string)) ([]File, error) {
	if len(content) > MaxDocument {
		return nil, fmt.Errorf("a metalink of %d bytes; the limit is %d", len(content), MaxDocument)
	}
	if note == nil {
		note = func(string) {}
	}
	p := &parser{dec: xml.NewDecoder(bytes.NewReader(content)), note: note}
	if err := p.document(); err != nil {
		line, _ := p.dec.InputPos()
		return nil, fmt.Errorf("line %d: %w", line, err)
	}
	return p.files, nil
}

// parser reads a document token by token.
type parser struct {
	dec   *xml.Decoder
	note  func(string)
	depth int
	files []File
}

// document reads all of it.
func (p *parser) document() error {
	rooted := false
	for {
		tok, err := p.token()
		if errors.Is(err, io.EOF) {
			if !rooted {
				return errors.New("no metalink: there is no element")
			}
			return nil
		}
		if err != nil {
			return err
		}
		root, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		if rooted { // the decoder takes several
			return errors.New("a second root element")
		}
		rooted = true
		if root.Name.Space != Namespace || root.Name.Local != "metalink" {
			return fmt.Errorf("the root is %q of %q; want metalink of %s", clip(root.Name.Local), clip(root.Name.Space), Namespace)
		}
		if err := p.children(func(e xml.StartElement) error {
			if e.Name.Local != "file" {
				return p.skip()
			}
			return p.file(e)
		}); err != nil {
			return err
		}
	}
}

// token returns the next token, with all limits on elements enforced.
func (p *parser) token() (xml.Token, error) {
	tok, err := p.dec.Token()
	if err != nil {
		if errors.Is(err, io.EOF) {
			return nil, err
		}
		return nil, fmt.Errorf("not XML: %s", clip(err.Error()))
	}
	switch tok := tok.(type) {
	case xml.Directive:
		return nil, errors.New("a document type declaration, which is refused")
	case xml.StartElement:
		if p.depth++; p.depth > MaxDepth {
			return nil, fmt.Errorf("elements nested deeper than the limit of %d", MaxDepth)
		}
		if len(tok.Attr) > MaxAttributes {
			return nil, fmt.Errorf("an element of %d attributes; the limit is %d", len(tok.Attr), MaxAttributes)
		}
		for _, a := range tok.Attr {
			if len(a.Value) > MaxText {
				return nil, fmt.Errorf("an attribute of %d bytes; the limit is %d", len(a.Value), MaxText)
			}
		}
	case xml.EndElement:
		p.depth--
	}
	return tok, nil
}

// children reads the elements of the namespace below the one just begun, up to
// its end. each reads one, to its end.
func (p *parser) children(each func(xml.StartElement) error) error {
	for {
		tok, err := p.token()
		if err != nil {
			return unexpected(err)
		}
		switch tok := tok.(type) {
		case xml.EndElement:
			return nil
		case xml.StartElement:
			read := each
			if tok.Name.Space != Namespace {
				read = func(xml.StartElement) error { return p.skip() }
			}
			if err := read(tok); err != nil {
				return err
			}
		}
	}
}

// skip reads the element just begun to its end.
func (p *parser) skip() error {
	for outside := p.depth - 1; p.depth > outside; {
		if _, err := p.token(); err != nil {
			return unexpected(err)
		}
	}
	return nil
}

// text reads the text of the element just begun, to its end. It has no elements.
func (p *parser) text(of string) (string, error) {
	var text []byte
	for {
		tok, err := p.token()
		if err != nil {
			return "", unexpected(err)
		}
		switch tok := tok.(type) {
		case xml.CharData:
			if text = append(text, tok...); len(text) > MaxText {
				return "", fmt.Errorf("%s: a text of more than the limit of %d bytes", of, MaxText)
			}
		case xml.StartElement:
			return "", fmt.Errorf("%s: an element where text is wanted", of)
		case xml.EndElement:
			return strings.TrimSpace(string(text)), nil
		}
	}
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return errors.New("not XML: it ends in the middle")
	}
	return err
}

// file reads a file element.
func (p *parser) file(e xml.StartElement) error {
	if len(p.files) == MaxFiles {
		return fmt.Errorf("more files than the limit of %d", MaxFiles)
	}
	f := File{Name: attribute(e, "name"), Size: -1}
	err := p.children(func(e xml.StartElement) error {
		switch e.Name.Local {
		case "size":
			return p.size(&f)
		case "hash":
			return p.hash(e, &f)
		case "pieces":
			return p.pieces(e, &f)
		case "url", "metaurl":
			return p.url(e, &f)
		}
		return p.skip()
	})
	if err != nil {
		return err
	}
	if f.Pieces != nil && f.Size >= 0 && !f.Pieces.Cover(f.Size) {
		p.note(fmt.Sprintf("file %q: pieces not used: %d of %d bytes don't make %d", clip(f.Name), len(f.Pieces.Hashes), f.Pieces.Length, f.Size))
		f.Pieces = nil
	}
	p.files = append(p.files, f)
	return nil
}

func (p *parser) size(f *File) error {
	text, err := p.text("size")
	if err != nil {
		return err
	}
	size, err := strconv.ParseInt(text, 10, 64)
	if err != nil || size < 0 || f.Size >= 0 {
		return fmt.Errorf("file %q: %q is no size, or a second one", clip(f.Name), clip(text))
	}
	f.Size = size
	return nil
}

// hash reads the hash of the whole file. Two that contradict each other are for
// the reader to find: the digest asked for is among them or isn't.
func (p *parser) hash(e xml.StartElement, f *File) error {
	text, err := p.text("hash")
	if err != nil {
		return err
	}
	algorithm, ok := hashNames[attribute(e, "type")]
	if !ok {
		return nil
	}
	d := digest.NewDigestFromEncoded(algorithm, strings.ToLower(text))
	if blobdigest.Validate(d) != nil {
		p.note(fmt.Sprintf("file %q: %q is no hash of type %s", clip(f.Name), clip(text), attribute(e, "type")))
		return nil
	}
	if len(f.Digests) == MaxURLs {
		return fmt.Errorf("file %q: more hashes than the limit of %d", clip(f.Name), MaxURLs)
	}
	f.Digests = append(f.Digests, d)
	return nil
}

// pieces reads the hashes of parts. Those of other types than sha-256 are passed
// over.
func (p *parser) pieces(e xml.StartElement, f *File) error {
	if attribute(e, "type") != "sha-256" {
		return p.skip()
	}
	if f.Pieces != nil {
		return fmt.Errorf("file %q: pieces of type sha-256 twice", clip(f.Name))
	}
	length, err := strconv.ParseInt(attribute(e, "length"), 10, 64)
	if err != nil || length <= 0 {
		return fmt.Errorf("file %q: %q is no length of pieces", clip(f.Name), clip(attribute(e, "length")))
	}
	pieces := &Pieces{Length: length}
	err = p.children(func(e xml.StartElement) error {
		if e.Name.Local != "hash" {
			return p.skip()
		}
		text, err := p.text("hash of a piece")
		if err != nil {
			return err
		}
		hash, err := hex.DecodeString(text)
		if err != nil || len(hash) != blobdigest.SHA256.Size() {
			return fmt.Errorf("file %q: %q is no sha-256 hash of a piece", clip(f.Name), clip(text))
		}
		pieces.Hashes = append(pieces.Hashes, hash)
		return nil
	})
	f.Pieces = pieces
	return err
}

// url reads a url or metaurl element.
func (p *parser) url(e xml.StartElement, f *File) error {
	what := e.Name.Local
	text, err := p.text(what)
	if err != nil {
		return err
	}
	if len(f.URLs)+len(f.MetaURLs) == MaxURLs {
		return fmt.Errorf("file %q: more urls than the limit of %d", clip(f.Name), MaxURLs)
	}
	u := URL{URI: text, Location: attribute(e, "location")}
	if u.Priority, err = parsePriority(attribute(e, "priority")); err != nil {
		p.note(fmt.Sprintf("file %q: a %s not used: %v", clip(f.Name), what, err))
		return nil
	}
	if what == "url" {
		f.URLs = append(f.URLs, u)
		return nil
	}
	f.MetaURLs = append(f.MetaURLs, MetaURL{URL: u, MediaType: attribute(e, "mediatype"), Name: attribute(e, "name")})
	return nil
}

// parsePriority reads a priority; none is the least.
func parsePriority(text string) (int, error) {
	if text == "" {
		return LeastPriority, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > LeastPriority {
		return 0, fmt.Errorf("priority %q isn't from 1 to %d", clip(text), LeastPriority)
	}
	return n, nil
}

// attribute returns the value of an attribute without a namespace, or "".
func attribute(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Space == "" && a.Name.Local == name {
			return strings.TrimSpace(a.Value)
		}
	}
	return ""
}

// clip keeps short what errors and notes repeat.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
