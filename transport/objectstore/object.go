package objectstore

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
)

// maxKey is the longest name of an object, in bytes, that the stores know.
const maxKey = 1024

// Prefix returns what stands before a file's name in an object's key, given the
// path of a place's URI, decoded: without the slashes around it. One that
// couldn't be sent in a URL as it is (with a "." or ".." between slashes, which
// clients and servers resolve) is an error.
func Prefix(path string) (string, error) {
	prefix := strings.Trim(path, "/")
	switch {
	case len(prefix) > maxKey:
		return "", fmt.Errorf("prefix is longer than %d bytes", maxKey)
	case !utf8.ValidString(prefix):
		return "", errors.New("prefix is not UTF-8")
	case strings.ContainsFunc(prefix, unicode.IsControl):
		return "", errors.New("prefix holds a control character")
	}
	for segment := range strings.SplitSeq(prefix, "/") {
		if segment == "." || segment == ".." {
			return "", fmt.Errorf("prefix holds the path segment %q", segment)
		}
	}
	return prefix, nil
}

// Key returns the key of the file called name below prefix.
func Key(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "/" + name
}

// ObjectURI returns the URI of an object for messages: as that of a place,
// without parameters.
func ObjectURI(scheme, place, key string) string {
	return scheme + "://" + httpclient.OneLine((&url.URL{Path: place + "/" + key}).EscapedPath())
}

// URL returns the URL of an object: its key, percent-encoded, below a bucket
// (or container) of the store at base.
func URL(base, bucket, key string) string {
	segments := strings.Split(key, "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return base + "/" + url.PathEscape(bucket) + "/" + strings.Join(segments, "/")
}

// Endpoint returns the base URL that s, written by a user, means: without a
// slash at its end. It is http or https, with a host and without user
// information, query and fragment. The error doesn't quote s.
func Endpoint(s string) (string, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return "", errors.New("not http://HOST or https://HOST")
	case u.User != nil:
		return "", errors.New("holds user information")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return "", errors.New("holds a query or a fragment")
	}
	u.Host = strings.ToLower(u.Host)
	return strings.TrimRight(u.String(), "/"), nil
}

// Shown returns uri fit to be shown: in one line, without user information, query
// and fragment.
func Shown(uri string) string {
	before, _, _ := strings.Cut(uri, "#")
	before, _, query := strings.Cut(before, "?")
	before = httpclient.OneLine(transport.Redact(before))
	if query {
		before += "?…"
	}
	return before
}

// Size returns the length that a HEAD of the object states, with the answer's
// header. An object that doesn't state one, or is stored with a content coding,
// is [transport.ErrPermanent].
func Size(ctx context.Context, client *httpclient.Client, r httpclient.Request) (int64, http.Header, error) {
	r.Method = http.MethodHead
	r.Header = r.Header.Clone()
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Header.Set("Accept-Encoding", "identity")
	resp, err := client.Do(ctx, &r)
	if err != nil {
		return 0, nil, err
	}
	_ = resp.Body.Close()
	fail := func(format string, args ...any) (int64, http.Header, error) {
		return 0, resp.Header, transport.Errorf(transport.ErrPermanent, resp.ShownURL(), format, args...)
	}
	if coding := resp.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return fail("has Content-Encoding %q, which is not the blob as it is", httpclient.OneLine(coding))
	}
	if resp.ContentLength < 0 {
		return fail("does not say how large the object is")
	}
	return resp.ContentLength, resp.Header, nil
}
