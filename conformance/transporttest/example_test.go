package transporttest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/tree"
)

// A transport of files on this machine: there is no server to stop, and hardly
// anything that can go wrong.
func ExampleRun() {
	// In a test of your own this is func TestConformance.
	_ = func(t *testing.T) {
		transporttest.Run(t, func(t *testing.T) transporttest.Harness {
			dir := t.TempDir()
			none := "no server is asked"
			return transporttest.Harness{
				Transport: tree.Transport{},
				Put: func(t testing.TB, b transporttest.Blob) transport.Route {
					file := filepath.Join(dir, b.Digest.Algorithm().String(), b.Digest.Encoded())
					if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
						t.Fatal(err)
					}
					b.WriteFile(t, file)
					return transport.Route{URI: tree.URI(dir)}
				},
				Faults: map[transporttest.Fault]func(testing.TB, transporttest.Blob) transport.Route{
					transporttest.Permanent: func(t testing.TB, b transporttest.Blob) transport.Route {
						file := filepath.Join(dir, b.Digest.Algorithm().String(), b.Digest.Encoded())
						if err := os.MkdirAll(file, 0o755); err != nil { // a directory is no blob
							t.Fatal(err)
						}
						return transport.Route{URI: tree.URI(dir)}
					},
				},
				Impossible: map[transporttest.Fault]string{
					transporttest.Denied:    none,
					transporttest.Throttled: none,
					transporttest.Temporary: none,
					transporttest.ShortBody: "a file's size is known",
				},
			}
		})
	}
}
