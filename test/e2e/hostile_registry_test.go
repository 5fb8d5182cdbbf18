package e2e

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// hostileRegistry answers for the image's manifest, and for all else as own does
// first.
func hostileRegistry(s *hostileSite, own func(w http.ResponseWriter, r *http.Request) bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if own(w, r) {
			return
		}
		_, digest, _ := strings.Cut(r.URL.Path, "/manifests/")
		switch {
		case r.URL.Path == "/v2/":
		case digest != "":
			w.Header().Set("Content-Type", ocispec.MediaTypeImageManifest)
			http.ServeFile(w, r, s.small.Path(s.small.desc.Digest))
		default:
			http.NotFound(w, r)
		}
	}
}

// TestHostileRegistry: wherever a registry on the internet would send this machine,
// by a redirect of a blob, a token service or the next page of a list, nobody
// within is connected to.
func TestHostileRegistry(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var own func(w http.ResponseWriter, r *http.Request) bool
	var s *hostileSite
	s = newHostileSite(t, func(hosts map[string]http.Handler) {
		hosts[registryHost] = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			f := own
			mu.Unlock()
			hostileRegistry(s, f)(w, r)
		})
	})
	if s == nil {
		return
	}
	ways := map[string]func(uri string) func(w http.ResponseWriter, r *http.Request) bool{
		"blobs are redirected": func(uri string) func(w http.ResponseWriter, r *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, "/blobs/") {
					return false
				}
				w.Header().Set("Location", uri+"/x")
				w.WriteHeader(http.StatusTemporaryRedirect)
				return true
			}
		},
		"token service": func(uri string) func(w http.ResponseWriter, r *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, "/blobs/") {
					return false
				}
				w.Header().Set("WWW-Authenticate", `Bearer realm="`+uri+`/token",service="x"`)
				w.WriteHeader(http.StatusUnauthorized)
				return true
			}
		},
		"next page of referrers": func(uri string) func(w http.ResponseWriter, r *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, "/referrers/") {
					return false
				}
				w.Header().Set("Content-Type", ocispec.MediaTypeImageIndex)
				w.Header().Set("Link", "<"+uri+`/x>; rel="next"`)
				_ = json.NewEncoder(w).Encode(document{"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageIndex, "manifests": []any{}})
				return true
			}
		},
	}
	for name, way := range ways {
		for _, p := range hostilePlaces {
			t.Run(name+"/"+p.name, func(t *testing.T) {
				mu.Lock()
				own = way(p.uri)
				mu.Unlock()
				s.reset()
				u := s.net.user(t)
				u.run("pull", registryHost+"/app:1", "--from", "https://"+goodHost+"/blobs/").exits(0).never("hunter2")
				s.net.nobodyInside(t)
				s.wantPulled(t, u)
			})
		}
	}
}
