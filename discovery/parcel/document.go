package parcel

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/waybill-project/waybill/discovery/target"
	"github.com/waybill-project/waybill/uritmpl"
)

// Media types of the draft.
const (
	MediaTypeDescriptor   = "application/vnd.parcel.template-descriptor.v0+json"
	MediaTypeDistribution = "application/vnd.parcel.plain-distribution.v0+json"
	// MediaTypeOpaque stands for blobs of every media type.
	MediaTypeOpaque = "application/vnd.parcel.opaque.v0"
)

// Caps on documents. Beyond one there is an error that names it.
const (
	// MaxDocument is the largest document, in bytes.
	MaxDocument = 4 << 20
	// MaxEntries is how many entries each list of a distribution may have.
	MaxEntries = 1000
	// MaxTemplates is how many templates one descriptor may have.
	MaxTemplates = 100
	// MaxNotes is how much is told about one document.
	MaxNotes = 200
	// maxMediaType is RFC 6838's limit: two names of 127 characters and a slash.
	maxMediaType = 255
)

var errNoVersions = errors.New("the list of versions is empty")

// Descriptor is a template descriptor.
type Descriptor struct {
	// MediaType is that of what the templates lead to.
	MediaType string
	// Templates are alternatives.
	Templates []*uritmpl.Template
}

// Plain is the content of a plain distribution.
type Plain struct {
	Indexes, Blobs []Descriptor
}

// ParseDescriptor reads a template descriptor of the discovery stage. note is
// told of each template that isn't usable; a descriptor without a usable one
// is an error.
func ParseDescriptor(content []byte, note func(text string)) (Descriptor, error) {
	return parseDescriptor(content, discoveryVariables, note)
}

func parseDescriptor(content []byte, known []string, note func(string)) (Descriptor, error) {
	o, err := readObject(content)
	if err != nil {
		return Descriptor{}, err
	}
	var d Descriptor
	if err := o.read("mediaType", &d.MediaType); err != nil {
		return Descriptor{}, err
	}
	if err := checkMediaType(d.MediaType); err != nil {
		return Descriptor{}, err
	}
	var texts []json.RawMessage
	if err := o.read("templates", &texts); err != nil {
		return Descriptor{}, err
	}
	if len(texts) > MaxTemplates {
		return Descriptor{}, fmt.Errorf("%d templates; the limit is %d", len(texts), MaxTemplates)
	}
	for i, raw := range texts {
		t, err := parseTemplate(raw, known)
		if err != nil {
			note(fmt.Sprintf("template %d skipped: %v", i+1, err))
			continue
		}
		d.Templates = append(d.Templates, t)
	}
	if len(d.Templates) == 0 {
		return Descriptor{}, errors.New("no usable template")
	}
	return d, nil
}

func parseTemplate(raw json.RawMessage, known []string) (*uritmpl.Template, error) {
	var text string
	if err := json.Unmarshal(raw, &text); err != nil || text == "" {
		return nil, errors.New("not a string")
	}
	t, err := uritmpl.Parse(text)
	if err != nil {
		return nil, err
	}
	for _, v := range t.Variables() {
		if !slices.Contains(known, v) {
			return nil, fmt.Errorf("%w %q in %q", uritmpl.ErrUndefined, clip(v), target.Shown(text))
		}
	}
	return t, nil
}

// ParseDistribution reads a plain distribution. note is told of each entry and
// template that isn't usable. One without any usable entry is an error; one
// with entries of one kind only can still locate, or resolve.
func ParseDistribution(content []byte, note func(text string)) (Plain, error) {
	note = atMost(MaxNotes, note)
	o, err := readObject(content)
	if err != nil {
		return Plain{}, err
	}
	var p Plain
	if p.Indexes, err = readEntries(o, "indexURIs", discoveryVariables, note); err != nil {
		return Plain{}, err
	}
	if p.Blobs, err = readEntries(o, "blobURIs", slices.Concat(discoveryVariables, blobVariables), note); err != nil {
		return Plain{}, err
	}
	if len(p.Indexes)+len(p.Blobs) == 0 {
		return Plain{}, errors.New("no usable entry in indexURIs and blobURIs")
	}
	return p, nil
}

func readEntries(o object, key string, known []string, note func(string)) ([]Descriptor, error) {
	var raws []json.RawMessage
	if err := o.read(key, &raws); err != nil {
		return nil, err
	}
	if len(raws) > MaxEntries {
		return nil, fmt.Errorf("%d entries in %s; the limit is %d", len(raws), key, MaxEntries)
	}
	var all []Descriptor
	for i, raw := range raws {
		where := fmt.Sprintf("%s[%d]", key, i)
		d, err := parseDescriptor(raw, known, func(text string) { note(where + ": " + text) })
		if err != nil {
			note(fmt.Sprintf("%s skipped: %v", where, err))
			continue
		}
		all = append(all, d)
	}
	return all, nil
}

// atMost returns note, deaf after n calls.
func atMost(n int, note func(string)) func(string) {
	return func(text string) {
		if n--; n >= 0 {
			note(text)
		}
	}
}

func checkMediaType(s string) error {
	switch {
	case len(s) > maxMediaType:
		return fmt.Errorf("mediaType is longer than %d bytes", maxMediaType)
	case !strings.Contains(s, "/") || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fmt.Errorf("mediaType %q is none (RFC 6838)", clip(s))
	}
	return nil
}

// object is a JSON object whose members are read one by one. The draft and its
// code disagree on upper and lower case (indexURIs, indexuris), so keys are
// taken without regard to it; one that is there twice is refused, since readers
// would differ on it.
type object map[string]json.RawMessage

func readObject(content []byte) (object, error) {
	if len(content) > MaxDocument {
		return nil, fmt.Errorf("%d bytes; the limit is %d", len(content), MaxDocument)
	}
	dec := json.NewDecoder(bytes.NewReader(content))
	if tok, err := dec.Token(); err != nil || tok != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	o := object{}
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("not JSON at byte %d", dec.InputOffset())
		}
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, fmt.Errorf("not JSON at byte %d", dec.InputOffset())
		}
		key := strings.ToLower(tok.(string))
		if o[key] != nil {
			return nil, fmt.Errorf("%q is there twice", clip(key))
		}
		o[key] = raw
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("not JSON at byte %d", dec.InputOffset())
	}
	if dec.More() {
		return nil, fmt.Errorf("something follows the object at byte %d", dec.InputOffset())
	}
	return o, nil
}

// read reads a member that has to be there.
func (o object) read(key string, into any) error {
	raw := o[strings.ToLower(key)]
	if raw == nil || bytes.Equal(raw, []byte("null")) {
		return fmt.Errorf("no %s", key)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("%s is of the wrong type", key)
	}
	return nil
}
