package waybill

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// The canonical form is RFC 8785 (JCS). encoding/json writes it for these types:
// their members stand in the order of their names, all numbers are whole and
// below 2^53, and [Document.Validate] lets no character pass that the two escape
// differently.

type documentJSON struct {
	Carriers     []carrierJSON     `json:"carriers,omitempty"`
	Consignments []consignmentJSON `json:"consignments,omitempty"`
	Expires      string            `json:"expires"`
	Issued       string            `json:"issued"`
	MediaType    string            `json:"mediaType"`
	Sequence     int64             `json:"sequence"`
}

type consignmentJSON struct {
	Aliases []aliasJSON `json:"aliases,omitempty"`
	Digest  string      `json:"digest"`
	Pieces  *piecesJSON `json:"pieces,omitempty"`
	Routes  []routeJSON `json:"routes,omitempty"`
	Size    int64       `json:"size"`
}

type aliasJSON struct {
	File    string `json:"file,omitempty"`
	Kind    string `json:"kind"`
	Profile string `json:"profile,omitempty"`
	Value   string `json:"value"`
}

type piecesJSON struct {
	Algorithm string      `json:"algorithm"`
	Data      []byte      `json:"data,omitempty"`
	Digest    string      `json:"digest"`
	Length    int64       `json:"length"`
	Routes    []routeJSON `json:"routes,omitempty"`
}

type routeJSON struct {
	Geo      string `json:"geo,omitempty"`
	Priority int    `json:"priority"`
	URI      string `json:"uri"`
}

type carrierJSON struct {
	Priority   int    `json:"priority,omitempty"`
	Protocol   string `json:"protocol"`
	Repository string `json:"repository,omitempty"`
	URI        string `json:"uri"`
}

// Marshal returns the canonical form of the document (spec/waybill.md §6): the
// same document, its lists in any order, is always the same bytes. d itself is
// left as it is. A document that [Document.Validate] refuses, or that is larger
// than [MaxDocument], is an [*Error].
func (d *Document) Marshal() ([]byte, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	sorted := d.clone()
	sorted.Sort()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(sorted.json()); err != nil {
		return nil, fmt.Errorf("waybill: %w", err)
	}
	content := bytes.TrimSuffix(b.Bytes(), []byte("\n"))
	if len(content) > MaxDocument {
		return nil, tooLong(nil, "a document", MaxDocument)
	}
	return content, nil
}

// clone copies what [Document.Sort] changes.
func (d *Document) clone() *Document {
	c := *d
	c.Carriers = slices.Clone(d.Carriers)
	c.Consignments = slices.Clone(d.Consignments)
	for i := range c.Consignments {
		con := &c.Consignments[i]
		con.Aliases, con.Routes = slices.Clone(con.Aliases), slices.Clone(con.Routes)
		if con.Pieces != nil {
			pieces := *con.Pieces
			pieces.Routes = slices.Clone(pieces.Routes)
			con.Pieces = &pieces
		}
	}
	return &c
}

func (d *Document) json() documentJSON {
	w := documentJSON{
		Expires:   d.Expires.UTC().Format(time.RFC3339Nano),
		Issued:    d.Issued.UTC().Format(time.RFC3339Nano),
		MediaType: MediaType,
		Sequence:  d.Sequence,
	}
	for _, c := range d.Carriers {
		w.Carriers = append(w.Carriers, carrierJSON{c.Priority, c.Protocol, c.Repository, c.URI})
	}
	for i := range d.Consignments {
		w.Consignments = append(w.Consignments, d.Consignments[i].json())
	}
	return w
}

func (c *Consignment) json() consignmentJSON {
	w := consignmentJSON{Digest: string(c.Digest), Size: c.Size, Routes: routesJSON(c.Routes)}
	for _, a := range c.Aliases {
		w.Aliases = append(w.Aliases, aliasJSON{a.File, a.Kind, a.Profile, a.Value})
	}
	if p := c.Pieces; p != nil {
		w.Pieces = &piecesJSON{string(p.Algorithm), p.Data, string(p.Digest), p.Length, routesJSON(p.Routes)}
	}
	return w
}

func routesJSON(routes []Route) []routeJSON {
	var w []routeJSON
	for _, r := range routes {
		w = append(w, routeJSON{r.Geo, r.Priority, r.URI})
	}
	return w
}
