package sftp

import (
	"net/url"
	"strconv"
	"strings"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/sftp/openssh"
)

// Schemes are the schemes of the URIs of this transport's routes. They mean the
// same.
var Schemes = []string{"sftp", "ssh"}

// maxPath is the longest directory a URI may name, in bytes.
const maxPath = 4096

// place is what a URI names.
type place struct {
	target openssh.Target
	// dir is absolute, or relative to the user's home directory; "" is that
	// itself.
	dir string
}

// parse reads sftp://[USER[:PASSWORD]@]HOST[:PORT]/DIR. Errors are
// [transport.ErrPermanent] and show no password.
func parse(uri string) (place, error) {
	fail := func(format string, args ...any) (place, error) {
		shown := httpclient.OneLine(transport.Redact(uri))
		return place{}, transport.Errorf(transport.ErrPermanent, shown, format, args...)
	}
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		return fail("not a URI; write sftp://[USER@]HOST[:PORT]/DIR, with special characters percent-encoded")
	case u.Scheme != Schemes[0] && u.Scheme != Schemes[1]:
		return fail("not a URI of scheme sftp or ssh")
	case u.Opaque != "" || u.Host == "":
		return fail("no host; write sftp://[USER@]HOST[:PORT]/DIR")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return fail("query and fragment mean nothing here; percent-encode '?' and '#' in DIR")
	case u.Path == "":
		return fail("no directory; write sftp://HOST/DIR, or sftp://HOST/~/DIR for one below the home directory")
	case len(u.Path) > maxPath:
		return fail("the directory is longer than %d bytes", maxPath)
	case strings.ContainsRune(u.Path, 0):
		return fail("the directory has a zero byte in it")
	}
	p := place{target: openssh.Target{Host: u.Hostname()}, dir: strings.TrimRight(u.Path, "/") + "/"}
	if port := u.Port(); port != "" || strings.HasSuffix(u.Host, ":") {
		number, err := strconv.Atoi(port)
		if err != nil || number < 1 || number > 65535 {
			return fail("port %q is not a number from 1 to 65535", port)
		}
		p.target.Port = number
	}
	if u.User != nil {
		p.target.User = u.User.Username()
		p.target.Password, p.target.HasPassword = u.User.Password()
	}
	if err := openssh.CheckTarget(p.target); err != nil {
		return fail("%w", err)
	}
	// A directory whose name begins with '~' can be written %7E.
	switch escaped := u.EscapedPath(); {
	case escaped == "/~" || strings.HasPrefix(escaped, "/~/"):
		p.dir = strings.TrimLeft(strings.TrimPrefix(p.dir, "/~"), "/")
	case strings.HasPrefix(escaped, "/~"):
		return fail("only one's own home directory has a short form, /~/DIR; write another's as an absolute path")
	}
	return p, nil
}

// file returns the path of a file below the place.
func (p place) file(name string) string { return p.dir + name }
