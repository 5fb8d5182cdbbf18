package ftp

import (
	"bufio"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/transport"
)

func TestParsePlace(t *testing.T) {
	for uri, want := range map[string]struct {
		server server
		dir    string
	}{
		"ftp://h":                {server{scheme: "ftp", host: "h", port: "21"}, ""},
		"ftp://h/":               {server{scheme: "ftp", host: "h", port: "21"}, ""},
		"ftp://h/a/b":            {server{scheme: "ftp", host: "h", port: "21"}, "a/b/"},
		"ftp://h/a%20b/":         {server{scheme: "ftp", host: "h", port: "21"}, "a b/"},
		"ftp://h/%2Fsrv/x":       {server{scheme: "ftp", host: "h", port: "21"}, "/srv/x/"},
		"ftp://h//srv/x":         {server{scheme: "ftp", host: "h", port: "21"}, "/srv/x/"},
		"ftp://h/%2F":            {server{scheme: "ftp", host: "h", port: "21"}, "/"},
		"ftpes://h:2121/a":       {server{scheme: "ftpes", host: "h", port: "2121"}, "a/"},
		"ftps://[::1]/a":         {server{scheme: "ftps", host: "::1", port: "990"}, "a/"},
		"ftp://u@h/a":            {server{scheme: "ftp", host: "h", port: "21", user: "u"}, "a/"},
		"ftp://u:@h/a":           {server{scheme: "ftp", host: "h", port: "21", user: "u", hasPassword: true}, "a/"},
		"ftp://u%40x:p%2Fw@h/a":  {server{scheme: "ftp", host: "h", port: "21", user: "u@x", password: "p/w", hasPassword: true}, "a/"},
		"ftp://h/%C3%A9t%C3%A9/": {server{scheme: "ftp", host: "h", port: "21"}, "été/"},
	} {
		s, dir, err := parsePlace(uri)
		if err != nil || s != want.server || dir != want.dir {
			t.Errorf("parsePlace(%q) = %+v, %q, %v; want %+v, %q", uri, s, dir, err, want.server, want.dir)
		}
	}
}

func TestParsePlaceRefuses(t *testing.T) {
	for uri, want := range map[string]string{
		"http://h/a":               `scheme "http"`,
		"ftp:///a":                 "no host",
		"ftp:a":                    "no host",
		"ftp://h/a?b":              "percent-encode",
		"ftp://h/a?":               "percent-encode",
		"ftp://h/a#b":              "percent-encode",
		"ftp://h:0/":               "port 0",
		"ftp://h:65536/":           "port 65536",
		"ftp://:secret@h/":         "no user",
		"ftp://u:secret@h/%0d%0aX": "can't send",
		"ftp://u:secret%0a@h/":     "can't send",
		"ftp://u%0dX:secret@h/":    "can't send",
		"ftp://h/%00":              "can't send",
		"ftp://h/%ff":              "can't send",
		"ftp://h/a;type=a":         "TYPE I",
		"ftp://u:secret@h/%zz":     "RFC 3986",
		"ftp://u:secret@h:x/":      "RFC 3986",
	} {
		_, _, err := parsePlace(uri)
		if !errors.Is(err, transport.ErrPermanent) || !strings.Contains(err.Error(), want) {
			t.Errorf("parsePlace(%q): %v, want %q", uri, err, want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("the password is in %v", err)
		}
	}
}

func FuzzParsePlace(f *testing.F) {
	f.Add("u", "h", "%2Fa%20b")
	f.Add("u%00", "[::1]:21", "a;type=i")
	f.Fuzz(func(t *testing.T, user, host, dir string) {
		const secret = "hunter2hunter2"
		if strings.ContainsAny(user, "/?#") {
			return // what follows is no user information
		}
		s, path, err := parsePlace("ftp://" + user + ":" + secret + "@" + host + "/" + dir)
		if err != nil {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("the password is in %v", err)
			}
			return
		}
		if !sendable(s.user) || !sendable(s.password) || !sendable(path) || path != "" && !strings.HasSuffix(path, "/") {
			t.Errorf("accepted %+v, %q", s, path)
		}
	})
}

func TestReadReply(t *testing.T) {
	for _, tt := range []struct {
		name, input string
		want        reply
		rest        string
	}{
		{"one line", "220 ready\r\n", reply{220, "ready"}, ""},
		{"no carriage return", "220 ready\n331", reply{220, "ready"}, "331"},
		{"no text", "226\r\n", reply{226, ""}, ""},
		{"many lines", "230-Welcome\r\n  to us\r\n230 done\r\nX", reply{230, "Welcome\n  to us\ndone"}, "X"},
		{"lines with other codes", "211-Features:\r\n220 no end\r\n211-more\r\n211 End\r\n", reply{211, "Features:\n220 no end\nmore\nEnd"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := bufio.NewReaderSize(strings.NewReader(tt.input), maxReplyLine)
			got, err := readReply(r)
			if err != nil || got != tt.want {
				t.Errorf("got %+v, %v; want %+v", got, err, tt.want)
			}
			if rest, _ := io.ReadAll(r); string(rest) != tt.rest {
				t.Errorf("left %q, want %q", rest, tt.rest)
			}
		})
	}
}

func TestReadReplyRefuses(t *testing.T) {
	for _, tt := range []struct{ name, input, want string }{
		{"no code", "hello\r\n", "doesn't begin with a code"},
		{"another protocol", "SSH-2.0-OpenSSH\r\n", "doesn't begin with a code"},
		{"protected reply", "631 x\r\n", "doesn't begin with a code"},
		{"code and letter", "220x\r\n", "doesn't begin with a code"},
		{"long line", "220 " + strings.Repeat("x", maxReplyLine) + "\r\n", "limit of 4096 bytes"},
		{"many lines", "220-x\r\n" + strings.Repeat("y\r\n", maxReplyLines) + "220 z\r\n", "limit of 256"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := readReply(bufio.NewReaderSize(strings.NewReader(tt.input), maxReplyLine))
			var malformed *malformedError
			if !errors.As(err, &malformed) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
	for _, cut := range []string{"", "22", "220-x\r\n", "220-x\r\n220"} {
		if _, err := readReply(bufio.NewReaderSize(strings.NewReader(cut), maxReplyLine)); !errors.Is(err, io.EOF) {
			t.Errorf("%q: %v", cut, err)
		}
	}
}

func FuzzReadReply(f *testing.F) {
	for _, seed := range []string{"220 x\r\n", "230-a\r\nb\r\n230 c\r\n", "229 (|||1|)\r\n", "227 1,2,3,4,5,6\r\n", "213 5\r\n", "350 (7)\r\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		r, err := readReply(bufio.NewReaderSize(strings.NewReader(string(input)), maxReplyLine))
		if err != nil {
			return
		}
		if r.code < 100 || r.code > 599 || len(r.text) > maxReplyLine*maxReplyLines {
			t.Errorf("%q is %+v", input, r)
		}
		if strings.ContainsAny(r.String(), "\r\n") {
			t.Errorf("%q is shown as %q", input, r)
		}
		for name, parse := range map[string]func(string) (int, error){"EPSV": parseExtended, "PASV": parsePassive} {
			if port, err := parse(r.text); err == nil && (port < 1 || port > 65535) {
				t.Errorf("%s %q is port %d", name, r.text, port)
			}
		}
		if size, err := parseSize(r.text); err == nil && size < 0 {
			t.Errorf("SIZE %q is %d", r.text, size)
		}
		wrapped(r.text, 5<<30)
	})
}

func TestParsePorts(t *testing.T) {
	for text, want := range map[string]int{
		"Entering Extended Passive Mode (|||6446|)": 6446,
		"(!!!1!)": 1,
		"Entering Extended Passive Mode |||6446|": 0,
		"(|||0|)":     0,
		"(|||65536|)": 0,
		"(||6446|)":   0,
		"()":          0,
		"":            0,
	} {
		if got, err := parseExtended(text); got != want || (err == nil) != (want != 0) {
			t.Errorf("parseExtended(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
	for text, want := range map[string]int{
		"Entering Passive Mode (127,0,0,1,25,46).": 25*256 + 46,
		"Entering Passive Mode 127,0,0,1,25,46":    25*256 + 46,
		"=127,0,0,1,25,46":                         25*256 + 46,
		"Entering Passive Mode (127,0,0,1,25)":     0,
		"Entering Passive Mode (127,0,0,1,25,256)": 0,
		"(1,2,3,4,5,6,7)":                          0,
		"(1,2,3,4,0,0)":                            0,
		"Entering":                                 0,
	} {
		if got, err := parsePassive(text); got != want || (err == nil) != (want != 0) {
			t.Errorf("parsePassive(%q) = %d, %v; want %d", text, got, err, want)
		}
	}
}

func TestWrapped(t *testing.T) {
	const offset = 5<<30 + 7
	for text, want := range map[string]bool{
		"Restart position accepted (5368709127).":    false,
		"Restarting at 5368709127. Send RETR":        false,
		"ok":                                         false,
		"Restart position accepted (1073741831).":    true,
		"Restarting at 2147483647.":                  true,
		"Restarting at 4294967295":                   true,
		"Requested file action pending further info": false,
	} {
		if got := wrapped(text, offset); got != want {
			t.Errorf("wrapped(%q) = %v", text, got)
		}
	}
	if !wrapped("Restarting at -1073741824", 3<<30) {
		t.Error("a negative offset isn't noticed")
	}
	if wrapped("Restarting at 7", 7) {
		t.Error("a small offset counts as wrapped")
	}
}

func TestParseNetrc(t *testing.T) {
	for _, tt := range []struct {
		name, content string
		want          []netrcEntry
	}{
		{"empty", "", nil},
		{"a line", "machine h login u password p\n", []netrcEntry{{"h", "u", "p", true}}},
		{"lines", "machine h\n\tlogin u\n\tpassword p\nmachine i login v", []netrcEntry{{"h", "u", "p", true}, {"i", "v", "", false}}},
		{"default", "default login anonymous password me@h", []netrcEntry{{"", "anonymous", "me@h", true}}},
		{"comments", "# machine no login x\nmachine h # not here\nlogin u password #p\n", []netrcEntry{{"h", "u", "#p", true}}},
		{"quotes", `machine h login "u v" password "a\"b\\c d"`, []netrcEntry{{"h", "u v", `a"b\c d`, true}}},
		{"empty password", `machine h login u password ""`, []netrcEntry{{"h", "u", "", true}}},
		{"account", "machine h login u account a password p", []netrcEntry{{"h", "u", "p", true}}},
		{"macro", "machine h login u password p\nmacdef init\ncd /x\nmachine evil\n\nmachine i login v password q", []netrcEntry{{"h", "u", "p", true}, {"i", "v", "q", true}}},
		{"macro at the end", "machine h login u\nmacdef init\ncd", []netrcEntry{{"h", "u", "", false}}},
		{"values that are keywords", "machine login login machine password default", []netrcEntry{{"login", "machine", "default", true}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseNetrc(tt.content)
			if err != nil || !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, %v; want %+v", got, err, tt.want)
			}
		})
	}
}

func TestParseNetrcRefuses(t *testing.T) {
	for content, want := range map[string]string{
		"machine h login u password my secret":     "line 1: neither default",
		"machine h\nlogin u\npasswd secret":        "line 3: neither default",
		"login u":                                  "line 1: login before any machine",
		"machine h login":                          "line 1: nothing follows login",
		"machine \"\"":                             "line 1: empty name",
		"machine h\npassword \"secret":             "line 2: a quote isn't closed",
		"machine h password \"secret\nmore\"":      "line 1: a quote isn't closed",
		"machine h password \"secret\\\nmore\"":    "line 1: a quote isn't closed",
		"machine h password \"secret\\nmore\"":     "line 1: password holds",
		"macdef x\n\nmachine h\nsecret x":          "line 4: neither default",
		"machine h login u\nmacdef x\na\n\nsecret": "line 5: neither default",
	} {
		_, err := parseNetrc(content)
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("parseNetrc(%q): %v, want %q", content, err, want)
		}
	}
}

func TestFindLogin(t *testing.T) {
	entries := []netrcEntry{
		{machine: "h", login: "first"}, {machine: "h", login: "second"}, {machine: "empty"},
		{login: "everywhere", password: "secret", hasPassword: true}, {login: "anonymous", password: "me@h", hasPassword: true},
	}
	for _, tt := range []struct{ host, user, want string }{
		{"h", "", "first"},
		{"H", "second", "second"},
		{"h", "third", ""},
		{"other", "", "anonymous"}, // and no password to whoever is asked
		{"other", "everywhere", ""},
		{"empty", "", "anonymous"},
	} {
		if got, ok := findLogin(entries, tt.host, tt.user); got.login != tt.want || ok != (tt.want != "") {
			t.Errorf("findLogin(%q, %q) = %+v, %v; want %q", tt.host, tt.user, got, ok, tt.want)
		}
	}
}

func FuzzParseNetrc(f *testing.F) {
	f.Add("machine h login u password p\n# c\nmacdef m\nx\n\ndefault login anonymous")
	f.Add(`machine "a b" password "\n\"\\"`)
	f.Fuzz(func(t *testing.T, content string) {
		entries, err := parseNetrc(content)
		if err != nil && strings.Contains(err.Error(), "\n") {
			t.Errorf("not one line: %q", err)
		}
		for _, e := range entries {
			if !sendable(e.login) || !sendable(e.password) {
				t.Errorf("accepted %+v", e)
			}
		}
	})
}

func TestKinds(t *testing.T) {
	for _, tt := range []struct {
		code   int
		text   string
		exists bool
		want   error
	}{
		{421, "There are too many connected users, please try later.", false, transport.ErrThrottled},
		{421, "There are too many connections from your internet address.", false, transport.ErrThrottled},
		{421, "Service not available, closing control connection.", false, transport.ErrTemporary},
		{421, "Timeout.", false, transport.ErrTemporary},
		{530, "Sorry, the maximum number of clients (10) for this user are already connected.", false, transport.ErrThrottled},
		{530, "Login incorrect.", false, transport.ErrUnauthorized},
		{530, "This FTP server is anonymous only.", false, transport.ErrUnauthorized},
		{430, "Invalid username or password", false, transport.ErrUnauthorized},
		{532, "Need account", false, transport.ErrUnauthorized},
		{550, "No such file or directory", false, transport.ErrNotFound},
		{550, "No such file or directory", true, transport.ErrNotFound},
		{550, "x: not a plain file.", false, transport.ErrNotFound},
		{550, "Permission denied.", false, transport.ErrUnauthorized},
		{550, "Failed to open file.", false, transport.ErrNotFound},
		{550, "Failed to open file.", true, transport.ErrUnauthorized},
		{450, "File busy", false, transport.ErrTemporary},
		{425, "Can't open data connection", false, transport.ErrTemporary},
		{451, "Local error", false, transport.ErrTemporary},
		{522, "SSL connection failed; session reuse required", false, transport.ErrPermanent},
		{552, "Exceeded storage allocation", false, transport.ErrPermanent},
		{502, "Not implemented", false, transport.ErrPermanent},
		{226, "out of turn", false, transport.ErrPermanent},
	} {
		e := &refusal{reply: reply{tt.code, tt.text}, exists: tt.exists}
		if got := e.kind(); got != tt.want {
			t.Errorf("%d %s (exists: %v) is %v, want %v", tt.code, tt.text, tt.exists, got, tt.want)
		}
	}
}
