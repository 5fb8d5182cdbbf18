package objectstore

import (
	"encoding/xml"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
)

// maxCode is the longest code of an error that is believed to be one.
const maxCode = 100

// ServiceError is an answer other than 2xx in a store's own words.
type ServiceError struct {
	// Host is the HOST[:PORT] that answered, or "".
	Host string
	// Status is the answer. Its Text holds no secrets.
	Status *httpclient.StatusError
	// Code is the store's code of the error, or "".
	Code string
	// Message is what the store says about it, in one line, or "".
	Message string
}

// Error returns the status, the code and the message.
func (e *ServiceError) Error() string {
	var b strings.Builder
	if e.Host != "" {
		b.WriteString(e.Host + " ")
	}
	fmt.Fprintf(&b, "answered %d", e.Status.Code)
	if e.Code != "" {
		b.WriteString(" " + e.Code)
	} else if text := http.StatusText(e.Status.Code); text != "" {
		b.WriteString(" " + text)
	}
	if e.Message != "" {
		b.WriteString(": " + e.Message)
	}
	return b.String()
}

// Unwrap returns the answer.
func (e *ServiceError) Unwrap() error { return e.Status }

// Dialect is how a store tells errors.
type Dialect struct {
	// CodeHeader is the header that holds an error's code, which answers to
	// HEAD have no body for; empty where there is none.
	CodeHeader string
	// Kind returns what an answer means to a transport, or nil where its
	// status alone says it.
	Kind func(*ServiceError) error
}

// Explain returns err, which a request for the object at uri ended in, in the
// store's own words. The error's URI is uri, which must hold no secret: that of
// the request is the store's business. hint says what to do about an error of a
// kind, or "". Each of secrets is removed from what the store said.
func (d Dialect) Explain(err error, uri string, hint func(kind error) string, secrets ...string) error {
	var failed *transport.Error
	if !errors.As(err, &failed) {
		return err
	}
	explained := &transport.Error{Kind: failed.Kind, URI: uri, RetryAfter: failed.RetryAfter, Err: failed.Err}
	var status *httpclient.StatusError
	if !errors.As(err, &status) {
		return explained
	}
	service := d.parse(status, secrets)
	service.Host = host(failed.URI)
	if kind := d.Kind(service); kind != nil {
		explained.Kind = kind
	}
	explained.Err = service
	if h := hint(explained.Kind); h != "" {
		explained.Err = fmt.Errorf("%w (%s)", service, h)
	}
	return explained
}

// host returns the host of a request's URL, for messages.
func host(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err != nil {
		return ""
	}
	return httpclient.OneLine(u.Host)
}

// parse reads an answer, secrets removed.
func (d Dialect) parse(status *httpclient.StatusError, secrets []string) *ServiceError {
	clean := *status
	for _, s := range secrets {
		if s != "" {
			clean.Text = strings.ReplaceAll(clean.Text, s, "…")
		}
	}
	e := &ServiceError{Status: &clean}
	e.Code, e.Message = ParseError(clean.Text)
	if d.CodeHeader != "" && e.Code == "" {
		e.Code = asCode(status.Header.Get(d.CodeHeader))
	}
	return e
}

// asCode returns s where it looks like a code, one word of letters.
func asCode(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > maxCode || strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	}) {
		return ""
	}
	return s
}

// ParseError reads the body of an error: <Error> with a <Code>, a <Message> and
// perhaps <Details>. It may be cut off anywhere. Of what isn't that, all is the
// message.
func ParseError(text string) (code, message string) {
	text = httpclient.OneLine(text)
	texts, ok := errorElements(text)
	if !ok {
		return "", text
	}
	code, message = texts["Code"], texts["Message"]
	if details := texts["Details"]; details != "" {
		message += " " + details
	}
	return asCode(code), httpclient.OneLine(message)
}

// errorElements returns the text of each child of an <Error>, and whether text
// begins with one.
func errorElements(text string) (map[string]string, bool) {
	// The parser would drop all of a text whose last entity is cut off.
	if i := strings.LastIndexByte(text, '&'); i >= 0 && !strings.Contains(text[i:], ";") {
		text = text[:i]
	}
	d := xml.NewDecoder(strings.NewReader(text))
	d.Strict = false
	var open []string
	texts := map[string]string{}
	for {
		token, err := d.Token()
		if err != nil {
			return texts, len(texts) > 0
		}
		switch token := token.(type) {
		case xml.StartElement:
			if len(open) == 0 && token.Name.Local != "Error" {
				return nil, false
			}
			open = append(open, token.Name.Local)
		case xml.EndElement:
			open = open[:max(len(open)-1, 0)]
		case xml.CharData:
			if len(open) == 2 {
				texts[open[1]] += string(token)
			}
		}
	}
}
