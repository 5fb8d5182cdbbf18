package ftp

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/waybill-project/waybill/transport"
)

// The schemes of the URIs of this transport's routes.
const (
	// Scheme is FTP without encryption.
	Scheme = "ftp"
	// SchemeExplicit is FTP that changes to TLS before the login (RFC 4217).
	SchemeExplicit = "ftpes"
	// SchemeImplicit is FTP within TLS, on a port of its own.
	SchemeImplicit = "ftps"
)

// Schemes lists the schemes of this transport.
func Schemes() []string { return []string{Scheme, SchemeExplicit, SchemeImplicit} }

// server is whom to connect to, and as whom. Connections are shared between
// requests of which all of it is the same.
type server struct {
	scheme, host, port string
	// user is empty where the URI names none; credentials fills it in.
	user, password string
	hasPassword    bool
}

// address is what is dialled.
func (s server) address() string { return net.JoinHostPort(s.host, s.port) }

// usualPort returns the scheme's port.
func (s server) usualPort() string {
	if s.scheme == SchemeImplicit {
		return "990"
	}
	return "21"
}

// anonymously fills in an anonymous login where the URI names no other user.
func (s server) anonymously() server {
	if s.user == "" {
		s.user = "anonymous"
	}
	if anonymous(s.user) && !s.hasPassword {
		s.password, s.hasPassword = anonymousPassword, true
	}
	return s
}

// encrypted reports whether the server is spoken to through TLS.
func (s server) encrypted() bool { return s.scheme != Scheme }

// parsePlace reads the URI of a place. dir is as the server is to see it: "",
// or ending in a slash.
func parsePlace(uri string) (s server, dir string, err error) {
	u, err := url.Parse(uri)
	if err != nil {
		// The parser's error quotes the URI, which may hold a password.
		return server{}, "", &transport.Error{Kind: transport.ErrPermanent, URI: schemeOnly(uri), Err: errors.New("not a URI (RFC 3986); percent-encode what can't stand in one")}
	}
	s, dir, err = readPlace(u)
	if err != nil {
		return server{}, "", &transport.Error{Kind: transport.ErrPermanent, URI: uri, Err: err}
	}
	return s, dir, nil
}

func readPlace(u *url.URL) (server, string, error) {
	switch {
	case !slices.Contains(Schemes(), u.Scheme):
		return server{}, "", fmt.Errorf("scheme %q is none of %s", u.Scheme, strings.Join(Schemes(), ", "))
	case u.Opaque != "" || u.Hostname() == "":
		return server{}, "", fmt.Errorf("no host; write %s://HOST/DIR", u.Scheme)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return server{}, "", fmt.Errorf("a query or fragment means nothing to %s; percent-encode '?' and '#' in the directory", u.Scheme)
	}
	s := server{scheme: u.Scheme, host: u.Hostname(), port: u.Port()}
	if s.port == "" {
		s.port = s.usualPort()
	}
	if n, err := strconv.ParseUint(s.port, 10, 16); err != nil || n == 0 {
		return server{}, "", fmt.Errorf("port %s is not between 1 and 65535", s.port)
	}
	if u.User != nil {
		s.user = u.User.Username()
		s.password, s.hasPassword = u.User.Password()
		switch {
		case s.user == "":
			return server{}, "", errors.New("no user before the password or '@'")
		case !sendable(s.user) || !sendable(s.password):
			return server{}, "", errors.New("user or password holds a character that FTP can't send")
		}
	}
	dir, err := directory(u)
	return s, dir, err
}

// directory returns the directory of a URI, relative to the login's unless it
// begins with a slash (RFC 1738 §3.2.2).
func directory(u *url.URL) (string, error) {
	if strings.Contains(u.EscapedPath(), ";type=") {
		return "", errors.New("files are always read as they are (TYPE I); ;type=i after a path says that it is a file's")
	}
	dir := strings.TrimPrefix(u.Path, "/")
	if !sendable(dir) {
		return "", errors.New("the directory holds a character that FTP can't send")
	}
	if dir != "" && !strings.HasSuffix(dir, "/") {
		dir += "/"
	}
	return dir, nil
}

// sendable reports whether s can stand in a command: FTP has no way to write
// the end of a line in one, and what telnet gives a meaning (RFC 959 §4.1)
// isn't left alone by servers.
func sendable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) && !strings.Contains(s, "\xff")
}

// schemeOnly returns what of a malformed URI is fit to be shown.
func schemeOnly(uri string) string {
	scheme, _, _ := strings.Cut(uri, ":")
	if !slices.Contains(Schemes(), scheme) {
		scheme = Scheme
	}
	return scheme + "://…"
}
