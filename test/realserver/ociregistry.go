package realserver

import (
	"fmt"
	"net"
	"net/http"

	"cuelabs.dev/go/oci/ociregistry/ocimem"
	"cuelabs.dev/go/oci/ociregistry/ociserver"
)

// OCIRegistry is a registry that has the referrers API, which docker-registry
// hasn't: CUE's, over plain HTTP, in the memory of this process.
type OCIRegistry struct {
	// Host is its HOST:PORT, as it stands in an image's name.
	Host string

	server *http.Server
}

// StartOCIRegistry starts an empty one.
func StartOCIRegistry() (*OCIRegistry, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	r := &OCIRegistry{
		Host:   l.Addr().String(),
		server: &http.Server{Handler: ociserver.New(ocimem.New(), nil)},
	}
	go r.server.Serve(l) //nolint:errcheck // it ends with Stop
	return r, nil
}

// Stop ends the registry and its connections.
func (r *OCIRegistry) Stop() { r.server.Close() }
