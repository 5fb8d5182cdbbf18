package realserver

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
)

// The one account an [Azurite] has. Its key is published, in base64.
const (
	AzuriteAccount = "devstoreaccount1"
	AzuriteKey     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// azuriteBlock is how much of a blob is uploaded at a time.
const azuriteBlock = 8 << 20

// AzuriteOptions says what kind of Azurite to start. The zero value speaks plain
// HTTP and knows keys and SAS tokens.
type AzuriteOptions struct {
	// CA, where set, makes it speak TLS with a certificate of that authority,
	// and take bearer tokens of Microsoft Entra ID: any that are about Azure
	// Storage and not expired, whoever signed them.
	CA *CA
}

// Azurite is a running Azurite, Microsoft's emulator of Azure Blob Storage. It
// checks credentials as Azure does.
type Azurite struct {
	*Process
	// Host is its HOST:PORT.
	Host string
	// URL is the endpoint of the account's blob service, without a slash at the
	// end.
	URL string

	dir  string
	args []string
	// client is Microsoft's, so that what signs our own requests isn't checked
	// by itself.
	client *azblob.Client
}

// StartAzurite starts an Azurite that keeps its content and log in dir.
func StartAzurite(ctx context.Context, dir string, o AzuriteOptions) (*Azurite, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("directory of Azurite: %w", err)
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	a := &Azurite{Host: addr, URL: "http://" + addr + "/" + AzuriteAccount, dir: dir, args: []string{
		"--blobHost", host, "--blobPort", port, "--location", dir, "--silent", "--disableTelemetry",
		// Microsoft's library is usually ahead of its emulator.
		"--skipApiVersionCheck",
	}}
	var clientTLS *tls.Config
	if o.CA != nil {
		cert, err := o.CA.Issue(filepath.Join(dir, "tls"))
		if err != nil {
			return nil, err
		}
		if clientTLS, err = trusting(o.CA.File); err != nil {
			return nil, err
		}
		a.args = append(a.args, "--cert", cert.CertFile, "--key", cert.KeyFile, "--oauth", "basic")
		a.URL = "https://" + addr + "/" + AzuriteAccount
	}
	if a.client, err = azuriteClient(a.ConnectionString(), clientTLS); err != nil {
		return nil, err
	}
	return a, a.Start(ctx)
}

// trusting returns a TLS configuration for servers of the authority in a file.
func trusting(file string) (*tls.Config, error) {
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	return &tls.Config{RootCAs: roots}, nil
}

func azuriteClient(connection string, config *tls.Config) (*azblob.Client, error) {
	return azblob.NewClientFromConnectionString(connection, &azblob.ClientOptions{ClientOptions: policy.ClientOptions{
		// No connection is kept: the tests count them.
		Transport: &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}},
	}})
}

// ConnectionString is what opens the account, in the form of
// AZURE_STORAGE_CONNECTION_STRING.
func (a *Azurite) ConnectionString() string {
	protocol, _, _ := strings.Cut(a.URL, ":")
	return fmt.Sprintf("DefaultEndpointsProtocol=%s;AccountName=%s;AccountKey=%s;BlobEndpoint=%s;", protocol, AzuriteAccount, AzuriteKey, a.URL)
}

// Start starts it again after Stop, at the same address with the same content.
func (a *Azurite) Start(ctx context.Context) error {
	var err error
	a.Process, err = start(ctx, a.dir, dialable("tcp", a.Host), "azurite-blob", a.args...)
	return err
}

// Stop ends it at once, connections and all, but for what it takes to write
// down which blobs there are: it does that every few seconds, and when it is
// asked to end.
func (a *Azurite) Stop() {
	const patience = 10 * time.Second
	_ = syscall.Kill(a.PID(), syscall.SIGTERM) // it may be gone already
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(10 * time.Millisecond) {
		if strings.Contains(a.Log(), "successfully closed") {
			break
		}
		select {
		case <-a.exited:
			until = time.Time{}
		default:
		}
	}
	a.Process.Stop()
}

// CreateContainer creates a container, which anyone may read where public is
// true.
func (a *Azurite) CreateContainer(ctx context.Context, name string, public bool) error {
	var o container.CreateOptions
	if public {
		access := container.PublicAccessTypeBlob
		o.Access = &access
	}
	_, err := a.client.CreateContainer(ctx, name, &o)
	if bloberror.HasCode(err, bloberror.ContainerAlreadyExists) {
		return nil
	}
	return err
}

// Put makes a block blob of size bytes of content. Blocks of zeros are uploaded
// once, however many there are. coding is its Content-Encoding, or "".
func (a *Azurite) Put(ctx context.Context, container, name string, content io.ReaderAt, size int64, coding string) error {
	b := a.client.ServiceClient().NewContainerClient(container).NewBlockBlobClient(name)
	buf, zeros := make([]byte, azuriteBlock), make([]byte, azuriteBlock)
	const zero = "zero"
	var blocks []string
	staged := map[string]bool{}
	for offset := int64(0); offset < size; offset += azuriteBlock {
		block := buf[:min(azuriteBlock, size-offset)]
		if _, err := content.ReadAt(block, offset); err != nil && err != io.EOF {
			return err
		}
		id := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%04d", len(blocks)))
		if bytes.Equal(block, zeros) {
			id = base64.StdEncoding.EncodeToString([]byte(zero))
		}
		blocks = append(blocks, id)
		if staged[id] {
			continue
		}
		staged[id] = true
		if _, err := b.StageBlock(ctx, id, streaming.NopCloser(bytes.NewReader(block)), nil); err != nil {
			return err
		}
	}
	var o blockblob.CommitBlockListOptions
	if coding != "" {
		o.HTTPHeaders = &blob.HTTPHeaders{BlobContentEncoding: &coding}
	}
	_, err := b.CommitBlockList(ctx, blocks, &o)
	return err
}

// SAS returns a SAS token that lets whoever has it read a container's blobs
// until the time expires.
func (a *Azurite) SAS(container string, expires time.Time) (string, error) {
	key, err := azblob.NewSharedKeyCredential(AzuriteAccount, AzuriteKey)
	if err != nil {
		return "", err
	}
	token, err := sas.BlobSignatureValues{
		Protocol: sas.ProtocolHTTPSandHTTP, ContainerName: container,
		StartTime: expires.Add(-24 * time.Hour), ExpiryTime: expires,
		Permissions: (&sas.ContainerPermissions{Read: true}).String(),
	}.SignWithSharedKey(key)
	if err != nil {
		return "", err
	}
	return token.Encode(), nil
}
