package waybill

import (
	"encoding/base64"
	"fmt"
	"io"
	"strings"
	"time"
)

// Parse reads a document. It is checked as a whole ([Document.Validate]): what
// Parse returns is within every cap of this package and says nothing that the
// specification forbids, except in the URIs of single entries, which
// [Document.Places] judges since it depends on where the document came from.
// Members it doesn't know are ignored (spec/waybill.md §3). Errors are
// [*Error].
func Parse(content []byte) (*Document, error) {
	if len(content) > MaxDocument {
		return nil, tooLong(nil, "a document", MaxDocument)
	}
	r, err := newReader(content)
	if err != nil {
		return nil, ofDocument(err)
	}
	d, err := parser{r}.document()
	if err != nil {
		return nil, ofDocument(err)
	}
	if err := d.Validate(); err != nil {
		return nil, err
	}
	return d, nil
}

// Read parses what r yields, of which it takes at most one byte more than
// [MaxDocument].
func Read(r io.Reader) (*Document, error) {
	content, err := io.ReadAll(io.LimitReader(r, MaxDocument+1))
	if err != nil {
		return nil, fmt.Errorf("read waybill: %w", err)
	}
	return Parse(content)
}

// parser knows which members there are. That their values make sense is
// [Document.Validate]'s business, wherever it can wait until then.
type parser struct {
	*reader
}

func (p parser) document() (*Document, error) {
	d := &Document{}
	var mediaType string
	err := p.object(
		member{"mediaType", true, p.text(&mediaType, "a media type", 255)},
		member{"issued", true, p.time(&d.Issued)},
		member{"expires", true, p.time(&d.Expires)},
		member{"sequence", true, p.integer(&d.Sequence, 0, MaxSequence)},
		member{"consignments", false, func() error {
			return p.array("consignments", MaxConsignments, func() error { return p.consignment(&d.Consignments) })
		}},
		member{"carriers", false, func() error {
			return p.array("carriers", MaxCarriers, func() error { return p.carrier(&d.Carriers) })
		}},
	)
	// Of something else the type is what to complain about, not what that
	// lacks to be a waybill.
	if mediaType != "" && mediaType != MediaType {
		return nil, errorf(ErrMediaType, pointer{"mediaType"}, "%q where %s is wanted", clip(mediaType), MediaType)
	}
	if err != nil {
		return nil, err
	}
	return d, p.End()
}

func (p parser) consignment(list *[]Consignment) error {
	var c Consignment
	err := p.object(
		member{"digest", true, p.text((*string)(&c.Digest), "a digest", MaxAlias)},
		member{"size", true, p.integer(&c.Size, 0, MaxSize)},
		member{"aliases", false, func() error {
			return p.array("aliases", MaxAliases, func() error { return p.alias(&c.Aliases) })
		}},
		member{"pieces", false, func() error { return p.pieces(&c.Pieces) }},
		member{"routes", false, func() error { return p.routes(&c.Routes) }},
	)
	*list = append(*list, c)
	return err
}

func (p parser) alias(list *[]Alias) error {
	var a Alias
	err := p.object(
		member{"kind", true, p.text(&a.Kind, "a kind", MaxToken)},
		member{"value", true, p.text(&a.Value, "a value", MaxAlias)},
		member{"profile", false, p.text(&a.Profile, "a profile", MaxToken)},
		member{"file", false, p.text(&a.File, "a file name", MaxFile)},
	)
	*list = append(*list, a)
	return err
}

func (p parser) pieces(into **Pieces) error {
	var (
		pieces Pieces
		data   string
	)
	err := p.object(
		member{"algorithm", true, p.text((*string)(&pieces.Algorithm), "an algorithm", MaxToken)},
		member{"length", true, p.integer(&pieces.Length, MinPieceLength, MaxPieceLength)},
		member{"digest", true, p.text((*string)(&pieces.Digest), "a digest", MaxAlias)},
		member{"data", false, p.text(&data, "data", MaxDocument)},
		member{"routes", false, func() error { return p.routes(&pieces.Routes) }},
	)
	if err != nil {
		return err
	}
	if data != "" {
		// Strict, and without the line breaks that Go's decoder passes over.
		pieces.Data, err = base64.StdEncoding.Strict().DecodeString(data)
		if err != nil || strings.ContainsAny(data, "\r\n") {
			return errorf(ErrInvalid, pointer(p.Path()).at("data"), "not base64 with padding and without line breaks")
		}
	}
	*into = &pieces
	return nil
}

func (p parser) routes(list *[]Route) error {
	return p.array("routes", MaxRoutes, func() error {
		var (
			r        Route
			priority int64
		)
		err := p.object(
			member{"uri", true, p.text(&r.URI, "a URI", MaxURI)},
			member{"priority", true, p.integer(&priority, 1, MaxPriority)},
			member{"geo", false, p.text(&r.Geo, "a country", MaxToken)},
		)
		r.Priority = int(priority)
		*list = append(*list, r)
		return err
	})
}

func (p parser) carrier(list *[]Carrier) error {
	var (
		c        Carrier
		priority int64
	)
	err := p.object(
		member{"protocol", true, p.text(&c.Protocol, "a protocol", MaxToken)},
		member{"uri", true, p.text(&c.URI, "a URI", MaxURI)},
		member{"repository", false, p.text(&c.Repository, "a repository", MaxRepository)},
		member{"priority", false, p.integer(&priority, 1, MaxPriority)},
	)
	c.Priority = int(priority)
	*list = append(*list, c)
	return err
}

// time returns what reads a date-time of RFC 3339 §5.6 into t, in UTC.
func (p parser) time(t *time.Time) func() error {
	var s string
	read := p.text(&s, "a date and time", maxTime)
	return func() error {
		if err := read(); err != nil {
			return err
		}
		value, ok := parseTime(s)
		if !ok {
			return p.errorf(ErrInvalid, "%q isn't a date and time as RFC 3339 writes it, such as 2026-01-31T12:00:00Z", clip(s))
		}
		*t = value
		return nil
	}
}
