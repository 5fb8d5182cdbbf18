package azblob

import (
	"strings"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/objectstore"
)

// dialect is that of the Blob service; see "Blob Storage error codes" of its
// REST reference. Codes are only listed where the status doesn't tell.
var dialect = objectstore.Dialect{CodeHeader: "X-Ms-Error-Code", Kind: func(e *objectstore.ServiceError) error {
	// What follows is of use to Microsoft's support and to nobody else.
	e.Message, _, _ = strings.Cut(e.Message, " RequestId:")
	switch e.Code {
	case "ServerBusy": // 503
		return transport.ErrThrottled
	case "PublicAccessNotPermitted", // 409
		"InvalidAuthenticationInfo": // 400 of old, 401
		return transport.ErrUnauthorized
	}
	return nil
}}

// explain returns what an answer to r means, in Azure's words and with what to
// do about it.
func explain(err error, r request) error {
	return dialect.Explain(err, r.uri, func(kind error) string {
		switch kind {
		case transport.ErrUnauthorized:
			if r.nobody != "" {
				return r.nobody
			}
			return r.who
		case transport.ErrNotFound:
			// A private container answers strangers as if it weren't there.
			return r.nobody
		}
		return ""
	}, r.secrets...)
}
