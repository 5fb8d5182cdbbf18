package oci

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/waybill-project/waybill/internal/strictjson"
	"github.com/waybill-project/waybill/uritmpl"
)

// Media types of discovery documents (xdg-ref-engine-discovery.md).
const (
	MediaTypeRefEngines       = "application/vnd.oci.ref-engines.v1+json"
	MediaTypeRegexpRefEngines = "application/vnd.oci.regexp-ref-engines.v1+json"
)

// Protocols that are known here (ref-engine-protocols.md, cas-engine-protocols.md).
const (
	ProtocolIndexTemplate = "oci-index-template-v1"
	ProtocolCASTemplate   = "oci-cas-template-v1"
)

// entry is an engine whose protocol is known.
type entry struct {
	where    string // as in "refEngines[2]"
	template string
}

// refEngines is what a document of [MediaTypeRefEngines] holds.
type refEngines struct {
	refs, cas []entry
}

// parseRefEngines reads one. A document of another shape is an error; an entry
// that can't be used is told to note.
func parseRefEngines(content []byte, note func(string)) (refEngines, error) {
	var doc refEngines
	if len(content) > MaxDocument {
		return doc, tooLarge()
	}
	r, err := newReader(content)
	if err != nil {
		return doc, err
	}
	err = r.Object(func(key string) error {
		switch key {
		case "refEngines":
			return readEngines(r, &doc.refs, key, ProtocolIndexTemplate, note)
		case "casEngines":
			return readEngines(r, &doc.cas, key, ProtocolCASTemplate, note)
		}
		return r.Skip()
	})
	return doc, err
}

func tooLarge() error {
	return fmt.Errorf("the document is larger than the limit of %d bytes", MaxDocument)
}

// newReader checks that content is JSON, so that nothing is told of entries in
// what isn't, and returns a reader at its beginning.
func newReader(content []byte) (*strictjson.Reader, error) {
	if err := strictjson.Check(content); err != nil {
		return nil, err
	}
	return strictjson.New(content, strictjson.Limits{Depth: MaxDepth, Members: MaxMembers})
}

// readEngines reads a list of engines, of which those of one protocol are kept.
func readEngines(r *strictjson.Reader, list *[]entry, where, protocol string, note func(string)) error {
	return r.Array("entries", MaxEntries, func(i int) error {
		at := fmt.Sprintf("%s[%d]", where, i)
		first, err := r.Token()
		if err != nil {
			return err
		}
		if first != json.Delim('{') {
			note(at + ": " + strictjson.Describe(first) + " where an object is wanted; ignored")
			return r.Rest(first)
		}
		e := entry{where: at}
		problem, err := readEngine(r, &e, protocol)
		if err != nil {
			return err
		}
		if problem != "" {
			note(at + ": " + problem + "; ignored")
			return nil
		}
		*list = append(*list, e)
		return nil
	})
}

// readEngine reads the members of an engine, and says what is wrong with it.
func readEngine(r *strictjson.Reader, e *entry, protocol string) (problem string, err error) {
	var is, uri json.Token
	err = r.Members(func(key string) (err error) {
		switch key {
		case "protocol":
			is, err = r.Value()
		case "uri":
			uri, err = r.Value()
		default:
			err = r.Skip()
		}
		return err
	})
	if err != nil {
		return "", err
	}
	stated, _ := is.(string)
	template, _ := uri.(string)
	switch {
	case stated == "":
		return "no protocol", nil
	case stated != protocol:
		return fmt.Sprintf("unknown protocol %q", clip(stated)), nil
	case template == "":
		return "no uri", nil
	case len(template) > uritmpl.MaxTemplate:
		return fmt.Sprintf("a template of %d bytes; the limit is %d", len(template), uritmpl.MaxTemplate), nil
	}
	e.template = template
	return "", nil
}

// generic are media types that servers of static files give to what they know
// nothing of.
var generic = []string{"", "application/octet-stream", "text/plain", "application/json"}

// isGeneric reports whether a Content-Type says nothing about a document.
func isGeneric(mediaType string) bool { return slices.Contains(generic, mediaType) }
