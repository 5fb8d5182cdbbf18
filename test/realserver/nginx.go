package realserver

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// NginxOptions says what nginx is to do besides serving files.
type NginxOptions struct {
	// CA, where set, makes it speak TLS with a certificate of that authority.
	CA *CA
	// BytesPerSecond, where positive, limits each connection.
	BytesPerSecond int64
	// Config is put into the server block as it is.
	Config string
}

// Nginx is a running nginx that serves one directory.
type Nginx struct {
	*Process
	// Host is its HOST:PORT.
	Host string
	// URL is its base, without a slash at the end.
	URL string

	accessLog   string
	dir, config string
}

// Access is one line of nginx's log.
type Access struct {
	Method, Path, Range string
	Status              int
	Bytes               int64
}

// StartNginx starts an nginx serving the files below root; its configuration
// and logs are kept in dir.
func StartNginx(ctx context.Context, dir, root string, o NginxOptions) (*Nginx, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("directory of nginx: %w", err)
	}
	addr, err := freeAddr()
	if err != nil {
		return nil, err
	}
	n := &Nginx{Host: addr, URL: "http://" + addr, accessLog: filepath.Join(dir, "access.log")}
	listen, user, tls, limit := addr, "", "", ""
	if os.Getuid() == 0 {
		user = "user root;" // the workers must see into the tests' private directories
	}
	if o.CA != nil {
		cert, err := o.CA.Issue(filepath.Join(dir, "tls"))
		if err != nil {
			return nil, err
		}
		listen += " ssl"
		tls = fmt.Sprintf("ssl_certificate %s; ssl_certificate_key %s;", cert.CertFile, cert.KeyFile)
		n.URL = "https://" + addr
	}
	if o.BytesPerSecond > 0 {
		limit = fmt.Sprintf("limit_rate %d;", o.BytesPerSecond)
	}
	config := fmt.Sprintf(`daemon off;
%s
pid %[2]s/nginx.pid;
error_log stderr warn;
events { worker_connections 512; }
http {
  client_body_temp_path %[2]s/body;
  proxy_temp_path %[2]s/proxy;
  fastcgi_temp_path %[2]s/fastcgi;
  uwsgi_temp_path %[2]s/uwsgi;
  scgi_temp_path %[2]s/scgi;
  log_format fields "$request_method $uri $status $body_bytes_sent $http_range";
  access_log %[3]s fields;
  default_type application/octet-stream;
  sendfile on;
  tcp_nopush on;
  server {
    listen %[4]s;
    root %[5]s;
    %[6]s
    %[7]s
    %[8]s
  }
}
`, user, dir, n.accessLog, listen, root, tls, limit, o.Config)
	file := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		return nil, fmt.Errorf("configuration of nginx: %w", err)
	}
	n.dir, n.config = dir, file
	if err := n.Start(ctx); err != nil {
		return nil, err
	}
	return n, nil
}

// Start starts it again, at the same address, after Stop.
func (n *Nginx) Start(ctx context.Context) (err error) {
	n.Process, err = start(ctx, n.dir, dialable("tcp", n.Host), "nginx", "-e", "stderr", "-p", n.dir, "-c", n.config)
	return err
}

// Accesses returns every request answered so far, in the order in which they
// ended.
func (n *Nginx) Accesses() ([]Access, error) {
	data, err := os.ReadFile(n.accessLog)
	if err != nil {
		return nil, fmt.Errorf("access log: %w", err)
	}
	var all []Access
	for line := range strings.Lines(string(data)) {
		var a Access
		if _, err := fmt.Sscan(line, &a.Method, &a.Path, &a.Status, &a.Bytes, &a.Range); err != nil {
			return nil, fmt.Errorf("access log line %q: %w", strings.TrimSpace(line), err)
		}
		all = append(all, a)
	}
	return all, nil
}
