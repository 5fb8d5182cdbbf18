package sftp

import (
	"errors"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/sftp/openssh"
)

func TestParse(t *testing.T) {
	for uri, want := range map[string]place{
		"sftp://h/srv/images":          {openssh.Target{Host: "h"}, "/srv/images/"},
		"ssh://h/srv/images/":          {openssh.Target{Host: "h"}, "/srv/images/"},
		"sftp://h/":                    {openssh.Target{Host: "h"}, "/"},
		"sftp://h/~":                   {openssh.Target{Host: "h"}, ""},
		"sftp://h/~/":                  {openssh.Target{Host: "h"}, ""},
		"sftp://h/~/a/b":               {openssh.Target{Host: "h"}, "a/b/"},
		"sftp://h/~//etc":              {openssh.Target{Host: "h"}, "etc/"},
		"sftp://h/%7Ea":                {openssh.Target{Host: "h"}, "/~a/"},
		"sftp://h/a%20b%3F":            {openssh.Target{Host: "h"}, "/a b?/"},
		"sftp://u@h:2222/x":            {openssh.Target{Host: "h", Port: 2222, User: "u"}, "/x/"},
		"sftp://u:p%40ss@h/x":          {openssh.Target{Host: "h", User: "u", Password: "p@ss", HasPassword: true}, "/x/"},
		"sftp://u:@h/x":                {openssh.Target{Host: "h", User: "u", HasPassword: true}, "/x/"},
		"sftp://[::1]:22/x":            {openssh.Target{Host: "::1", Port: 22}, "/x/"},
		"sftp://[fe80::1%25eth0]:22/x": {openssh.Target{Host: "fe80::1%eth0", Port: 22}, "/x/"},
	} {
		if got, err := parse(uri); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", uri, got, err, want)
		}
	}
}

func TestCheck(t *testing.T) {
	tr := New(openssh.Options{})
	defer tr.Close()
	if err := tr.Check("sftp://h/x"); err != nil {
		t.Error(err)
	}
	for uri, text := range map[string]string{
		"sftp:h/x":                      "no host",
		"sftp:///x":                     "no host",
		"sftp://u@/x":                   "no host",
		"https://h/x":                   "scheme",
		"h:x":                           "scheme",
		"sftp://h":                      "no directory",
		"sftp://h/x?y":                  "query",
		"sftp://h/x#y":                  "query",
		"sftp://h:0/x":                  "port",
		"sftp://h:/x":                   "port",
		"sftp://h:65536/x":              "port",
		"sftp://h/~u/x":                 "home",
		"sftp://-oX/x":                  "host name",
		"sftp://a%20b/x":                "URI",
		"sftp://-oX:secret@h/x":         "user name",
		"sftp://a%0ab:secret@h/x":       "user name",
		"sftp://u:secret@h/%zz":         "URI",
		"sftp://u:secret@h/a%00b":       "zero byte",
		"sftp://u:secret@h/x\ny":        "URI",
		"sftp://u:secret@h;x/y":         "host name",
		"sftp://h/" + long(5000):        "longer than 4096",
		"sftp://" + long(300) + "/x":    "host name",
		"sftp://u:secret@$(id)/x":       "host name",
		"sftp://u:secret@h/x?p=%s#`id`": "query",
	} {
		err := tr.Check(uri)
		if !errors.Is(err, transport.ErrPermanent) || !strings.Contains(err.Error(), text) {
			t.Errorf("%.40q: %v; want %q in it", uri, err, text)
			continue
		}
		if strings.Contains(err.Error(), "secret") || strings.ContainsAny(err.Error(), "\r\n") {
			t.Errorf("%.40q: the error is not fit to be shown: %q", uri, err)
		}
	}
}

func long(n int) string { return strings.Repeat("a", n) }

func FuzzParse(f *testing.F) {
	f.Add("sftp://u:p@h:22/a/b")
	f.Add("ssh://[::1%25x]/~/a%2Fb")
	f.Add("sftp://%2D@h/~")
	f.Fuzz(func(t *testing.T, uri string) {
		p, err := parse(uri)
		if err != nil {
			if !errors.Is(err, transport.ErrPermanent) || strings.ContainsAny(err.Error(), "\r\n\x00\x1b") {
				t.Errorf("%q", err)
			}
			return
		}
		if openssh.CheckTarget(p.target) != nil || strings.ContainsRune(p.dir, 0) || p.dir != "" && !strings.HasSuffix(p.dir, "/") {
			t.Errorf("%+v", p)
		}
	})
}
