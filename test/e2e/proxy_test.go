package e2e

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/test/realserver"
)

// TestProxies goes through HTTP_PROXY to a host only the proxy knows, past it to
// one in NO_PROXY, and shows the settings.
func TestProxies(t *testing.T) {
	const host = "cas.example"
	i := smallImage(t)
	nginx := startNginx(t, filepath.Join(i.Dir, "blobs"), realserver.NginxOptions{})
	partial := i.withoutLayers(t).name()

	t.Run("http", func(t *testing.T) {
		proxy := startProxy(t, "", map[string]string{host: nginx.Host})
		u := newUser(t)
		u.setenv("HTTP_PROXY", "http://proxyuser:proxysecret@"+proxy.Host)
		u.run("pull", "-v", partial, "--from", "http://"+host+"/").exits(0).never("proxysecret")
		wantStored(t, u, i, i.digests(t)...)
		if len(proxy.Requests()) == 0 {
			t.Error("the proxy was not used")
		}
		for _, r := range proxy.Requests() {
			if r.Host != host {
				t.Errorf("the proxy was asked for %s", r.Host)
			}
		}
		u.run("config").exits(0).never("proxysecret")
	})
	t.Run("https", func(t *testing.T) {
		ca, err := realserver.NewCA(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		secure := startNginx(t, filepath.Join(i.Dir, "blobs"), realserver.NginxOptions{CA: ca})
		// Only the proxy knows where the host of that name is.
		proxy := startProxy(t, "", map[string]string{"waybill.test:443": secure.Host})
		u := newUser(t)
		u.setenv("HTTPS_PROXY", proxy.URL)
		u.setenv("SSL_CERT_FILE", ca.File)
		u.run("pull", partial, "--from", "https://waybill.test/").exits(0)
		wantStored(t, u, i, i.digests(t)...)
		requests := proxy.Requests()
		if len(requests) == 0 || requests[0].Method != "CONNECT" {
			t.Errorf("requests %+v, want CONNECT", requests)
		}
	})
	t.Run("refusing", func(t *testing.T) {
		proxy := startProxy(t, "", nil)
		u := newUser(t)
		u.setenv("HTTP_PROXY", proxy.URL)
		o := u.run("pull", partial, "--from", "http://"+host+"/")
		if o.code == 0 {
			t.Errorf("%s\nthe proxy refused", o)
		}
		o.says(host)
	})
	t.Run("shown", func(t *testing.T) {
		u := newUser(t)
		u.setenv("HTTPS_PROXY", "http://proxy.example:3128")
		u.setenv("NO_PROXY", "internal.example")
		o := u.exec("config").exits(0)
		for _, text := range []string{"proxy.example:3128", "internal.example"} {
			if !strings.Contains(o.stdout, text) {
				t.Errorf("%s\nconfig doesn't show %s", o, text)
			}
		}
	})
}
