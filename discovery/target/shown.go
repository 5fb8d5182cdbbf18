package target

import (
	"strings"

	"github.com/waybill-project/waybill/transport"
)

// Shown returns a URI, or template of one, of somebody else's fit to be shown:
// without what may be a secret, which is user information and the query, and
// not too long.
func Shown(uri string) string {
	const most = 120
	uri, _, query := strings.Cut(uri, "?")
	before, after, ok := strings.Cut(uri, "//")
	authority, _, _ := strings.Cut(after, "/")
	if at := strings.LastIndexByte(authority, '@'); ok && at >= 0 {
		uri = before + "//…" + after[at:]
	} else {
		uri = transport.Redact(uri)
	}
	if len(uri) > most {
		uri = strings.ToValidUTF8(uri[:most], "") + "…"
	}
	if query {
		uri += "?…"
	}
	return uri
}
