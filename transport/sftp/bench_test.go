package sftp_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
)

// BenchmarkRead reads 1 GiB from an sshd on this machine, with this transport
// over one connection and over several, and with OpenSSH's own tools.
func BenchmarkRead(b *testing.B) {
	const size = 1 << 30
	u := newUser(b)
	server := startSSHD(b, realserver.SSHDOptions{AuthorizedKeys: []string{u.public}})
	u.knows(b, server)
	desc := ocispec.Descriptor{Digest: digest.FromString("zeros"), Size: size}
	tree := b.TempDir()
	file := filepath.Join(tree, desc.Digest.Algorithm().String(), desc.Digest.Encoded())
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		b.Fatal(err)
	}
	if err := os.Truncate(file, size); err != nil {
		b.Fatal(err)
	}
	route := transport.Route{URI: uri(server.Host, tree)}

	for _, ranges := range []int64{1, 2, 4, 16} {
		b.Run(fmt.Sprintf("ranges=%d", ranges), func(b *testing.B) {
			tr := u.transport(b, nil)
			b.SetBytes(size)
			for b.Loop() {
				var group errgroup.Group
				for i := range ranges {
					group.Go(func() error {
						r, err := tr.Open(b.Context(), route, desc, size/ranges*i, size/ranges)
						if err != nil {
							return err
						}
						defer r.Close()
						_, err = io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, make([]byte, 256<<10))
						return err
					})
				}
				if err := group.Wait(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	options := []string{"-q", "-P", port(b, server.Host), "-F", u.file("config"), "-i", u.file("id_ed25519")}
	for _, cipher := range []string{"", "aes128-gcm@openssh.com"} {
		name, options := "default", options
		if cipher != "" {
			name, options = cipher, append(options, "-c", cipher)
		}
		// -O: the SFTP of scp can't write to /dev/null.
		tool(b, "scp/"+name, size, "scp", append(options, "-O", "127.0.0.1:"+file, os.DevNull)...)
		tool(b, "sftp/"+name, size, "sftp", append(options, "127.0.0.1:"+file, filepath.Join("/dev/shm", filepath.Base(b.TempDir())))...)
	}
}

// tool measures a program that reads size bytes.
func tool(b *testing.B, name string, size int64, program string, args ...string) {
	b.Run(name, func(b *testing.B) {
		b.SetBytes(size)
		for b.Loop() {
			if out, err := exec.CommandContext(b.Context(), program, args...).CombinedOutput(); err != nil {
				b.Fatalf("%s %q: %v: %s", program, args, err, out)
			}
		}
		if target := args[len(args)-1]; target != os.DevNull {
			_ = os.Remove(target) // it may not have been made
		}
	})
}
