package realserver_test

import (
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/waybill-project/waybill/test/realserver"
)

func TestS3(t *testing.T) {
	ctx := context.Background()
	s, err := realserver.StartS3(ctx, t.TempDir(), realserver.S3Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop() })
	file := filepath.Join(s.Root, "bucket", "a b", "c+d")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("cargo"), 0o600); err != nil {
		t.Fatal(err)
	}
	get := func(url string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Close = true
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return resp.StatusCode, string(text)
	}

	anonymous := s.URL + "/bucket/a%20b/c%2Bd"
	if code, _ := get(anonymous); code != http.StatusForbidden {
		t.Errorf("anonymous request answered %d, want 403", code)
	}
	presigned, err := s.Presign(ctx, "bucket", "a b/c+d")
	if err != nil {
		t.Fatal(err)
	}
	if code, text := get(presigned); code != http.StatusOK || text != "cargo" {
		t.Errorf("presigned URL answered %d %q", code, text)
	}
	if err := s.Allow(ctx, "bucket", "s3:GetObject"); err != nil {
		t.Fatal(err)
	}
	s.Stop()
	if err := s.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if code, text := get(anonymous); code != http.StatusOK || text != "cargo" {
		t.Errorf("after the policy and a restart: %d %q", code, text)
	}
	if err := s.Allow(ctx, "nowhere", "s3:GetObject"); err == nil {
		t.Error("a policy for a bucket that isn't there was taken")
	}
}
