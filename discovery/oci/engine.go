package oci

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
	"github.com/waybill-project/waybill/discovery/target"
	"github.com/waybill-project/waybill/locate"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/netclass"
	"github.com/waybill-project/waybill/uritmpl"
)

// Engine is a CAS engine: a place that may hold any blob of an image
// (cas-template.md).
type Engine struct {
	// Protocol is [ProtocolCASTemplate].
	Protocol string
	// Template is the URI template, as it was written.
	Template string
	// Base is what it is resolved against: where the document finally came
	// from. Nil where nothing may be relative.
	Base *url.URL
	// Name is the image's, whose parts the template may use. May be zero.
	Name Name
	// From says which document it stood in, fit to be shown.
	From string
	// Remote says that somebody else wrote that document. Its places are held
	// to Floor.
	Remote bool
	// Floor is the narrowest network that may be asked on this engine's word.
	Floor netclass.Class
	// Priority is that of its routes.
	Priority int
}

// Locator returns the locator of the engine's places; origin, which says who
// named them, goes into its routes. The routes of one engine share a Source. An
// error says what is wrong with the template.
func (e Engine) Locator(origin string) (locate.Locator, error) {
	tmpl, err := e.parse()
	if err != nil {
		return nil, fmt.Errorf("%s: CAS engine %q: %w", e.From, target.Shown(e.Template), err)
	}
	source := e.source()
	var remote transport.Remote
	if e.Remote {
		remote = transport.RemoteIn(e.Floor)
	}
	return locate.Func(func(_ context.Context, desc ocispec.Descriptor) iter.Seq2[transport.Route, error] {
		return func(yield func(transport.Route, error) bool) {
			uri, err := e.place(tmpl, desc.Digest)
			if err != nil {
				yield(transport.Route{}, fmt.Errorf("%s: CAS engine %q: %w", e.From, target.Shown(e.Template), err))
				return
			}
			yield(transport.Route{URI: uri.String(), Priority: e.Priority, Source: source, Origin: origin, Remote: remote}, nil)
		}
	}), nil
}

// parse reads the template and tries it.
func (e Engine) parse() (*uritmpl.Template, error) {
	if e.Protocol != ProtocolCASTemplate {
		return nil, fmt.Errorf("unknown protocol %q", clip(e.Protocol))
	}
	tmpl, err := uritmpl.Parse(e.Template)
	if err != nil {
		return nil, err
	}
	known := slices.Clone(uritmpl.BlobVariables)
	if e.Name != (Name{}) {
		known = append(known, "name", "host", "path", "fragment")
	}
	if err := tmpl.Only(known...); err != nil {
		return nil, err
	}
	return tmpl, uritmpl.TryBlobs(func(d digest.Digest) (*url.URL, error) { return e.place(tmpl, d) })
}

// place returns where the blob with a digest is.
func (e Engine) place(tmpl *uritmpl.Template, d digest.Digest) (*url.URL, error) {
	if err := blobdigest.Validate(d); err != nil {
		return nil, err
	}
	values := map[string]string{}
	if e.Name != (Name{}) {
		values = e.Name.variables()
	}
	maps.Copy(values, uritmpl.BlobValues(d))
	return expand(tmpl, values, e.Base, e.Remote)
}

// source names the engine's places: the template with the base it is relative
// to in front, and the name where that is part of it. It is the same for places
// that are the same and different for others, and never opened.
func (e Engine) source() string {
	text := e.Template
	literal, expressions, _ := strings.Cut(text, "{")
	if u, err := url.Parse(literal); e.Base != nil && (err != nil || !u.IsAbs()) {
		if u, err := e.Base.Parse(literal + "-"); err == nil {
			text = strings.TrimSuffix(u.String(), "-") + strings.TrimPrefix(text, literal)
		}
	}
	for _, variable := range []string{"name", "host", "path", "fragment"} {
		if strings.Contains(expressions, variable) {
			return text + " (" + e.Name.String() + ")"
		}
	}
	return text
}

// engineSet makes engines, each once, and remembers which can't be used.
type engineSet map[engineKey]*Engine

type engineKey struct{ template, base string }

// add appends the engines of the list that can be used to engines, those that
// are there already left out. like has their other fields; floor says which
// networks a place may be in.
func (s engineSet) add(engines []Engine, list []entry, like Engine, floor func(*url.URL) netclass.Class, note func(string)) []Engine {
	base := ""
	if like.Base != nil {
		base = like.Base.String()
	}
	for _, e := range list {
		key := engineKey{e.template, base}
		made, known := s[key]
		if !known {
			if len(s) == MaxEngines {
				note(fmt.Sprintf("%s: more CAS engines than the limit of %d; ignored", e.where, MaxEngines))
				continue
			}
			var err error
			if made, err = newEngine(e.template, like, floor); err != nil {
				note(fmt.Sprintf("%s: %q: %v; ignored", e.where, target.Shown(e.template), err))
			}
			s[key] = made
		}
		if made != nil && !slices.Contains(engines, *made) {
			engines = append(engines, *made)
		}
	}
	return engines
}

func newEngine(template string, like Engine, floor func(*url.URL) netclass.Class) (*Engine, error) {
	e := like
	e.Protocol, e.Template = ProtocolCASTemplate, template
	tmpl, err := e.parse()
	if err != nil {
		return nil, err
	}
	// All blobs lie at one origin, so any tells which networks that may be in.
	u, err := e.place(tmpl, digest.FromBytes(nil))
	if err != nil {
		return nil, err
	}
	e.Floor = floor(u)
	return &e, nil
}

// expand returns where a template leads, without a fragment. Documents from https
// lead to https, those from http (which only local configuration names) and
// local ones to either; none leads to this machine's files.
func expand(tmpl *uritmpl.Template, values map[string]string, base *url.URL, remote bool) (*url.URL, error) {
	u, err := tmpl.Resolve(base, values)
	if err != nil {
		return nil, err
	}
	u.Fragment, u.RawFragment = "", ""
	secure := remote && (base == nil || base.Scheme == "https")
	switch {
	case u.Scheme == "http" && secure:
		return nil, errors.New("it leads from https to http, which is refused")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, fmt.Errorf("it leads to a URI of scheme %q; it must be https", clip(u.Scheme))
	case u.Opaque != "" || u.Hostname() == "":
		return nil, errors.New("it leads to a URI without a host")
	case u.User != nil:
		return nil, errors.New("it leads to a URI with user information, which is refused")
	}
	return u, nil
}

// shown returns a URL fit to be shown: without the query, where presigned ones
// carry their signature (spec/security.md §5.4).
func shown(u *url.URL) string {
	if u.Scheme == "file" {
		return u.Path
	}
	plain := *u
	plain.User, plain.Fragment, plain.RawFragment = nil, "", ""
	if plain.RawQuery != "" || plain.ForceQuery {
		plain.RawQuery, plain.ForceQuery = "", false
		return plain.String() + "?…"
	}
	return plain.String()
}
