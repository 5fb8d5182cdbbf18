package ftp_test

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/ftp"
)

// TestConformance runs the suite against vsftpd, in all the ways there are to
// log in and to encrypt.
func TestConformance(t *testing.T) {
	for _, tt := range []struct {
		name, scheme, dir string
		tls, password     bool
		file, public      bool
	}{
		{name: "anonymous", scheme: ftp.Scheme},
		{name: "user, from the root", scheme: ftp.Scheme, password: true, dir: "%2F"},
		{name: "explicit TLS", scheme: ftp.SchemeExplicit, tls: true},
		{name: "implicit TLS", scheme: ftp.SchemeImplicit, tls: true, password: true},
		{name: "one file, named by others", scheme: ftp.Scheme, file: true, public: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			transporttest.Run(t, func(t *testing.T) transporttest.Harness {
				o := realserver.VsftpdOptions{Implicit: tt.scheme == ftp.SchemeImplicit}
				options := ftp.Options{Netrc: filepath.Join(t.TempDir(), "none")}
				if tt.tls {
					o.CA, options.TLS = newCA(t)
				}
				o.Users = tt.password
				if tt.public {
					options.Public, options.Trusted = true, func(string) bool { return true }
				}
				h := harness(t, ftp.New(options), startVsftpd(t, o), tt.scheme, tt.dir)
				if tt.file {
					h = ofFiles(h)
				}
				return h
			})
		})
	}
}

// vsftpd is a server with what is needed to start it again.
type vsftpd struct {
	*realserver.Vsftpd
	dir, root string
	options   realserver.VsftpdOptions
	// user logs in, nil where that is nobody.
	user *url.Userinfo
}

func startVsftpd(t testing.TB, o realserver.VsftpdOptions) *vsftpd {
	t.Helper()
	v := &vsftpd{dir: filepath.Join(t.TempDir(), "conf"), root: t.TempDir(), options: o}
	if o.Users {
		user, err := realserver.NewSystemUser(t.Context(), v.root, "cor:rect/h%rse")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := user.Remove(); err != nil {
				t.Error(err)
			}
		})
		v.user = url.UserPassword(user.Name, user.Password)
	}
	v.start(t)
	t.Cleanup(func() { v.Stop() })
	return v
}

// start starts the server, at the address it had before if there was one.
func (v *vsftpd) start(t testing.TB) {
	t.Helper()
	if v.Vsftpd != nil {
		v.options.Addr = v.Host
	}
	server, err := realserver.StartVsftpd(t.Context(), v.dir, v.root, v.options)
	if err != nil {
		t.Fatal(err)
	}
	v.Vsftpd = server
}

// newCA returns an authority and the configuration that trusts it.
func newCA(t testing.TB) (*realserver.CA, *tls.Config) {
	t.Helper()
	ca, err := realserver.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	pem, err := os.ReadFile(ca.File)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return ca, &tls.Config{RootCAs: roots}
}

// harness is the suite's view of a vsftpd.
func harness(t *testing.T, transportOf *ftp.Transport, v *vsftpd, scheme, dir string) transporttest.Harness {
	// Users of this machine aren't confined to their directory: theirs from the
	// root is its whole path.
	base := func() string {
		uri := v.URL(scheme, v.user) + "/"
		if dir != "" {
			uri += dir + v.root[1:] + "/"
		}
		return uri
	}
	put := func(mode os.FileMode) func(t testing.TB, b transporttest.Blob) transport.Route {
		return func(t testing.TB, b transporttest.Blob) transport.Route {
			t.Helper()
			file := filepath.Join(v.root, "some dir", "blobs", "sha256", b.Digest.Encoded())
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			b.WriteFile(t, file)
			if err := os.Chmod(file, mode); err != nil {
				t.Fatal(err)
			}
			return transport.Route{URI: base() + "some%20dir"}
		}
	}
	answering := func(answers map[string]string) func(t testing.TB, b transporttest.Blob) transport.Route {
		return func(t testing.TB, b transporttest.Blob) transport.Route {
			return transport.Route{URI: startFake(t, &fake{content: b.Bytes(), answers: answers}).uri()}
		}
	}
	return transporttest.Harness{
		Transport: transportOf,
		Put:       put(0o644),
		Faults: map[transporttest.Fault]func(t testing.TB, b transporttest.Blob) transport.Route{
			transporttest.Denied:    put(0o600),
			transporttest.Throttled: answering(map[string]string{"greeting": "421 There are too many connected users, please try later."}),
			transporttest.Temporary: answering(map[string]string{"RETR": "450 File busy"}),
			transporttest.Permanent: answering(map[string]string{"RETR": "552 Exceeded storage allocation"}),
			transporttest.ShortBody: func(t testing.TB, b transporttest.Blob) transport.Route {
				half := b.Bytes()[:b.Size/2]
				f := &fake{content: b.Bytes(), done: "451 Disk failed", send: func(int64) []byte { return half }}
				return transport.Route{URI: startFake(t, f).uri()}
			},
		},
		Stop:  func(testing.TB) { v.Stop() },
		Start: func(t testing.TB) { v.start(t) },
		Pause: func(t testing.TB) {
			if err := v.Pause(); err != nil {
				t.Fatal(err)
			}
		},
		Resume: func(testing.TB) { v.Resume() },
		Stall: func(t testing.TB) transport.Route {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { l.Close() })
			return transport.Route{URI: "ftp://" + l.Addr().String()}
		},
	}
}

// ofFiles has the routes of h name the blob's file.
func ofFiles(h transporttest.Harness) transporttest.Harness {
	named := func(route func(testing.TB, transporttest.Blob) transport.Route) func(testing.TB, transporttest.Blob) transport.Route {
		return func(t testing.TB, b transporttest.Blob) transport.Route {
			r := route(t, b)
			r.URI += "/blobs/sha256/" + b.Digest.Encoded() + ";type=i"
			return r
		}
	}
	h.Put = named(h.Put)
	for fault, route := range h.Faults {
		h.Faults[fault] = named(route)
	}
	h.Missing = func(t testing.TB) (transport.Route, ocispec.Descriptor) {
		b := transporttest.NewBlob(7, 7)
		r := h.Put(t, b)
		r.URI = strings.Replace(r.URI, ";type=i", "-;type=i", 1)
		return r, b.Descriptor()
	}
	return h
}
