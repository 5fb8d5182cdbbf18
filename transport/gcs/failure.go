package gcs

import (
	"net/http"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/objectstore"
)

// dialect is that of the XML API. Its codes are listed in Google's "HTTP status
// and error codes for XML"; the status tells nearly all of them apart.
var dialect = objectstore.Dialect{Kind: func(e *objectstore.ServiceError) error {
	switch {
	case e.Code == "SlowDown":
		// 503 or 429, seldom with a Retry-After.
		return transport.ErrThrottled
	case e.Status.Code == http.StatusBadRequest && e.Code == "InvalidSecurity":
		return transport.ErrUnauthorized
	}
	return nil
}}

// explain returns what an answer to r means, in Google's words and with what to
// do about it.
func explain(err error, r request) error {
	return dialect.Explain(err, r.uri, func(kind error) string {
		switch {
		case kind != transport.ErrUnauthorized:
			return ""
		case r.nobody != "":
			return r.nobody
		}
		return "the credentials in use need the role storage.objectViewer on the bucket"
	})
}
