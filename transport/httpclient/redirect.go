package httpclient

import (
	"net/http"
	"net/url"

	"github.com/waybill-project/waybill/transport"
)

// maxLocation bounds the Location header. Presigned URLs take some kilobytes.
const maxLocation = 16 << 10

// isRedirect reports whether code sends the client elsewhere (RFC 9110
// §15.4). 300 and 304 don't, and 305 and 306 are dead.
func isRedirect(code int) bool {
	switch code {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}

// redirectTarget returns where resp, the answer of u, sends the request r
// after so many earlier redirects.
func redirectTarget(r *Request, resp *http.Response, u *url.URL, redirects int) (*url.URL, error) {
	fail := func(kind error, format string, args ...any) (*url.URL, error) {
		return nil, transport.Errorf(kind, shown(u.String()), format, args...)
	}
	location := resp.Header.Get("Location")
	switch {
	case r.Method == http.MethodPost:
		return fail(transport.ErrPermanent, "redirects a POST (%d), which could hand its content to somebody else", resp.StatusCode)
	case redirects >= MaxRedirects:
		return fail(transport.ErrPermanent, "redirected more than %d times", MaxRedirects)
	case location == "":
		return fail(transport.ErrPermanent, "answered %d without saying where to", resp.StatusCode)
	case len(location) > maxLocation:
		return fail(transport.ErrPermanent, "redirects to a URL of more than %d bytes", maxLocation)
	}
	ref, err := url.Parse(location)
	if err != nil {
		return fail(transport.ErrPermanent, "redirects to a malformed URL")
	}
	next := u.ResolveReference(ref)
	if next.User != nil {
		return fail(transport.ErrRefused, "redirects to %s with credentials in the URL", next.Host)
	}
	next, err = parse(next.String())
	if err != nil {
		return fail(transport.ErrPermanent, "redirects to %s: %w", shown(location), err)
	}
	if u.Scheme == "https" && next.Scheme == "http" {
		return fail(transport.ErrRefused, "redirects from https to %s", shown(next.String()))
	}
	return next, nil
}
