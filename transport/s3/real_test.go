package s3_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/s3"
)

// content is a blob, desc its descriptor.
var (
	content = []byte("freight and its waybill")
	desc    = ocispec.Descriptor{Digest: digest.FromBytes(content), Size: int64(len(content))}
)

// lay puts the blob below a prefix of the bucket.
func lay(t testing.TB, server *realserver.S3, prefix string) {
	t.Helper()
	write(t, filepath.Join(server.Root, bucket, prefix, "sha256", desc.Digest.Encoded()), string(content))
}

// read reads the blob at uri.
func read(ctx context.Context, tr transport.Transport, uri string) error {
	body, err := tr.Open(ctx, transport.Route{URI: uri}, desc, 0, desc.Size)
	if err != nil {
		return err
	}
	defer body.Close()
	got, err := io.ReadAll(body)
	if err == nil && !bytes.Equal(got, content) {
		err = fmt.Errorf("read %q", got)
	}
	return err
}

// checkError checks an error's kind and text, and that no secret is in it.
func checkError(t *testing.T, err, kind error, texts ...string) {
	t.Helper()
	var te *transport.Error
	if !errors.As(err, &te) || te.Kind != kind {
		t.Fatalf("error %v, want kind %q", err, kind)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q doesn't say %q", err, text)
		}
	}
	for _, secret := range []string{"hunter2", "t0ken", "the-secret-key"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("%q is in the error: %v", secret, err)
		}
	}
}

func TestCredentials(t *testing.T) {
	dir := isolate(t)
	server := start(t, realserver.S3Options{})
	lay(t, server, "p")
	uri := "s3://" + bucket + "/p?endpoint=" + server.URL
	keys := fmt.Sprintf("aws_access_key_id = %s\naws_secret_access_key = %s\n", server.AccessKey, server.SecretKey)
	tool := filepath.Join(dir, "tool")
	write(t, tool, fmt.Sprintf("#!/bin/sh\necho '{\"Version\":1,\"AccessKeyId\":%q,\"SecretAccessKey\":%q}'\n", server.AccessKey, server.SecretKey))
	if err := os.Chmod(tool, 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, tool+"-over", fmt.Sprintf("#!/bin/sh\necho '{\"Version\":1,\"AccessKeyId\":%q,\"SecretAccessKey\":%q,\"Expiration\":\"2025-01-01T00:00:00Z\"}'\n", server.AccessKey, server.SecretKey))
	if err := os.Chmod(tool+"-over", 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "credentials"), "[work]\n"+keys+"[wrong]\naws_access_key_id = "+server.AccessKey+
		"\naws_secret_access_key = hunter2\n[unknown]\naws_access_key_id = AKIANOBODY\naws_secret_access_key = hunter2\n")
	write(t, filepath.Join(dir, "config"), "[profile program]\ncredential_process = "+tool+"\n"+
		"[profile broken]\ncredential_process = false\n"+
		"[profile over]\ncredential_process = "+tool+"-over\n"+
		"[profile here]\nendpoint_url = "+server.URL+"\n"+keys+
		"[profile service]\nservices = ours\n"+keys+"[services ours]\ns3 =\n  endpoint_url = "+server.URL+"\n"+
		"[profile sso]\nsso_session = corp\nsso_account_id = 1\nsso_role_name = r\n"+
		"[sso-session corp]\nsso_region = eu-west-1\nsso_start_url = https://sso.invalid/start\n")
	// What "aws sso login" left a year ago.
	write(t, filepath.Join(dir, "sso/cache", fmt.Sprintf("%x.json", sha1.Sum([]byte("corp")))),
		`{"accessToken":"t0ken","expiresAt":"2025-01-01T00:00:00Z"}`)

	type env map[string]string
	tests := []struct {
		name, uri string
		env       env
		kind      error // nil: the blob is read
		text      []string
	}{
		{"environment", uri, env{"AWS_ACCESS_KEY_ID": server.AccessKey, "AWS_SECRET_ACCESS_KEY": server.SecretKey}, nil, nil},
		{"profile", uri + "&profile=work", nil, nil, nil},
		{"profile of the environment", uri, env{"AWS_PROFILE": "work"}, nil, nil},
		{"named profile before the environment", uri + "&profile=work", env{"AWS_ACCESS_KEY_ID": "AKIANOBODY", "AWS_SECRET_ACCESS_KEY": "hunter2"}, nil, nil},
		{"program", uri + "&profile=program", nil, nil, nil},
		{"endpoint of a profile", "s3://" + bucket + "/p?profile=here", nil, nil, nil},
		{"endpoint of a service", "s3://" + bucket + "/p?profile=service", nil, nil, nil},
		{"endpoint of the environment", "s3://" + bucket + "/p?profile=work", env{"AWS_ENDPOINT_URL": server.URL}, nil, nil},
		{
			"endpoint of the environment for S3", "s3://" + bucket + "/p?profile=work",
			env{"AWS_ENDPOINT_URL_S3": server.URL, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, nil, nil,
		},
		{
			"wrong secret", uri + "&profile=wrong", nil, transport.ErrUnauthorized,
			[]string{`the secret key of profile "wrong" in ` + filepath.Join(dir, "credentials"), "SignatureDoesNotMatch"},
		},
		{
			"unknown key", uri + "&profile=unknown", nil, transport.ErrUnauthorized,
			[]string{`doesn't know the access key of profile "unknown"`},
		},
		{
			"container that doesn't answer", uri, env{"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:1/"}, transport.ErrUnauthorized,
			[]string{`no credentials from the environment and profile "default"`},
		},
		{"unknown profile", uri + "&profile=nobody", nil, transport.ErrUnauthorized, []string{`no profile "nobody"`}},
		{"unknown profile of the environment", uri, env{"AWS_PROFILE": "nobody"}, transport.ErrUnauthorized, []string{`no profile "nobody"`}},
		{"program that fails", uri + "&profile=broken", nil, transport.ErrUnauthorized, []string{`no credentials from profile "broken"`}},
		{
			"program whose keys have expired", uri + "&profile=over", nil, transport.ErrUnauthorized,
			[]string{`no credentials from profile "over"`, "they expired at 2025-01-01T00:00:00Z"},
		},
		{"SSO session that is over", uri + "&profile=sso", nil, transport.ErrUnauthorized, []string{`no credentials from profile "sso"`, "expired"}},
		{
			"none", uri, nil, transport.ErrUnauthorized,
			[]string{"refused to an anonymous request", "no AWS credentials were found", "AccessDenied"},
		},
		{
			"none wanted", uri + "&anonymous=true", env{"AWS_ACCESS_KEY_ID": server.AccessKey, "AWS_SECRET_ACCESS_KEY": server.SecretKey},
			transport.ErrUnauthorized, []string{"anonymous=true asks for none"},
		},
		{
			"bad endpoint of the environment", "s3://" + bucket + "/p?profile=work", env{"AWS_ENDPOINT_URL": "http://u:hunter2@h"},
			transport.ErrUnauthorized, []string{"AWS_ENDPOINT_URL", "keys don't belong"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for k, v := range tt.env {
				t.Setenv(k, v)
			}
			err := read(t.Context(), newTransport(t), tt.uri)
			if tt.kind == nil {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			checkError(t, err, tt.kind, tt.text...)
		})
	}
}

func TestPublicBucket(t *testing.T) {
	isolate(t)
	server := start(t, realserver.S3Options{})
	lay(t, server, "")
	if err := server.Allow(t.Context(), bucket, "s3:GetObject"); err != nil {
		t.Fatal(err)
	}
	tr := newTransport(t)
	uri := "s3://" + bucket + "?endpoint=" + server.URL
	if err := read(t.Context(), tr, uri); err != nil {
		t.Fatalf("a bare tree, though S3 refuses to say that there is no layout: %v", err)
	}
	if size, err := tr.Size(t.Context(), transport.Route{URI: uri}, desc); err != nil || size != desc.Size {
		t.Errorf("Size = %d, %v", size, err)
	}
}

func TestMissing(t *testing.T) {
	isolate(t)
	server := start(t, realserver.S3Options{})
	login(t, server)
	lay(t, server, "p")
	tr := newTransport(t)
	for _, tt := range []struct {
		name, uri, text string
	}{
		{"object", "s3://" + bucket + "/q?endpoint=" + server.URL, "no such object at " + server.Host},
		{"bucket", "s3://nowhere/p?endpoint=" + server.URL, `no bucket "nowhere" at ` + server.Host},
	} {
		t.Run(tt.name, func(t *testing.T) {
			checkError(t, read(t.Context(), tr, tt.uri), transport.ErrNotFound, tt.text)
			_, err := tr.Size(t.Context(), transport.Route{URI: tt.uri}, desc)
			checkError(t, err, transport.ErrNotFound, tt.text)
		})
	}
}

func TestWrongSizes(t *testing.T) {
	isolate(t)
	server := start(t, realserver.S3Options{})
	login(t, server)
	lay(t, server, "p")
	uri := "s3://" + bucket + "/p?endpoint=" + server.URL
	for _, tt := range []struct {
		name                 string
		size, offset, length int64
	}{
		{"whole", 1000, 0, 1000},
		{"range within", 1000, 1, 5},
		{"range beyond the end", 1000, 500, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			longer := desc
			longer.Size = tt.size
			_, err := newTransport(t).Open(t.Context(), transport.Route{URI: uri}, longer, tt.offset, tt.length)
			checkError(t, err, transport.ErrPermanent, fmt.Sprintf("has %d bytes, want %d", desc.Size, tt.size))
		})
	}
}

func TestAddresses(t *testing.T) {
	isolate(t)
	ca, err := realserver.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, prefix, uri string // of the prefix in the URI
		options           realserver.S3Options
		endpoint          string // instead of the server's URL, which is then the proxy
	}{
		{"no prefix", "", "", realserver.S3Options{}, ""},
		{"slash at the end", "a/b", "a/b/", realserver.S3Options{}, ""},
		{"spaces, plus and letters", "mit Leer zeichen/ü+ß/100%/a&b=c;d:@$,!'()*~", "mit%20Leer%20zeichen/%C3%BC+ß/100%25/a&b=c;d:@$,!'()*~", realserver.S3Options{}, ""},
		{"delimiters", "what?/#1", "what%3F/%231", realserver.S3Options{}, ""},
		{"TLS", "p", "p", realserver.S3Options{CA: ca}, ""},
		{"virtual", "p q", "p%20q", realserver.S3Options{Domain: "s3.waybill.test"}, "http://s3.waybill.test&style=virtual"},
		{"path", "p", "p", realserver.S3Options{Domain: "s3.waybill.test"}, "http://s3.waybill.test&style=path"},
		{"another region", "p", "p", realserver.S3Options{Region: "eu-central-1"}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := start(t, tt.options)
			login(t, server)
			lay(t, server, tt.prefix)
			options := httpclient.Options{CertDirs: []string{t.TempDir()}}
			if err := os.Mkdir(filepath.Join(options.CertDirs[0], server.Host), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(ca.File, filepath.Join(options.CertDirs[0], server.Host, "ca.crt")); err != nil {
				t.Fatal(err)
			}
			endpoint, requests := server.URL, 0
			options.Proxy = func(*http.Request) (*url.URL, error) {
				requests++
				if tt.endpoint != "" {
					return url.Parse(server.URL)
				}
				return nil, nil
			}
			if tt.endpoint != "" {
				endpoint = tt.endpoint
			}
			tr := s3.New(httpclient.New(options))
			defer tr.Close()
			uri := "s3://" + bucket + "/" + tt.uri + "?endpoint=" + endpoint
			if err := tr.Check(uri); err != nil {
				t.Fatal(err)
			}
			if err := read(t.Context(), tr, uri); err != nil {
				t.Fatal(err)
			}
			requests = 0
			if err := read(t.Context(), tr, uri); err != nil || requests != 1 {
				t.Errorf("once form and region are known: %d requests, %v; want 1", requests, err)
			}
		})
	}
}

func TestResolve(t *testing.T) {
	isolate(t)
	server := start(t, realserver.S3Options{})
	login(t, server)
	manifest := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: desc.Digest, Size: desc.Size}
	index := fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":%d,"annotations":{%q:"v1"}}]}`,
		manifest.MediaType, manifest.Digest, manifest.Size, ocispec.AnnotationRefName)
	dir := filepath.Join(server.Root, bucket, "app")
	write(t, filepath.Join(dir, ocispec.ImageLayoutFile), `{"imageLayoutVersion":"1.0.0"}`)
	write(t, filepath.Join(dir, ocispec.ImageIndexFile), index)
	tr := newTransport(t)
	uri := "s3://" + bucket + "/app?endpoint=" + server.URL

	n, err := name.Parse(uri + "#v1")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := tr.Resolve(t.Context(), n); err != nil || got.Digest != manifest.Digest {
		t.Errorf("Resolve = %v, %v; want %v", got.Digest, err, manifest.Digest)
	}
	if entries, err := tr.Entries(t.Context(), n); err != nil || len(entries) != 1 {
		t.Errorf("Entries = %v, %v; want one", entries, err)
	}
	n, err = name.Parse("s3://" + bucket + "/nothing?endpoint=" + server.URL + "#v1")
	if err != nil {
		t.Fatal(err)
	}
	_, err = tr.Resolve(t.Context(), n)
	checkError(t, err, transport.ErrNotFound, "no OCI layout there")
	_, err = tr.Entries(t.Context(), n)
	checkError(t, err, transport.ErrNotFound, "no OCI layout there")
}
