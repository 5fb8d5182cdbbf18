package mirrors_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/test/testimage"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/registry"
)

// TestSettingsAreUsed reads from a registry over TLS, through an nginx that wants
// a client certificate and a header, as a hosts.toml says, and as nobody else may.
func TestSettingsAreUsed(t *testing.T) {
	ca, err := realserver.NewCA(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	reg, err := realserver.StartRegistry(t.Context(), t.TempDir(), realserver.RegistryOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(reg.Stop)
	layout, err := testimage.NewLayout(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	layer, err := layout.AddLayer(testimage.Text(1, 1000), testimage.Gzip)
	if err != nil {
		t.Fatal(err)
	}
	image, err := layout.AddImage(testimage.Config(), layer)
	if err != nil {
		t.Fatal(err)
	}
	if err := layout.Tag(image, "1"); err != nil {
		t.Fatal(err)
	}
	run(t, nil, "skopeo", "copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false", "oci:"+layout.Dir+":1", "docker://"+reg.Host+"/team/app:1")
	front, err := realserver.StartNginx(t.Context(), t.TempDir(), t.TempDir(), realserver.NginxOptions{CA: ca, Config: fmt.Sprintf(
		"ssl_client_certificate %s; ssl_verify_client on; location / { if ($http_x_token != s3cret) { return 403; } proxy_pass %s; proxy_set_header Host $http_host; }", ca.File, reg.URL)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(front.Stop)
	cert, err := ca.Issue(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}

	const trust, show, token = "ca = %[1]q\n", "client = [[%[2]q, %[3]q]]\n", "header = {X-Token = \"s3cret\"}\n"
	for name, tt := range map[string]struct{ hosts, says string }{
		"all":               {trust + show + token, ""},
		"skip_verify":       {"skip_verify = true\n" + show + token, ""},
		"without authority": {show + token, "certificate signed by unknown authority"},
		"without client":    {trust + token, "No required SSL certificate was sent"},
		"without header":    {trust + show, "403"},
	} {
		t.Run(name, func(t *testing.T) {
			text := "[host.\"https://" + front.Host + "\"]\n" + tt.hosts
			for i, file := range []string{ca.File, cert.CertFile, cert.KeyFile} {
				text = strings.ReplaceAll(text, fmt.Sprintf("%%[%d]q", i+1), fmt.Sprintf("%q", file))
			}
			m := newMachine(t, map[string]string{certsD + "app.example/hosts.toml": text})
			c := m.load(t)
			p, err := c.For("app.example", "team/app")
			if err != nil {
				t.Fatal(err)
			}
			options := httpclient.Options{CertDirs: []string{}}
			client := registry.New(registry.Options{HTTP: httpclient.New(options), HTTPFor: c.HTTPFor(options)})
			t.Cleanup(func() { client.Close() })
			desc, _, err := client.GetAt(t.Context(), p.Endpoints[0].URI(), "1")
			switch {
			case tt.says == "" && (err != nil || desc.Digest != image.Digest):
				t.Errorf("got %s, %v; want %s", desc.Digest, err, image.Digest)
			case tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)):
				t.Errorf("error %v, want one that says %q", err, tt.says)
			}
		})
	}
}
