package realserver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// S3Options says what kind of S3 server to start. The zero value speaks plain
// HTTP, for region us-east-1.
type S3Options struct {
	// CA, where set, makes it speak TLS with a certificate of that authority.
	CA *CA
	// Domain, where set, is the one whose subdomains are buckets: their URLs
	// have the bucket in the host.
	Domain string
	// Region is the only one whose signatures are accepted; empty means
	// us-east-1.
	Region string
}

// S3 is a running versitygw: an S3 server whose objects are files.
type S3 struct {
	*Process
	// Host is its HOST:PORT.
	Host string
	// URL is its base, without a slash at the end.
	URL string
	// Root is the directory it serves: buckets are directories in it, and the
	// objects of a bucket the files below. A test puts them there itself.
	Root string
	// Region is that of its options.
	Region string
	// AccessKey and SecretKey are those of its only user.
	AccessKey, SecretKey string

	dir  string
	args []string
}

// StartS3 starts a versitygw whose objects and log are kept in dir.
func StartS3(ctx context.Context, dir string, o S3Options) (*S3, error) {
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	s := &S3{
		Host: addr, URL: "http://" + addr, Root: filepath.Join(dir, "buckets"), Region: o.Region,
		AccessKey: "AKIAWAYBILLTEST", SecretKey: "the-secret-key-of-the-test", dir: dir,
	}
	if s.Region == "" {
		s.Region = "us-east-1"
	}
	if err := os.MkdirAll(s.Root, 0o755); err != nil {
		return nil, fmt.Errorf("directory of versitygw: %w", err)
	}
	s.args = []string{
		"--port", addr, "--keep-alive", "--quiet", "--region", s.Region,
		"--access", s.AccessKey, "--secret", s.SecretKey,
	}
	if o.CA != nil {
		cert, err := o.CA.Issue(filepath.Join(dir, "tls"))
		if err != nil {
			return nil, err
		}
		s.args = append(s.args, "--cert", cert.CertFile, "--key", cert.KeyFile)
		s.URL = "https://" + addr
	}
	if o.Domain != "" {
		s.args = append(s.args, "--virtual-domain", o.Domain)
	}
	s.args = append(s.args, "posix", s.Root)
	return s, s.Start(ctx)
}

// Start starts a server that was stopped again, on the same address.
func (s *S3) Start(ctx context.Context) (err error) {
	s.Process, err = start(ctx, s.dir, dialable("tcp", s.Host), "versitygw", s.args...)
	return err
}

// Allow lets everybody do what action says ("s3:GetObject") to the objects of a
// bucket: its policy is replaced by one that says so.
func (s *S3) Allow(ctx context.Context, bucket, action string) error {
	policy := fmt.Sprintf(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*","Action":%q,"Resource":"arn:aws:s3:::%s/*"}]}`,
		action, bucket)
	return s.put(ctx, "/"+bucket+"?policy=", []byte(policy))
}

// put makes a signed PUT request, at a server without TLS.
func (s *S3) put(ctx context.Context, path string, content []byte) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, s.URL+path, bytes.NewReader(content))
	if err != nil {
		return fmt.Errorf("request to versitygw: %w", err)
	}
	sum := sha256.Sum256(content)
	hash := hex.EncodeToString(sum[:])
	r.Header.Set("X-Amz-Content-Sha256", hash)
	r.Close = true
	keys := aws.Credentials{AccessKeyID: s.AccessKey, SecretAccessKey: s.SecretKey}
	if err := v4.NewSigner().SignHTTP(ctx, keys, r, hash, "s3", s.Region, time.Now()); err != nil {
		return fmt.Errorf("sign a request to versitygw: %w", err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("put to versitygw: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		text, err := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return errors.Join(fmt.Errorf("put to versitygw: %s: %s", resp.Status, text), err)
	}
	return nil
}

// Presign returns a URL that reads an object without credentials, for an hour:
// for tools that know nothing of S3.
func (s *S3) Presign(ctx context.Context, bucket, key string) (string, error) {
	// S3 wants everything escaped but slashes, and that not again when signed.
	path := strings.NewReplacer("+", "%20", "%2F", "/").Replace(url.QueryEscape("/" + bucket + "/" + key))
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+path+"?X-Amz-Expires=3600", nil)
	if err != nil {
		return "", fmt.Errorf("URL to presign: %w", err)
	}
	keys := aws.Credentials{AccessKeyID: s.AccessKey, SecretAccessKey: s.SecretKey}
	signer := v4.NewSigner(func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	signed, _, err := signer.PresignHTTP(ctx, keys, r, "UNSIGNED-PAYLOAD", "s3", s.Region, time.Now())
	if err != nil {
		return "", fmt.Errorf("presign: %w", err)
	}
	return signed, nil
}
