package name_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/name"
)

const (
	hex64  = "0ba904eae8773b70c75333db4de2f3ac45a8ad4ddba1b242f0b3cfc199391dd8"
	sha    = "sha256:" + hex64
	blake  = "blake3:" + hex64
	sha512 = "sha512:" + hex64 + hex64
)

func ExampleParse() {
	n, err := name.Parse("alpine")
	if err != nil {
		panic(err)
	}
	fmt.Println(n.Kind, n.Host, n.Repository, n.Tag)
	fmt.Println(n)
	fmt.Println(n.Familiar())

	_, err = name.Parse("docker://example.com/Alpine")
	fmt.Println(err)
	// Output:
	// docker docker.io library/alpine latest
	// docker.io/library/alpine:latest
	// alpine:latest
	// name "docker://example.com/Alpine", character 22: upper-case 'A' in a repository; write it in lower case
}

func TestParse(t *testing.T) {
	registry := func(host, repo, tag string, d digest.Digest) name.Name {
		return name.Name{Kind: name.Registry, Host: host, Repository: repo, Tag: tag, Digest: d}
	}
	local := func(k name.Kind, path, ref string, d digest.Digest) name.Name {
		return name.Name{Kind: k, Path: path, Ref: ref, Digest: d}
	}
	place := func(uri, ref string, d digest.Digest) name.Name {
		return name.Name{Kind: name.Place, Path: uri, Ref: ref, Digest: d}
	}
	tests := []struct {
		in       string
		want     name.Name
		canon    string // "" means in
		familiar string // "" means canon
	}{
		{"sftp://me@h:22/srv/app", place("sftp://me@h:22/srv/app", "", ""), "", ""},
		{"s3://b/p?endpoint=http://h:1/#v1", place("s3://b/p?endpoint=http://h:1/", "v1", ""), "", ""},
		{"ipfs://bafyx/app#a%20b%40c@" + sha, place("ipfs://bafyx/app", "a b@c", sha), "", ""},
		{"gs://b#docker.io/library/alpine:3", place("gs://b", "docker.io/library/alpine:3", ""), "", ""},
		{"example.com/app#1.0", name.Name{Kind: name.Host, Path: "example.com/app", Ref: "1.0"}, "", ""},
		{"example.com/a/b#", name.Name{Kind: name.Host, Path: "example.com/a/b"}, "", ""},
		{"[::1]/app#x@" + sha, name.Name{Kind: name.Host, Path: "[::1]/app", Ref: "x", Digest: sha}, "", ""},
		{"parcel:example.com/app", name.Name{Kind: name.Parcel, Path: "example.com/app"}, "", ""},
		{"abd:com.example.app,os=linux,version=1.0", name.Name{Kind: name.ABD, Path: "com.example.app,os=linux,version=1.0"}, "", ""},
		{"abd:com.example.app@" + sha, name.Name{Kind: name.ABD, Path: "com.example.app", Digest: sha}, "", ""},
		{"appc:example.com/app:1.0,os=linux", name.Name{Kind: name.AppC, Path: "example.com/app:1.0,os=linux"}, "", ""},
		{"appc:example.com/app:1.0@" + sha, name.Name{Kind: name.AppC, Path: "example.com/app:1.0", Digest: sha}, "", ""},
		{"alpine", registry("docker.io", "library/alpine", "latest", ""), "docker.io/library/alpine:latest", "alpine:latest"},
		{"alpine:3.20", registry("docker.io", "library/alpine", "3.20", ""), "docker.io/library/alpine:3.20", "alpine:3.20"},
		{"docker.io/alpine", registry("docker.io", "library/alpine", "latest", ""), "docker.io/library/alpine:latest", "alpine:latest"},
		{"index.docker.io/grafana/loki:3", registry("docker.io", "grafana/loki", "3", ""), "docker.io/grafana/loki:3", "grafana/loki:3"},
		{"docker://alpine", registry("docker.io", "library/alpine", "latest", ""), "docker.io/library/alpine:latest", "alpine:latest"},
		{"alpine@" + sha, registry("docker.io", "library/alpine", "", sha), "docker.io/library/alpine@" + sha, "alpine@" + sha},
		{"alpine:3.20@" + sha, registry("docker.io", "library/alpine", "3.20", sha), "docker.io/library/alpine:3.20@" + sha, "alpine:3.20@" + sha},
		{"ghcr.io/a/b@" + blake, registry("ghcr.io", "a/b", "", blake), "", ""},
		{"ghcr.io/a/b@" + sha512, registry("ghcr.io", "a/b", "", sha512), "", ""},
		{"localhost/x", registry("localhost", "x", "latest", ""), "localhost/x:latest", ""},
		{"localhost:5000/x/y", registry("localhost:5000", "x/y", "latest", ""), "localhost:5000/x/y:latest", ""},
		{"127.0.0.1:5000/x:1", registry("127.0.0.1:5000", "x", "1", ""), "", ""},
		{"[::1]:5000/x:1", registry("[::1]:5000", "x", "1", ""), "", ""},
		{"docker://[fe80::1]/x", registry("[fe80::1]", "x", "latest", ""), "[fe80::1]/x:latest", ""},
		{"HOST/x:1", registry("HOST", "x", "1", ""), "", ""},
		{"docker://oci:5000/x", registry("oci:5000", "x", "latest", ""), "docker://oci:5000/x:latest", "oci:5000/x:latest"},
		{"docker://parcel:5000/x", registry("parcel:5000", "x", "latest", ""), "docker://parcel:5000/x:latest", "parcel:5000/x:latest"},
		{"docker://abd:5000/x", registry("abd:5000", "x", "latest", ""), "docker://abd:5000/x:latest", "abd:5000/x:latest"},
		{"docker://sha256:5000/x", registry("sha256:5000", "x", "latest", ""), "sha256:5000/x:latest", ""},
		{"a__b/c-d.e:T_1.-x", registry("docker.io", "a__b/c-d.e", "T_1.-x", ""), "docker.io/a__b/c-d.e:T_1.-x", "a__b/c-d.e:T_1.-x"},

		{"oci:dir", local(name.Layout, "dir", "", ""), "", ""},
		{"oci:/srv/x:v1", local(name.Layout, "/srv/x", "v1", ""), "", ""},
		{"oci:.:docker.io/library/alpine:3.20", local(name.Layout, ".", "docker.io/library/alpine:3.20", ""), "", ""},
		{"oci:/srv/x@" + sha, local(name.Layout, "/srv/x", "", sha), "", ""},
		{"oci:/srv/x:v1@" + blake, local(name.Layout, "/srv/x", "v1", blake), "", ""},
		{"oci:/srv/x:@2", local(name.Layout, "/srv/x", "@2", ""), "", ""},
		{"oci:/srv/x:a@b:c", local(name.Layout, "/srv/x", "a@b:c", ""), "", ""},
		{"oci:/a%3Ab/c:v", local(name.Layout, "/a:b/c", "v", ""), "", ""},
		{"oci:/100%", local(name.Layout, "/100%", "", ""), "", ""},
		{"oci:/a%253Ab", local(name.Layout, "/a%3Ab", "", ""), "", ""},
		{"oci:/a%2525", local(name.Layout, "/a%25", "", ""), "", ""},
		{"oci:/a%25", local(name.Layout, "/a%", "", ""), "oci:/a%", ""},
		{"oci:user@host/dir", local(name.Layout, "user@host/dir", "", ""), "", ""},
		{"oci:dépôt/x y", local(name.Layout, "dépôt/x y", "", ""), "", ""},
		{"oci://srv/x", local(name.Layout, "//srv/x", "", ""), "", ""},
		{"oci-archive:a.tar", local(name.OCIArchive, "a.tar", "", ""), "", ""},
		{"oci-archive:a.tar:v1", local(name.OCIArchive, "a.tar", "v1", ""), "", ""},
		{"docker-archive:a.tar:docker.io/library/alpine:3.20", local(name.DockerArchive, "a.tar", "docker.io/library/alpine:3.20", ""), "", ""},
		{"docker-archive:a.tar:@0", local(name.DockerArchive, "a.tar", "@0", ""), "", ""},

		{sha, name.Name{Kind: name.Digest, Digest: sha}, "", ""},
		{sha512, name.Name{Kind: name.Digest, Digest: sha512}, "", ""},
		{blake, name.Name{Kind: name.Digest, Digest: blake}, "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.in, func(t *testing.T) {
			got, err := name.Parse(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if got != tt.want {
				t.Errorf("got %+v\nwant %+v", got, tt.want)
			}
			if tt.canon == "" {
				tt.canon = tt.in
			}
			if tt.familiar == "" {
				tt.familiar = tt.canon
			}
			if got.String() != tt.canon {
				t.Errorf("String: got %q, want %q", got, tt.canon)
			}
			if got.Familiar() != tt.familiar {
				t.Errorf("Familiar: got %q, want %q", got.Familiar(), tt.familiar)
			}
			again, err := name.Parse(got.String())
			if err != nil || again != got {
				t.Errorf("canonical form reads as %+v, %v", again, err)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
	tests := []struct {
		name, in string
		pos      int
		says     string
	}{
		{"empty", "", 0, "empty"},
		{"only scheme", "docker://", 0, "no repository"},
		{"too long", "oci:" + strings.Repeat("x", name.MaxLength), 0, "limit is 8192"},
		{"NUL", "oci:a\x00b", 6, "control character"},
		{"newline", "alpine\n", 7, "control character"},
		{"not UTF-8", "oci:\xff", 5, "byte 0xff is not UTF-8"},
		{"position counts characters", "oci:é\x00", 6, "control character"},
		{"upper-case repository", "Alpine", 1, "upper-case 'A'"},
		{"upper-case below host", "docker://example.com/a/B", 24, "upper-case 'B'"},
		{"space", "al pine", 3, "' ' can't stand in a repository"},
		{"bad tag", "alpine:3.20!", 12, "'!' can't stand there in a tag"},
		{"tag starts with a dot", "alpine:.x", 8, "'.' can't stand there"},
		{"empty tag", "alpine:", 7, "nothing follows the colon"},
		{"long tag", "alpine:" + strings.Repeat("x", 129), 136, "limit is 128"},
		{"two separators", "a..b", 0, "single separators"},
		{"trailing slash", "example.com/a/", 0, "not a reference"},
		{"repository too long", "example.com/" + strings.Repeat("a", 256), 0, "longer than 255"},
		{"port is no number", "example.com:port/a", 0, "a port of digits"},
		{"short digest", "alpine@sha256:0ba9", 8, "4 hex digits"},
		{"upper-case digest", "alpine@sha256:" + strings.ToUpper(hex64), 16, "upper-case hex"},
		{"unknown algorithm", "alpine@md5:0ba904eae8773b70c75333db4de2f3ac", 8, `unsupported digest algorithm "md5"`},
		{"no digest", "alpine@", 8, "no colon"},
		{"two digests", "alpine@" + sha + "@" + sha, 79, "not a hex digit"},
		{"hex without algorithm", hex64, 1, "write sha256:" + hex64},
		{"digest that is a path", "sha256:../../x", 8, "not a hex digit"},
		{"bare short digest", "sha256:abc", 1, "3 hex digits"},
		{"layout without path", "oci:", 5, "no path"},
		{"layout without path but ref", "oci::v1", 5, "no path"},
		{"host-based without a path", "example.com#1", 1, "want HOST/PATH"},
		{"host-based without a host", "/app#1", 1, "want HOST/PATH"},
		{"parcel without a path", "parcel:example.com", 8, "want HOST/PATH"},
		{"abd without an identifier", "abd:", 5, "write abd:com.example.app"},
		{"abd with a digest alone", "abd:@sha256:" + strings.Repeat("0", 64), 5, "no identifier"},
		{"appc without a name", "appc:", 6, "write appc:example.com/app:1.0"},
		{"place without a host", "sftp:///x", 0, "no host, bucket or CID"},
		{"place with a password", "ftp://u:secret@h/x", 0, "can't hold a password"},
		{"place with an empty ref", "s3://b/p#", 9, "nothing follows the '#'"},
		{"place with a short digest", "s3://b/p@sha256:0ba9", 10, "4 hex digits"},
		{"place that is no URI", "s3://b/%zz", 0, "RFC 3986"},
		{"torrent without a file", "torrent:", 1, "write torrent:FILE"},
		{"torrent with an empty ref", "torrent:x#", 10, "nothing follows the '#'"},
		{"torrent with a malformed ref", "torrent:x#%z", 11, "percent-encoding"},
		{"magnet without a query", "magnet:x", 1, "want magnet:?xt="},
		{"layout with empty ref", "oci:x:", 6, "nothing follows the colon"},
		{"layout with short digest", "oci:x:v1@sha256:0ba9", 10, "4 hex digits"},
		{"other scheme", "https://example.com/x", 1, `scheme "https" doesn't name images`},
		{"file scheme", "file:///x", 1, "--from"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := name.Parse(tt.in)
			var e *name.Error
			if !errors.As(err, &e) {
				t.Fatalf("got %+v, %v; want a *name.Error", got, err)
			}
			if e.Pos != tt.pos || !strings.Contains(e.Error(), tt.says) {
				t.Errorf("got %d: %v\nwant %d: …%s…", e.Pos, e, tt.pos, tt.says)
			}
			if line := e.Error(); strings.Contains(line, "\n") || len(line) > 1000 {
				t.Errorf("not one short line: %q", line)
			}
			if got != (name.Name{}) {
				t.Errorf("a name beside the error: %+v", got)
			}
		})
	}
}

func TestReference(t *testing.T) {
	for in, want := range map[string]string{
		"alpine":                  "latest",
		"alpine:3.20":             "3.20",
		"alpine:3.20@" + sha:      sha,
		"oci:x":                   "",
		"oci:x:v1":                "v1",
		"docker-archive:x@" + sha: sha,
		sha:                       sha,
	} {
		n, err := name.Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if got := n.Reference(); got != want {
			t.Errorf("%s: got %q, want %q", in, got, want)
		}
	}
}

func TestAbsolute(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	n, err := name.Name{Kind: name.Layout, Path: "x", Ref: "v"}.Absolute()
	if err != nil {
		t.Fatal(err)
	}
	// The working directory may be reported without its symbolic links.
	want, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	if n.Path != filepath.Join(dir, "x") && n.Path != filepath.Join(want, "x") || n.Ref != "v" {
		t.Errorf("got %+v", n)
	}
	torrent, err := name.Name{Kind: name.Place, Path: "torrent:x.torrent"}.Absolute()
	if file, ok := strings.CutPrefix(torrent.Path, "torrent:"); err != nil || !ok || !filepath.IsAbs(file) || filepath.Base(file) != "x.torrent" {
		t.Errorf("got %+v, %v", torrent, err)
	}
	for _, in := range []string{"alpine", sha, "oci:/abs:v", "torrent:/abs/x.torrent#v", "sftp://h/x"} {
		n, err := name.Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := n.Absolute(); err != nil || got != n {
			t.Errorf("%s: changed to %+v, %v", in, got, err)
		}
	}
}

// Whatever Parse accepts, its canonical form is read back as the same name, and
// is its own canonical form.
// A password in what is no name isn't repeated.
func TestErrorHidesPassword(t *testing.T) {
	for _, in := range []string{"x://user:secret@h/a", "https://u:secret@h", "sftp://u:secret@h/x", "docker://u:secret@x@h/B", "s3://u:secret@b/%zz"} {
		_, err := name.Parse(in)
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		"alpine", "docker://oci:5000/x", "a/b:c@" + sha, "oci:/a%3Ab:v@" + blake, "oci:%25%3A%253A", "docker-archive:a:@1",
		"oci-archive:x:a@b", "sftp://h/x#%40sha256:1", "s3://b/p?x#a@sha256:", sha512, "[::1]:80/x", "HOST/x", "oci:x@sha256:y", "oci:%3A@%3A",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := name.Parse(s)
		if err != nil {
			return
		}
		again, err := name.Parse(n.String())
		if err != nil || again != n || again.String() != n.String() {
			t.Errorf("%q is %+v, written %q, read as %+v, %v", s, n, n, again, err)
		}
	})
}

// Any path can be named, whatever it contains.
func FuzzPath(f *testing.F) {
	f.Add("/a:b%3A%25", "v1")
	f.Add("%2525:", "x@y")
	f.Fuzz(func(t *testing.T, path, ref string) {
		n := name.Name{Kind: name.OCIArchive, Path: path, Ref: ref}
		got, err := name.Parse(n.String())
		if err != nil || got.Digest != "" || strings.Contains(ref, "@") {
			return // control characters, no path, or a digest at the end of the ref
		}
		if got != n {
			t.Errorf("%+v is written %q and read as %+v", n, n, got)
		}
	})
}
