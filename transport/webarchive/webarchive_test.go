package webarchive_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/test/testimage"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/https"
	"github.com/waybill-project/waybill/transport/webarchive"
)

// packed is an image in a tar that GNU tar wrote of its layout.
func packed(t *testing.T) (file string, desc ocispec.Descriptor) {
	t.Helper()
	l, err := testimage.NewLayout(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	layer, err := l.AddLayer(testimage.Random(1, 3<<20), testimage.None)
	if err != nil {
		t.Fatal(err)
	}
	if desc, err = l.AddImage(testimage.Config(), layer); err != nil {
		t.Fatal(err)
	}
	if err := l.Tag(desc, "app"); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "image.tar")
	if out, err := exec.Command("tar", "-C", l.Dir, "-cf", file, ".").CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	return file, desc
}

// The image in an archive is found with little more read than its headers.
func TestResolve(t *testing.T) {
	file, desc := packed(t)
	var sent int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(&counting{w, &sent}, r, file)
	}))
	defer server.Close()
	n := name.Name{Kind: name.Place, Path: webarchive.Scheme + server.URL + "/image.tar"}
	got, err := newTransport().On(0).Resolve(t.Context(), n)
	if err != nil || got.Digest != desc.Digest {
		t.Fatalf("got %+v, %v", got, err)
	}
	if sent > 512<<10 {
		t.Errorf("%d bytes were sent for the sake of an index of some hundred", sent)
	}
}

// counting counts what is written.
type counting struct {
	http.ResponseWriter
	n *int64
}

func (c *counting) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	*c.n += int64(n)
	return n, err
}

func TestRefused(t *testing.T) {
	file, desc := packed(t)
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var gz bytes.Buffer
	zw := gzip.NewWriter(&gz)
	if _, err := zw.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := zw.Close(); err != nil {
		t.Fatal(err)
	}
	for what, test := range map[string]struct {
		content []byte
		whole   bool // the server knows no ranges
		says    string
	}{
		"compressed as a whole": {gz.Bytes(), false, "compressed as a whole"},
		"no tar":                {bytes.Repeat([]byte("<html>"), 1000), false, "not a tar"},
		"cut":                   {content[:len(content)/2], false, "not a tar that can be read"},
		"empty":                 {nil, false, "not in the archive"},
		"no ranges":             {content, true, "knows no ranges"},
	} {
		t.Run(what, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if test.whole {
					r.Header.Del("Range")
				}
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(test.content))
			}))
			defer server.Close()
			_, err := newTransport().Open(t.Context(), transport.Route{URI: webarchive.Scheme + server.URL + "/a.tar"}, desc, 0, desc.Size)
			var te *transport.Error
			if err == nil || !errors.As(err, &te) || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want %q", err, test.says)
			}
		})
	}
}

// An archive of somebody else's is read from the public network only.
func TestRemote(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	web := https.New(httpclient.New(httpclient.Options{CertDirs: []string{}}))
	n := name.Name{Kind: name.Place, Path: webarchive.Scheme + server.URL + "/a.tar"}
	if _, err := webarchive.New(web).On(transport.RemotePublic).Resolve(t.Context(), n); !errors.Is(err, transport.ErrRefused) {
		t.Errorf("got %v", err)
	}
}

func TestCheck(t *testing.T) {
	for uri, ok := range map[string]bool{
		"oci-archive+https://h.example/a.tar": true,
		"oci-archive+https:///a.tar":          false,
		"oci-archive+ftp://h.example/a.tar":   false,
		"https://h.example/a.tar":             false,
	} {
		if err := newTransport().Check(uri); (err == nil) != ok {
			t.Errorf("%s: %v", uri, err)
		}
	}
}

// memory is a server that has one file.
type memory []byte

func (m memory) Open(_ context.Context, _ transport.Route, _ ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(m[offset:][:length])), nil
}

func (m memory) Size(context.Context, transport.Route, ocispec.Descriptor) (int64, error) {
	return int64(len(m)), nil
}

func (memory) Check(string) error { return nil }

// Whatever lies on the server, it is an archive whose members are in it or an
// error by kind.
func FuzzArchive(f *testing.F) {
	f.Add([]byte("x"))
	content, err := exec.Command("tar", "-cf", "-", "doc.go").Output()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(content)
	place := name.Name{Kind: name.Place, Path: webarchive.Scheme + "https://h.example/a.tar"}
	f.Fuzz(func(t *testing.T, tar []byte) {
		_, err := webarchive.New(memory(tar)).On(0).Resolve(t.Context(), place)
		if err != nil && !errors.As(err, new(*transport.Error)) {
			t.Errorf("no kind of error: %v", err)
		}
	})
}
