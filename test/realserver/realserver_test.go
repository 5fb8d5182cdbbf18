package realserver_test

import (
	"context"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/test/testimage"
)

// push lays a small image into the registry with skopeo, which so proves that
// the registry speaks, and wants what it should want.
func push(t *testing.T, registry *realserver.Registry, flags ...string) error {
	t.Helper()
	layout, err := testimage.NewLayout(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	layer, err := layout.AddLayer(testimage.Text(1, 100_000), testimage.Gzip)
	if err != nil {
		t.Fatal(err)
	}
	image, err := layout.AddImage(testimage.Config(), layer)
	if err != nil {
		t.Fatal(err)
	}
	if err := layout.Tag(image, "app"); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"copy", "--quiet", "--insecure-policy"}, flags...)
	args = append(args, "oci:"+layout.Dir+":app", "docker://"+registry.Host+"/app:1")
	cmd := exec.Command("skopeo", args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	t.Logf("skopeo: %s", out)
	if err != nil {
		return err
	}
	if _, err := os.Stat(registry.BlobFile(layer.Digest.String())); err != nil {
		t.Errorf("the layer is not where BlobFile says: %v", err)
	}
	return nil
}

func TestRegistry(t *testing.T) {
	ca, err := realserver.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	token, err := realserver.StartTokenServer(t.TempDir(), "ann", "secret")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(token.Stop)
	tests := []struct {
		name    string
		options realserver.RegistryOptions
		flags   []string // which pushing needs
	}{
		{"anonymous", realserver.RegistryOptions{}, []string{"--dest-tls-verify=false"}},
		{"basic", realserver.RegistryOptions{User: "ann", Password: "secret"}, []string{"--dest-tls-verify=false", "--dest-creds=ann:secret"}},
		{"token", realserver.RegistryOptions{Token: token}, []string{"--dest-tls-verify=false", "--dest-creds=ann:secret"}},
		{"tls", realserver.RegistryOptions{CA: ca}, []string{"--dest-cert-dir=" + filepath.Dir(ca.File)}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			registry, err := realserver.StartRegistry(context.Background(), t.TempDir(), test.options)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(registry.Stop)
			if err := push(t, registry, test.flags...); err != nil {
				t.Errorf("push: %v\n%s", err, registry.Log())
			}
			if len(test.flags) > 1 || test.options.CA != nil {
				if err := push(t, registry, test.flags[:len(test.flags)-1]...); err == nil {
					t.Errorf("push succeeded without %s", test.flags[len(test.flags)-1])
				}
			}
		})
	}
	if token.Issued() == 0 {
		t.Error("no token was asked for")
	}
}

func TestNginx(t *testing.T) {
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "file"), []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	nginx, err := realserver.StartNginx(context.Background(), t.TempDir(), root, realserver.NginxOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nginx.Stop)
	request, err := http.NewRequest(http.MethodGet, nginx.URL+"/file", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Range", "bytes=2-4")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	nginx.Stop() // the log is whole once nginx is gone
	all, err := nginx.Accesses()
	if err != nil {
		t.Fatal(err)
	}
	want := realserver.Access{Method: "GET", Path: "/file", Range: "bytes=2-4", Status: 206, Bytes: 3}
	if len(all) != 1 || all[0] != want {
		t.Errorf("accesses %+v, want one: %+v", all, want)
	}
}

func TestStartFailsWithTheLog(t *testing.T) {
	_, err := realserver.StartNginx(context.Background(), t.TempDir(), t.TempDir(), realserver.NginxOptions{Config: "nonsense;"})
	if err == nil || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("error %v, want what nginx said of its configuration", err)
	}
}

func TestProxy(t *testing.T) {
	nginx, err := realserver.StartNginx(context.Background(), t.TempDir(), t.TempDir(), realserver.NginxOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nginx.Stop)
	proxy, err := realserver.StartProxy(nginx.Host, map[string]string{"files.example": nginx.Host})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Stop)
	forward, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	through := &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(forward)}}
	tests := []struct {
		name   string
		client *http.Client
		url    string
		want   int
		host   string
	}{
		{"reverse", http.DefaultClient, proxy.URL + "/none", http.StatusNotFound, proxy.Host},
		{"forward", through, "http://files.example/none", http.StatusNotFound, "files.example"},
		{"unknown host", through, "http://other.example/none", http.StatusBadGateway, "other.example"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			proxy.Reset()
			response, err := test.client.Get(test.url)
			if err != nil {
				t.Fatal(err)
			}
			response.Body.Close()
			if response.StatusCode != test.want {
				t.Errorf("status %d, want %d", response.StatusCode, test.want)
			}
			want := realserver.Request{Method: "GET", Host: test.host, Path: "/none"}
			if seen := proxy.Requests(); len(seen) != 1 || seen[0] != want {
				t.Errorf("saw %+v, want one: %+v", seen, want)
			}
		})
	}
}
