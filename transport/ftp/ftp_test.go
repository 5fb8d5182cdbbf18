package ftp_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/filetree"
	"github.com/waybill-project/waybill/transport/ftp"
	"github.com/waybill-project/waybill/transport/netclass"
)

// newTransport returns a transport that doesn't read this user's netrc.
func newTransport(t testing.TB, o ftp.Options) *ftp.Transport {
	t.Helper()
	if o.Netrc == "" {
		o.Netrc = filepath.Join(t.TempDir(), "none")
	}
	tr := ftp.New(o)
	t.Cleanup(func() { tr.Close() })
	return tr
}

// read reads a part of the file "f" of a place.
func read(t testing.TB, tr *ftp.Transport, place string, part filetree.Part) (string, error) {
	t.Helper()
	body, err := tr.OpenFile(t.Context(), place, "f", part)
	if err != nil {
		return "", err
	}
	defer body.Close()
	got, err := io.ReadAll(body)
	return string(got), err
}

// whole is a file of n bytes.
func whole(n int64) filetree.Part { return filetree.Part{Size: n, Length: n} }

func TestFaults(t *testing.T) {
	const content = "0123456789"
	part := filetree.Part{Size: 10, Offset: 2, Length: 3}
	for _, tt := range []struct {
		name string
		fake *fake
		part filetree.Part
		want string
		kind error
		says string
	}{
		{name: "nothing", part: part, want: "234"},
		{name: "SIZE not known", fake: &fake{answers: map[string]string{"SIZE": "502 no"}}, part: part, want: "234"},
		{name: "SIZE not known, nor the size", fake: &fake{answers: map[string]string{"SIZE": "500 what?"}}, part: filetree.Part{Size: -1, Length: -1}, want: content},
		{name: "SIZE refused", fake: &fake{answers: map[string]string{"SIZE": "550 not for you"}}, part: part, want: "234"},
		{name: "SIZE of another file", fake: &fake{answers: map[string]string{"SIZE": "213 11"}}, part: part, kind: transport.ErrPermanent, says: "11 bytes here; it should be 10"},
		{name: "SIZE that is no number", fake: &fake{answers: map[string]string{"SIZE": "213 many"}}, part: part, kind: transport.ErrPermanent, says: "SIZE"},
		{name: "SIZE busy", fake: &fake{answers: map[string]string{"SIZE": "450 busy"}}, part: part, kind: transport.ErrTemporary},
		{name: "EPSV not known", fake: &fake{answers: map[string]string{"EPSV": "500 what?"}}, part: part, want: "234"},
		{name: "EPSV nonsense", fake: &fake{answers: map[string]string{"EPSV": "229 here"}}, part: part, kind: transport.ErrPermanent},
		{name: "neither EPSV nor PASV", fake: &fake{answers: map[string]string{"EPSV": "500 what?", "PASV": "502 no"}}, part: part, kind: transport.ErrPermanent, says: "PASV"},
		{name: "REST not known", fake: &fake{answers: map[string]string{"REST": "502 no"}}, part: part, kind: transport.ErrRangeUnsupported},
		{name: "REST not known, whole file", fake: &fake{answers: map[string]string{"REST": "502 no"}}, part: whole(10), want: content},
		{name: "REST not known, start of the file", fake: &fake{answers: map[string]string{"REST": "502 no"}}, part: filetree.Part{Size: 10, Length: 4}, want: "0123"},
		{name: "REST busy", fake: &fake{answers: map[string]string{"REST": "450 busy"}}, part: part, kind: transport.ErrTemporary},
		{name: "REST ignored", fake: &fake{send: func(int64) []byte { return []byte(content) }}, part: filetree.Part{Size: 10, Offset: 8, Length: 2}, kind: transport.ErrPermanent, says: "more than it should"},
		{name: "too much", fake: &fake{send: func(int64) []byte { return []byte(content + "x") }}, part: whole(10), kind: transport.ErrPermanent, says: "more than it should"},
		{name: "too little, said to be all", fake: &fake{send: func(int64) []byte { return []byte("0123") }}, part: whole(10), kind: io.ErrUnexpectedEOF, says: "6 bytes too early"},
		{name: "too little, with a reason", fake: &fake{send: func(int64) []byte { return []byte("0123") }, done: "451 disk"}, part: whole(10), kind: transport.ErrTemporary, says: "451 disk"},
		{name: "cut, of unknown size", fake: &fake{answers: map[string]string{"SIZE": "502 no"}, send: func(int64) []byte { return []byte("0123") }, done: "426 cut"}, part: filetree.Part{Size: -1, Length: -1}, kind: transport.ErrTemporary, says: "426 cut"},
		{name: "beyond the end", part: filetree.Part{Size: 10, Offset: 9, Length: 2}, kind: transport.ErrPermanent},
		{name: "no file", fake: &fake{answers: map[string]string{"SIZE": "550 no", "RETR": "550 No such file"}}, part: part, kind: transport.ErrNotFound},
		{name: "hidden file", fake: &fake{answers: map[string]string{"RETR": "550 Failed to open file."}}, part: part, kind: transport.ErrUnauthorized},
		{name: "wrong password", fake: &fake{answers: map[string]string{"PASS": "530 no, not waybill@"}}, part: part, kind: transport.ErrUnauthorized, says: `530 no, not …`},
		{name: "unknown user", fake: &fake{answers: map[string]string{"USER": "530 Sorry, too many users"}}, part: part, kind: transport.ErrThrottled},
		{name: "no password wanted", fake: &fake{answers: map[string]string{"USER": "230 hello"}}, part: part, want: "234"},
		{name: "no binary mode", fake: &fake{answers: map[string]string{"TYPE": "504 only ASCII"}}, part: part, kind: transport.ErrPermanent, says: "TYPE I"},
		{name: "hangs up at once", fake: &fake{answers: map[string]string{"greeting": ""}}, part: part, kind: transport.ErrTemporary},
		{name: "another protocol", fake: &fake{answers: map[string]string{"greeting": "SSH-2.0-x"}}, part: part, kind: transport.ErrPermanent, says: "doesn't begin with a code"},
		{name: "endless line", fake: &fake{answers: map[string]string{"greeting": "220 " + strings.Repeat("x", 1<<20)}}, part: part, kind: transport.ErrPermanent, says: "limit of 4096 bytes"},
		{name: "endless lines", fake: &fake{answers: map[string]string{"greeting": "220-" + strings.Repeat("x\r\n", 1<<18)}}, part: part, kind: transport.ErrPermanent, says: "limit of 256"},
		{name: "replies are shown on one line", fake: &fake{answers: map[string]string{"RETR": "551-a\r\n\x1b[31mb\r\n551 c"}}, part: part, kind: transport.ErrPermanent, says: `"551 a [31mb c"`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := tt.fake
			if f == nil {
				f = &fake{}
			}
			f.content = []byte(content)
			startFake(t, f)
			got, err := read(t, newTransport(t, ftp.Options{}), f.uri(), tt.part)
			if tt.kind == nil {
				if err != nil || got != tt.want {
					t.Errorf("got %q, %v; want %q", got, err, tt.want)
				}
				return
			}
			var te *transport.Error
			if !errors.Is(err, tt.kind) || !errors.As(err, &te) || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %v that says %q", err, tt.kind, tt.says)
			}
		})
	}
}

// A server that understands offsets modulo 2^32 would send other bytes.
func TestOffsetThatWraps(t *testing.T) {
	f := startFake(t, &fake{answers: map[string]string{"SIZE": "213 6000000000", "REST": "350 Restarting at 705032704"}})
	part := filetree.Part{Size: 6_000_000_000, Offset: 5_000_000_000, Length: 10}
	if _, err := read(t, newTransport(t, ftp.Options{}), f.uri(), part); !errors.Is(err, transport.ErrRangeUnsupported) {
		t.Errorf("got %v", err)
	}
	if f.sent("RETR") != 0 {
		t.Error("the file was asked for all the same")
	}
}

// The fake's PASV names 192.0.2.1: whoever believes it connects to somebody
// else (RFC 2577).
func TestPassiveAddressIsIgnored(t *testing.T) {
	f := startFake(t, &fake{content: []byte("0123456789"), answers: map[string]string{"EPSV": "500 what?"}})
	var mu sync.Mutex
	dialled := map[string]int{}
	o := ftp.Options{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		host, _, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		mu.Lock()
		dialled[host]++
		mu.Unlock()
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}}
	tr := newTransport(t, o)
	for range 2 {
		if got, err := read(t, tr, f.uri(), whole(10)); err != nil || got != "0123456789" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if dialled["127.0.0.1"] != 3 || len(dialled) != 1 {
		t.Errorf("dialled %v; want one control and two data connections to 127.0.0.1", dialled)
	}
	if n := f.sent("EPSV"); n != 1 {
		t.Errorf("a server that doesn't know EPSV was sent it %d times", n)
	}
}

func TestNetworksThatMayNotBeReached(t *testing.T) {
	f := startFake(t, &fake{content: []byte("x")})
	d := &netclass.Dialer{Floor: netclass.Public}
	if _, err := read(t, newTransport(t, ftp.Options{Dial: d.DialContext}), f.uri(), whole(1)); !errors.Is(err, transport.ErrRefused) {
		t.Errorf("got %v", err)
	}
}

// One connection serves range after range, also after some were cut.
func TestConnectionIsReused(t *testing.T) {
	v := startVsftpd(t, realserver.VsftpdOptions{})
	b := transporttest.NewBlob(1, 8<<20)
	b.WriteFile(t, filepath.Join(v.root, "f"))
	tr := newTransport(t, ftp.Options{})
	for i := range int64(10) {
		body, err := tr.OpenFile(t.Context(), v.URL(ftp.Scheme, nil), "f", filetree.Part{Size: b.Size, Offset: i << 19, Length: 1 << 19})
		if err != nil {
			t.Fatal(err)
		}
		want := make([]byte, 1<<(10+i)) // nothing special about how much is read
		if _, err := b.ReadAt(want, i<<19); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want))
		if _, err := io.ReadFull(body, got); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("range %d: %v, or wrong bytes", i, err)
		}
		body.Close()
	}
	commands, err := v.Commands()
	if err != nil {
		t.Fatal(err)
	}
	count := func(prefix string) (n int) {
		for _, c := range commands {
			if strings.HasPrefix(c, prefix) {
				n++
			}
		}
		return n
	}
	if count("USER") != 1 || count("RETR f") != 10 || count("REST") != 9 || count("TYPE I") != 1 {
		t.Errorf("not ten ranges through one connection:\n%s", strings.Join(commands, "\n"))
	}
}

// After a stray reply no answer belongs to what was asked.
func TestConfusedConnectionIsGivenUp(t *testing.T) {
	f := startFake(t, &fake{content: []byte("0123456789"), done: "426 cut\r\n226 and done"})
	tr := newTransport(t, ftp.Options{})
	for range 3 {
		if got, err := read(t, tr, f.uri(), filetree.Part{Size: 10, Offset: 1, Length: 3}); err != nil || got != "123" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	if n := f.sent("USER"); n != 3 {
		t.Errorf("%d logins for three ranges of a server that answers twice", n)
	}
}

// A refused RETR leaves an offset behind that the next one must not use.
func TestOffsetOfARefusedRange(t *testing.T) {
	f := startFake(t, &fake{content: []byte("0123456789"), answers: map[string]string{"RETR": "450 busy"}})
	tr := newTransport(t, ftp.Options{})
	for range 2 {
		if _, err := read(t, tr, f.uri(), filetree.Part{Size: 10, Offset: 1, Length: 3}); !errors.Is(err, transport.ErrTemporary) {
			t.Fatalf("got %v", err)
		}
	}
	if n := f.sent("USER"); n != 2 {
		t.Errorf("%d logins, want one for each refused range", n)
	}
}

func TestConnectionsTheServerClosedAreReplaced(t *testing.T) {
	f := startFake(t, &fake{content: []byte("0123456789")})
	tr := newTransport(t, ftp.Options{})
	for range 3 {
		if got, err := read(t, tr, f.uri(), whole(10)); err != nil || got != "0123456789" {
			t.Fatalf("got %q, %v", got, err)
		}
		f.hangUp()
	}
}

// The reader doesn't wait for a server that keeps the connection open.
func TestServerThatDoesNotHangUp(t *testing.T) {
	f := startFake(t, &fake{content: []byte("0123456789"), hold: true})
	tr := newTransport(t, ftp.Options{})
	if got, err := read(t, tr, f.uri(), filetree.Part{Size: 10, Offset: 1, Length: 3}); err != nil || got != "123" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestConnectionsAreLimited(t *testing.T) {
	v := startVsftpd(t, realserver.VsftpdOptions{})
	if err := os.WriteFile(filepath.Join(v.root, "f"), make([]byte, 10), 0o644); err != nil {
		t.Fatal(err)
	}
	tr := newTransport(t, ftp.Options{Connections: 1})
	place := v.URL(ftp.Scheme, nil)
	body, err := tr.OpenFile(t.Context(), place, "f", whole(10))
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan error)
	go func() {
		_, err := read(t, tr, place, whole(10))
		second <- err
	}()
	body.Close()
	if err := <-second; err != nil {
		t.Error(err)
	}
}

func TestServerWithTooManyUsers(t *testing.T) {
	v := startVsftpd(t, realserver.VsftpdOptions{Config: "max_clients=1"})
	if err := os.WriteFile(filepath.Join(v.root, "f"), make([]byte, 10), 0o644); err != nil {
		t.Fatal(err)
	}
	first := newTransport(t, ftp.Options{})
	body, err := first.OpenFile(t.Context(), v.URL(ftp.Scheme, nil), "f", whole(10))
	for errors.Is(err, transport.ErrThrottled) {
		// The connection that saw the server was up may still count.
		body, err = first.OpenFile(t.Context(), v.URL(ftp.Scheme, nil), "f", whole(10))
	}
	if err != nil {
		t.Fatal(err)
	}
	defer body.Close()
	if _, err := read(t, newTransport(t, ftp.Options{}), v.URL(ftp.Scheme, nil), whole(10)); !errors.Is(err, transport.ErrThrottled) {
		t.Errorf("got %v", err)
	}
}

func TestLogins(t *testing.T) {
	v := startVsftpd(t, realserver.VsftpdOptions{Users: true, NoAnonymous: true})
	if err := os.WriteFile(filepath.Join(v.root, "f"), []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	user := v.user.Username()
	password, _ := v.user.Password()
	netrc := func(format string, args ...any) string {
		file := filepath.Join(t.TempDir(), "netrc")
		if err := os.WriteFile(file, fmt.Appendf(nil, format, args...), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	both := netrc("machine 127.0.0.1 login nobody password wrong\nmachine 127.0.0.1 login %s password %s", user, password)
	for _, tt := range []struct {
		name  string
		user  *url.Userinfo
		netrc string
		kind  error
		says  string
	}{
		{"in the URI", v.user, "", nil, ""},
		{"from netrc", nil, netrc("machine 127.0.0.1 login %s password %s", user, password), nil, ""},
		{"from netrc, of a certain user", url.User(user), both, nil, ""},
		{"first of netrc", nil, both, transport.ErrUnauthorized, "check the password"},
		{"nobody", nil, "", transport.ErrUnauthorized, "machine 127.0.0.1 login USER password PASSWORD"},
		{"no password", url.User(user), "", transport.ErrUnauthorized, "wants a password"},
		{"wrong password", url.UserPassword(user, "hunter2hunter2"), "", transport.ErrUnauthorized, "check the password"},
		{"netrc that is broken", nil, netrc("machine 127.0.0.1 hunter2hunter2 x"), transport.ErrPermanent, "line 1"},
		{"netrc for everyone", nil, netrc("default login %s password %s", user, password), transport.ErrUnauthorized, "login as \"anonymous\""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := read(t, newTransport(t, ftp.Options{Netrc: tt.netrc}), v.URL(ftp.Scheme, tt.user), whole(7))
			if tt.kind == nil && (err != nil || got != "content") {
				t.Errorf("got %q, %v", got, err)
			}
			if tt.kind != nil && (!errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.says)) {
				t.Errorf("got %v; want %v that says %q", err, tt.kind, tt.says)
			}
			if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), password)) {
				t.Errorf("the password is in %v", err)
			}
		})
	}
	t.Run("from $NETRC", func(t *testing.T) {
		t.Setenv("NETRC", both)
		tr := ftp.New(ftp.Options{})
		defer tr.Close()
		if got, err := read(t, tr, v.URL(ftp.Scheme, url.User(user)), whole(7)); err != nil || got != "content" {
			t.Errorf("got %q, %v", got, err)
		}
	})
	t.Run("from the home directory", func(t *testing.T) {
		t.Setenv("NETRC", "")
		t.Setenv("HOME", t.TempDir())
		data, err := os.ReadFile(both)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(os.Getenv("HOME"), ".netrc"), data, 0o644); err != nil {
			t.Fatal(err)
		}
		tr := ftp.New(ftp.Options{})
		defer tr.Close()
		if got, err := read(t, tr, v.URL(ftp.Scheme, url.User(user)), whole(7)); err != nil || got != "content" {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

func TestTLS(t *testing.T) {
	ca, trusting := newCA(t)
	_, other := newCA(t)
	explicit := startVsftpd(t, realserver.VsftpdOptions{CA: ca})
	implicit := startVsftpd(t, realserver.VsftpdOptions{CA: ca, Implicit: true})
	plain := startVsftpd(t, realserver.VsftpdOptions{})
	strict := startVsftpd(t, realserver.VsftpdOptions{CA: ca, Config: "force_anon_logins_ssl=YES\nforce_anon_data_ssl=YES"})
	for _, v := range []*vsftpd{explicit, implicit, plain, strict} {
		if err := os.WriteFile(filepath.Join(v.root, "f"), []byte("content"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	twelve := trusting.Clone()
	twelve.MaxVersion = tls.VersionTLS12
	for _, tt := range []struct {
		name   string
		place  string
		config *tls.Config
		kind   error
		says   string
	}{
		{"explicit", explicit.URL("ftpes", nil), trusting, nil, ""},
		{"explicit, TLS 1.2", explicit.URL("ftpes", nil), twelve, nil, ""},
		{"implicit", implicit.URL("ftps", nil), trusting, nil, ""},
		{"required", strict.URL("ftpes", nil), trusting, nil, ""},
		{"not trusted", explicit.URL("ftpes", nil), other, transport.ErrPermanent, "SSL_CERT_FILE"},
		{"system's roots", implicit.URL("ftps", nil), nil, transport.ErrPermanent, "SSL_CERT_FILE"},
		{"server without", plain.URL("ftpes", nil), trusting, transport.ErrPermanent, "no TLS on this port"},
		{"implicit of a plain server", plain.URL("ftps", nil), trusting, transport.ErrPermanent, "TLS handshake"},
		{"required and not used", strict.URL("ftp", nil), trusting, transport.ErrUnauthorized, "write ftpes://"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tr := newTransport(t, ftp.Options{TLS: tt.config})
			for range 3 { // sessions are resumed more than once
				got, err := read(t, tr, tt.place, whole(7))
				if tt.kind == nil && (err != nil || got != "content") {
					t.Fatalf("got %q, %v", got, err)
				}
				if tt.kind != nil && (!errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.says)) {
					t.Fatalf("got %v; want %v that says %q", err, tt.kind, tt.says)
				}
			}
		})
	}
}

// What is sent before TLS has begun must not count as sent within it.
func TestInjectionBeforeTLS(t *testing.T) {
	f := startFake(t, &fake{answers: map[string]string{"AUTH": "234 go on\r\n230 you are logged in"}})
	_, trusting := newCA(t)
	place := strings.Replace(f.uri(), "ftp:", "ftpes:", 1)
	if _, err := read(t, newTransport(t, ftp.Options{TLS: trusting}), place, whole(1)); !errors.Is(err, transport.ErrPermanent) || !strings.Contains(err.Error(), "before TLS has begun") {
		t.Errorf("got %v", err)
	}
}

func TestPathsFromTheRoot(t *testing.T) {
	f := startFake(t, &fake{content: []byte("x")})
	tr := newTransport(t, ftp.Options{})
	base := strings.TrimSuffix(f.uri(), "/d")
	for _, tt := range []struct{ path, want string }{
		{"/d/e", "RETR d/e/f"}, {"/%2Fd", "RETR /d/f"}, {"", "RETR f"}, {"/a%20b", "RETR a b/f"},
	} {
		if _, err := read(t, tr, base+tt.path, whole(1)); err != nil {
			t.Fatal(err)
		}
		f.mu.Lock()
		if !slices.Contains(f.commands, tt.want) {
			t.Errorf("%s: no %q in %q", tt.path, tt.want, f.commands)
		}
		f.mu.Unlock()
	}
}

func TestFileSize(t *testing.T) {
	for answer, want := range map[string]struct {
		size int64
		kind error
	}{
		"213 5":                    {5, nil},
		"502 no":                   {-1, nil},
		"550 no such file":         {0, transport.ErrNotFound},
		"550 access denied":        {0, transport.ErrUnauthorized},
		"421 going down":           {0, transport.ErrTemporary},
		"213 -5":                   {0, transport.ErrPermanent},
		"213 99999999999999999999": {0, transport.ErrPermanent},
	} {
		f := startFake(t, &fake{answers: map[string]string{"SIZE": answer}})
		size, err := newTransport(t, ftp.Options{}).FileSize(t.Context(), f.uri(), "f")
		if size != want.size || !errors.Is(err, want.kind) {
			t.Errorf("%q: %d, %v; want %d, %v", answer, size, err, want.size, want.kind)
		}
	}
}
