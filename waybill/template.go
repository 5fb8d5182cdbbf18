package waybill

import (
	"fmt"
	"net/url"

	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/uritmpl"
)

// casTemplate is a URI template (RFC 6570) that leads to any blob.
type casTemplate struct {
	tmpl *uritmpl.Template
	uris uriContext
}

// newCASTemplate reads a template and tries it.
func newCASTemplate(text string, uris uriContext) (*casTemplate, error) {
	tmpl, err := uritmpl.Parse(text)
	if err == nil {
		err = tmpl.Only(uritmpl.BlobVariables...)
	}
	if err != nil {
		return nil, err
	}
	t := &casTemplate{tmpl: tmpl, uris: uris}
	return t, uritmpl.TryBlobs(t.place)
}

// place returns where the blob with a digest is.
func (t *casTemplate) place(d digest.Digest) (*url.URL, error) {
	reference, err := t.tmpl.Expand(uritmpl.BlobValues(d))
	if err != nil {
		return nil, err
	}
	u, err := t.uris.resolve(reference)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "https" && u.Scheme != "http" {
		return nil, fmt.Errorf("scheme %q; %s is about https and http", clip(u.Scheme), ProtocolCASTemplate)
	}
	return u, nil
}
