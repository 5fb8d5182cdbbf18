package ftp

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"syscall"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/netclass"
)

// String returns the reply in one line, fit to be shown.
func (r reply) String() string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", r.code, httpclient.OneLine(r.text)))
}

// refusal is a reply that isn't the one that was hoped for.
type refusal struct {
	// doing is what was asked.
	doing string
	reply reply
	// secret must not be shown, should the server repeat it.
	secret string
	// exists is set where the server gave the file's size before it refused
	// the file.
	exists bool
}

func (e *refusal) Error() string {
	text := e.reply.String()
	if e.secret != "" {
		text = strings.ReplaceAll(text, e.secret, "…")
	}
	return fmt.Sprintf("%s: the server says %q", e.doing, text)
}

// The words by which servers tell apart what has one code.
var (
	tooMany     = regexp.MustCompile(`(?i)too many|maximum|limit|exceed|busy|try again later`)
	forbidden   = regexp.MustCompile(`(?i)denied|not allowed|not permitted|forbidden|privilege|no permission`)
	absent      = regexp.MustCompile(`(?i)no such|not found|does ?n.t exist|does not exist|not a (plain|regular) file|is a directory`)
	encryptWord = regexp.MustCompile(`(?i)encrypt|\b(TLS|SSL|AUTH)\b`)
)

// kind returns what the reply means to a transport.
//
// 550 is both "no such file" and "you may not" (RFC 959 §5.4). The text
// decides; where it says neither ("Failed to open file", vsftpd), a file whose
// size the server told exists, so that it is we who may not read it.
func (e *refusal) kind() error {
	text := e.reply.text
	switch code := e.reply.code; {
	case code == codeUnavailable && tooMany.MatchString(text),
		code == codeNotLoggedIn && tooMany.MatchString(text):
		return transport.ErrThrottled
	case code/100 == 5 && e.doing == "AUTH TLS": // vsftpd answers 530 where it has no TLS
		return transport.ErrPermanent
	case code == codeNotLoggedIn, code == codeBadCredentials, code == codeNeedAccount, code == codeNeedAccount5:
		return transport.ErrUnauthorized
	case code == codeNoFile && absent.MatchString(text):
		return transport.ErrNotFound
	case code == codeNoFile && (forbidden.MatchString(text) || e.exists):
		return transport.ErrUnauthorized
	case code == codeNoFile:
		return transport.ErrNotFound
	case code/100 == 4:
		return transport.ErrTemporary
	}
	return transport.ErrPermanent
}

// advice says what to do about a refusal, or nothing.
func (e *refusal) advice(s server) string {
	switch {
	case e.doing == "AUTH TLS" && e.reply.code/100 == 5:
		return "; the server has no TLS on this port, write ftps:// for TLS on port 990 or, where nobody can listen, ftp://"
	case e.reply.code == codeNotLoggedIn && !s.encrypted() && encryptWord.MatchString(e.reply.text):
		return "; write ftpes:// instead of ftp://"
	case e.kind() == transport.ErrUnauthorized && anonymous(s.user):
		return fmt.Sprintf("; if that needs a login, put machine %s login USER password PASSWORD into ~/.netrc", s.host)
	case e.kind() == transport.ErrUnauthorized && strings.HasPrefix(e.doing, "login"):
		return "; check the password in the URI or in ~/.netrc"
	}
	return ""
}

// noPasswordError says that a user has no password.
type noPasswordError struct{ server server }

func (e *noPasswordError) Error() string {
	return fmt.Sprintf("the server wants a password for %q; put machine %s login %s password PASSWORD into ~/.netrc", e.server.user, e.server.host, e.server.user)
}

// failure returns what err means for the place. what names the file, or is
// empty.
func failure(ctx context.Context, place, what string, s server, err error) error {
	if ctx.Err() != nil {
		return httpclient.ContextError(ctx)
	}
	var done *transport.Error
	if errors.As(err, &done) {
		return err
	}
	advice := ""
	var refused *refusal
	if errors.As(err, &refused) {
		advice = refused.advice(s)
	}
	if untrusted(err) {
		advice = "; add its authority to this system's, or name a file with it in SSL_CERT_FILE"
	}
	if what != "" {
		what += ": "
	}
	return transport.Errorf(failureKind(err), place, "%s%w%s", what, err, advice)
}

// failureKind returns the kind of an error.
func failureKind(err error) error {
	var (
		refused    *refusal
		noPassword *noPasswordError
		noRestart  *noRestartError
		malformed  *malformedError
		invalid    *invalidError
		policy     *netclass.RefusedError
		tlsFailure *handshakeError
	)
	switch {
	case errors.As(err, &refused):
		return refused.kind()
	case errors.As(err, &noPassword):
		return transport.ErrUnauthorized
	case errors.As(err, &noRestart):
		return transport.ErrRangeUnsupported
	case errors.As(err, &policy):
		return transport.ErrRefused
	case errors.As(err, &invalid), errors.As(err, &malformed):
		return transport.ErrPermanent
	case errors.As(err, &tlsFailure) && !hungUp(err):
		return transport.ErrPermanent
	}
	return transport.ErrTemporary
}

// untrusted reports whether err is a certificate of an authority nobody here
// knows.
func untrusted(err error) bool {
	var authority x509.UnknownAuthorityError
	return errors.As(err, &authority)
}

// hungUp reports whether err is a connection that ended, or went mute, without
// a word.
func hungUp(err error) bool {
	var timeout net.Error
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.As(err, &timeout) && timeout.Timeout() || errors.Is(err, context.DeadlineExceeded)
}

// harmless reports whether a connection can go on being used after err.
func harmless(err error) bool {
	var (
		refused   *refusal
		noRestart *noRestartError
		invalid   *invalidError
	)
	return (errors.As(err, &refused) || errors.As(err, &noRestart) || errors.As(err, &invalid)) && !stale(err)
}

// stale reports whether err is what comes of a connection that the server
// closed, or lost track of, while it was kept for another request.
func stale(err error) bool {
	var (
		broken    *brokenError
		malformed *malformedError
		refused   *refusal
	)
	switch {
	case errors.As(err, &broken), errors.As(err, &malformed):
		return true
	case errors.As(err, &refused):
		return refused.reply.code == codeUnavailable || refused.reply.completed()
	}
	return false
}
