package azblob_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/test/testimage"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/azblob"
	"github.com/waybill-project/waybill/transport/httpclient"
)

// blob is "hello".
var blob = ocispec.Descriptor{Digest: digest.FromString("hello"), Size: 5}

// putHello makes the blob in a container, as a bare tree.
func putHello(t *testing.T, server *realserver.Azurite, container string) {
	t.Helper()
	if err := server.Put(t.Context(), container, "a b/sha256/"+blob.Digest.Encoded(), strings.NewReader("hello"), 5, ""); err != nil {
		t.Fatal(err)
	}
}

func makeSAS(t *testing.T, server *realserver.Azurite, expires time.Time) string {
	t.Helper()
	sas, err := server.SAS("private", expires)
	if err != nil {
		t.Fatal(err)
	}
	return sas
}

// TestCredentials asks Azurite, which checks credentials as Azure does, with
// each kind of them, for a range, for all and for the size.
func TestCredentials(t *testing.T) {
	server := startAzurite(t, realserver.AzuriteOptions{})
	createContainer(t, server, "private", false)
	createContainer(t, server, "public", true)
	putHello(t, server, "private")
	putHello(t, server, "public")
	sas, expired := makeSAS(t, server, time.Now().Add(time.Hour)), makeSAS(t, server, time.Now().Add(-time.Hour))
	wrongKey := base64.StdEncoding.EncodeToString([]byte("hunter2"))
	account := func(variables ...string) map[string]string {
		m := map[string]string{"AZURE_STORAGE_ACCOUNT": realserver.AzuriteAccount, "AZURE_STORAGE_SERVICE_ENDPOINT": server.URL}
		for i := 0; i < len(variables); i += 2 {
			m[variables[i]] = variables[i+1]
		}
		return m
	}
	const private = "azblob://" + realserver.AzuriteAccount + "/private/a%20b"
	inURI := "&endpoint=" + server.URL
	tests := []struct {
		name, uri string
		variables map[string]string
		kind      error
		want      string // in the error
	}{
		{"connection string", private, map[string]string{"AZURE_STORAGE_CONNECTION_STRING": server.ConnectionString()}, nil, ""},
		{"connection string with SAS token", private, map[string]string{
			"AZURE_STORAGE_CONNECTION_STRING": "BlobEndpoint=" + server.URL + ";SharedAccessSignature=" + sas,
		}, nil, ""},
		{"key", private, account("AZURE_STORAGE_KEY", realserver.AzuriteKey), nil, ""},
		{"SAS token", private, account("AZURE_STORAGE_SAS_TOKEN", "?"+sas), nil, ""},
		{"go-cloud's form", "azblob://private/a%20b?storage_account=" + realserver.AzuriteAccount, account("AZURE_STORAGE_KEY", realserver.AzuriteKey), nil, ""},
		{"endpoint in the URI that is the configured one", private + "?anonymous=false" + inURI, account("AZURE_STORAGE_KEY", realserver.AzuriteKey), nil, ""},
		{"the emulator's key, endpoint in the URI only", private + "?anonymous=false" + inURI, map[string]string{
			"AZURE_STORAGE_ACCOUNT": realserver.AzuriteAccount, "AZURE_STORAGE_KEY": realserver.AzuriteKey,
		}, nil, ""},
		{"the emulator's connection string, endpoint in the URI", private + "?anonymous=false" + inURI, map[string]string{
			"AZURE_STORAGE_CONNECTION_STRING": "UseDevelopmentStorage=true",
		}, nil, ""},
		{"nobody, public container", strings.Replace(private, "private", "public", 1) + "?anonymous=true" + inURI, nil, nil, ""},
		{"wrong key", private, account("AZURE_STORAGE_KEY", wrongKey), transport.ErrUnauthorized, "answered 403 AuthorizationFailure"},
		{"expired SAS token", private, account("AZURE_STORAGE_SAS_TOKEN", expired), transport.ErrUnauthorized, "is the SAS token for this container"},
		{"SAS token of another container", strings.Replace(private, "private", "public2", 1), account("AZURE_STORAGE_SAS_TOKEN", sas),
			transport.ErrUnauthorized, "is the SAS token for this container"},
		{"nobody, private container", private + "?anonymous=true" + inURI, nil, transport.ErrUnauthorized, "asked anonymously, as the URI says"},
		{"credentials of another account", private + "?anonymous=false" + inURI, map[string]string{"AZURE_STORAGE_ACCOUNT": "another", "AZURE_STORAGE_KEY": wrongKey},
			transport.ErrUnauthorized, "asked anonymously: credentials are only sent to Azure's hosts"},
		{"no container", strings.Replace(private, "private", "none", 1), account("AZURE_STORAGE_KEY", realserver.AzuriteKey), transport.ErrNotFound, "answered 404 ContainerNotFound: The specified container does not exist."},
		{"no blob", private + "/c", account("AZURE_STORAGE_KEY", realserver.AzuriteKey), transport.ErrNotFound, "answered 404 BlobNotFound: The specified blob does not exist."},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tr := newTransport(t, azblob.Options{Getenv: environment(tt.variables)})
			route := transport.Route{URI: tt.uri}
			if err := tr.Check(tt.uri); err != nil {
				t.Errorf("Check: %v", err)
			}
			for _, part := range []struct{ offset, length int64 }{{0, 5}, {1, 3}} {
				got, err := read(t.Context(), tr, route, part.offset, part.length)
				if tt.kind == nil {
					if want := "hello"[part.offset : part.offset+part.length]; err != nil || got != want {
						t.Errorf("read %q, %v; want %q", got, err, want)
					}
					continue
				}
				if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("got %v; want kind %q that says %q", err, tt.kind, tt.want)
				}
				checkNoSecret(t, err, wrongKey, sas, expired)
			}
			size, err := tr.Size(t.Context(), route, blob)
			if tt.kind == nil && (err != nil || size != 5) {
				t.Errorf("Size: %d, %v", size, err)
			}
			if !errors.Is(err, tt.kind) {
				t.Errorf("Size: %v, want kind %q", err, tt.kind)
			}
			checkNoSecret(t, err, wrongKey, sas, expired)
		})
	}
}

// read returns a range of the blob.
func read(ctx context.Context, tr *azblob.Transport, route transport.Route, offset, length int64) (string, error) {
	body, err := tr.Open(ctx, route, blob, offset, length)
	if err != nil {
		return "", err
	}
	defer body.Close()
	content, err := io.ReadAll(body)
	return string(content), err
}

// checkNoSecret fails t where an error shows a secret, or the signature in a SAS
// token.
func checkNoSecret(t *testing.T, err error, secrets ...string) {
	t.Helper()
	if err == nil {
		return
	}
	for _, s := range append(secrets, "sig=", "hunter2") {
		if strings.Contains(err.Error(), s) {
			t.Errorf("error shows a secret: %v", err)
		}
	}
}

// TestBearerToken asks an Azurite that takes tokens of Entra ID, which it does
// over TLS only.
func TestBearerToken(t *testing.T) {
	ca, err := realserver.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	server := startAzurite(t, realserver.AzuriteOptions{CA: ca})
	createContainer(t, server, "private", false)
	putHello(t, server, "private")
	certs := t.TempDir()
	if err := os.Mkdir(filepath.Join(certs, server.Host), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(ca.File, filepath.Join(certs, server.Host, "ca.crt")); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, audience string
		kind           error
		want           string
	}{
		{"token", "https://storage.azure.com", nil, ""},
		{"token for something else", "https://vault.azure.net", transport.ErrUnauthorized, "needs the role Storage Blob Data Reader"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			token := jwt(tt.audience, time.Now())
			tr := newTransport(t, azblob.Options{
				HTTP:  httpclient.New(httpclient.Options{CertDirs: []string{certs}}),
				Token: func(context.Context) (string, error) { return token, nil },
				Getenv: environment(map[string]string{
					"AZURE_STORAGE_ACCOUNT": realserver.AzuriteAccount, "AZURE_STORAGE_SERVICE_ENDPOINT": server.URL,
				}),
			})
			got, err := read(t.Context(), tr, transport.Route{URI: "azblob://" + realserver.AzuriteAccount + "/private/a%20b"}, 1, 3)
			if !errors.Is(err, tt.kind) || tt.kind == nil && got != "ell" {
				t.Errorf("read %q, %v", got, err)
			}
			if tt.kind != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want one that says %q", err, tt.want)
			}
			checkNoSecret(t, err, token)
		})
	}
}

// jwt is a token as Entra ID issues them but for the signature, which Azurite
// can't check.
func jwt(audience string, now time.Time) string {
	encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
	return encode(`{"alg":"RS256","typ":"JWT"}`) + "." + encode(fmt.Sprintf(
		`{"aud":%q,"iss":"https://sts.windows.net/ab1f708d-50f6-404c-a006-d71b2ac7a606/","iat":%[2]d,"nbf":%[2]d,"exp":%[3]d}`,
		audience, now.Add(-time.Minute).Unix(), now.Add(time.Hour).Unix())) + "." + encode("signature")
}

func TestNamesOfALayout(t *testing.T) {
	server := startAzurite(t, realserver.AzuriteOptions{})
	createContainer(t, server, "images", false)
	layout, err := testimage.NewLayout(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	desc, err := layout.AddImage(testimage.Config())
	if err != nil {
		t.Fatal(err)
	}
	if err := layout.Tag(desc, "v1"); err != nil {
		t.Fatal(err)
	}
	if err := filepath.WalkDir(layout.Dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		key, err := filepath.Rel(layout.Dir, path)
		putBlob(t, server, "app/"+key, bytes.NewReader(content), int64(len(content)), "")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	tr := newTransport(t, azblob.Options{Getenv: environment(map[string]string{"AZURE_STORAGE_CONNECTION_STRING": server.ConnectionString()})})
	if got, err := tr.Resolve(t.Context(), name.Name{Kind: name.Place, Path: place, Ref: "v1"}); err != nil || got.Digest != desc.Digest {
		t.Errorf("Resolve: %v, %v; want %v", got.Digest, err, desc.Digest)
	}
	_, err = tr.Resolve(t.Context(), name.Name{Kind: name.Place, Path: place + "/none"})
	if !errors.Is(err, transport.ErrNotFound) || !strings.Contains(err.Error(), "no OCI layout there") {
		t.Errorf("Resolve where there is none: %v", err)
	}
}
