package httpclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"
	"unicode"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/netclass"
)

const (
	// maxErrorBody is how much of the body of an error is read.
	maxErrorBody = 4 << 10
	// maxErrorText is how much of it is shown.
	maxErrorText = 300
	// errorBodyTimeout is how long that may take: the answer is known already.
	errorBodyTimeout = 2 * time.Second
)

// StatusError is an answer other than 2xx.
type StatusError struct {
	// Code is the status code.
	Code int
	// Header is the answer's.
	Header http.Header
	// Class is the network the answer came from.
	Class netclass.Class
	// Redirects is how many were followed before: with any, it was not the
	// origin asked that answered.
	Redirects int
	// Text is the start of the body in one line, or the title where that is a page
	// for browsers, without the credentials that
	// were sent should the server repeat them.
	Text string
	// Body is the start of the body, some kilobytes of it at most, for whoever
	// can read more from it than a person; also without the credentials.
	Body string
}

// Error returns the status and what the server said.
func (e *StatusError) Error() string {
	status := fmt.Sprintf("answered %d %s", e.Code, http.StatusText(e.Code))
	status = strings.TrimSpace(status)
	if e.Text == "" {
		return status
	}
	return status + ": " + e.Text
}

// A page for browsers, and its title.
var (
	htmlPage  = regexp.MustCompile(`(?i)^\s*(?:<!doctype html[^>]*>\s*)?<html`)
	htmlTitle = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title>`)
)

// said returns the body in one line: of a page for browsers its title, unless that
// is the status again.
func (e *StatusError) said() string {
	if !htmlPage.MatchString(e.Body) {
		return OneLine(e.Body)
	}
	title := htmlTitle.FindStringSubmatch(e.Body)
	if title == nil || strings.Contains(title[1], http.StatusText(e.Code)) {
		return ""
	}
	return OneLine(title[1])
}

// kind returns what a status means to a transport (see package transport).
func (e *StatusError) kind() error {
	switch {
	case e.Code == http.StatusUnauthorized, e.Code == http.StatusForbidden:
		return transport.ErrUnauthorized
	case e.Code == http.StatusNotFound, e.Code == http.StatusGone:
		return transport.ErrNotFound
	case e.Code == http.StatusTooManyRequests:
		return transport.ErrThrottled
	case e.Code == http.StatusServiceUnavailable && e.Header.Get("Retry-After") != "":
		return transport.ErrThrottled
	case e.Code == http.StatusRequestTimeout, e.Code >= 500:
		return transport.ErrTemporary
	}
	return transport.ErrPermanent
}

// statusFailure reads what an error answer says and closes it.
func statusFailure(resp *http.Response, u *url.URL, class netclass.Class, redirects int, secrets []string) error {
	stop := time.AfterFunc(errorBodyTimeout, func() { _ = resp.Body.Close() })
	// An error here only means that less of the text is shown.
	text, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	stop.Stop()
	_ = resp.Body.Close()

	e := &StatusError{
		Code:      resp.StatusCode,
		Header:    resp.Header,
		Class:     class,
		Redirects: redirects,
		Body:      withoutSecrets(text, secrets),
	}
	e.Text = e.said()
	te := &transport.Error{Kind: e.kind(), URI: shown(u.String()), Err: e}
	if te.Kind == transport.ErrThrottled {
		te.RetryAfter = ParseRetryAfter(resp.Header.Get("Retry-After"), sentAt(resp))
	}
	return te
}

// OneLine returns text from a server fit to stand in an error: white space
// collapsed, nothing unprintable, no more than a few hundred bytes.
func OneLine(text string) string {
	text = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case r == unicode.ReplacementChar, !unicode.IsPrint(r):
			return -1
		}
		return r
	}, strings.ToValidUTF8(text, ""))
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxErrorText {
		text = strings.ToValidUTF8(text[:maxErrorText], "") + "…"
	}
	return text
}

// secretsOf returns what in a value of Authorization must not be shown.
func secretsOf(authorization string) []string {
	scheme, value, _ := strings.Cut(authorization, " ")
	secrets := []string{value}
	if plain, err := base64.StdEncoding.DecodeString(value); err == nil && strings.EqualFold(scheme, "Basic") {
		_, password, _ := strings.Cut(string(plain), ":")
		secrets = append(secrets, password)
	}
	return secrets
}

// signatureOf returns what in the headers that r.Sign added must not be shown.
func signatureOf(r *Request, sent *http.Request) []string {
	var secrets []string
	if r.Sign == nil || sent == nil {
		return nil
	}
	for name, values := range sent.Header {
		if _, ours := r.Header[name]; !ours && name != "User-Agent" {
			secrets = append(secrets, values...)
		}
	}
	return secrets
}

// withoutSecrets removes from a server's text the secrets it was sent.
func withoutSecrets(text []byte, secrets []string) string {
	for _, s := range secrets {
		if s != "" {
			text = bytes.ReplaceAll(text, []byte(s), []byte("…"))
		}
	}
	return string(text)
}

// failure returns what it means that no answer came from u.
func failure(ctx context.Context, u *url.URL, err error) error {
	if ctx.Err() != nil {
		return ContextError(ctx)
	}
	return &transport.Error{Kind: failureKind(err), URI: shown(u.String()), Err: err}
}

// ContextError returns why ctx, which is done, ended: an error that is
// ctx.Err() and, where another was given, context.Cause(ctx).
func ContextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// HandshakeError says that no TLS session with the server came about.
type HandshakeError struct {
	// Err is why.
	Err error
}

// Error returns the cause.
func (e *HandshakeError) Error() string { return "TLS handshake: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *HandshakeError) Unwrap() error { return e.Err }

// NoTLS reports whether err says that the server does not speak TLS: it
// answered the handshake with something else or hung up on it. A server with a
// certificate we don't like, or that dislikes ours, does speak it.
func NoTLS(err error) bool {
	var (
		handshake *HandshakeError
		record    tls.RecordHeaderError
	)
	return errors.As(err, &handshake) && (errors.As(err, &record) || hungUp(err))
}

// hungUp reports whether err is a connection that ended without a word.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// failureKind returns the kind of a failed round trip.
func failureKind(err error) error {
	var (
		refused   *netclass.RefusedError
		local     *configError
		proxy     *proxyError
		handshake *HandshakeError
		timeout   net.Error
		malformed textproto.ProtocolError
	)
	switch {
	case errors.As(err, &refused):
		return transport.ErrRefused
	case errors.As(err, &proxy):
		return proxy.kind()
	case wantsClientCertificate(err):
		return transport.ErrUnauthorized
	case errors.As(err, &local), errors.As(err, &malformed):
		return transport.ErrPermanent
	case errors.As(err, &handshake):
		if hungUp(err) || errors.As(err, &timeout) && timeout.Timeout() {
			return transport.ErrTemporary
		}
		return transport.ErrPermanent
	case strings.Contains(err.Error(), "malformed HTTP"):
		// net/http keeps the type of this error to itself.
		return transport.ErrPermanent
	}
	return transport.ErrTemporary
}

// certificateAlerts are the alerts (RFC 8446 §6.2) by which a server says that
// it wants another client certificate than it was shown, in crypto/tls's words:
// the type is not exported.
var certificateAlerts = []string{
	"tls: bad certificate", "tls: unsupported certificate", "tls: certificate revoked",
	"tls: certificate expired", "tls: unknown certificate", "tls: unknown certificate authority",
	"tls: access denied", "tls: certificate required",
}

// wantsClientCertificate reports whether err is one of certificateAlerts from
// the server. With TLS 1.3 it comes after the handshake.
func wantsClientCertificate(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error" && slices.Contains(certificateAlerts, op.Err.Error())
}
