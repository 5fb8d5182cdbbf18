package realserver_test

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/waybill-project/waybill/test/realserver"
)

func TestKuboServesAfterRestart(t *testing.T) {
	dir := t.TempDir()
	kubo, err := realserver.StartKubo(t.Context(), dir, realserver.KuboOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { kubo.Stop() }()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	id, err := kubo.Add(t.Context(), filepath.Join(dir, "file"))
	if err != nil {
		t.Fatal(err)
	}
	kubo.Stop()
	if err := kubo.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(kubo.Gateway + "/ipfs/" + id + "?format=raw")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "content" {
		t.Errorf("got %q, %v", body, err)
	}
}
