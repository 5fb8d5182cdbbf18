package sftp_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/filetree"
	"github.com/waybill-project/waybill/transport/sftp"
	"github.com/waybill-project/waybill/transport/sftp/openssh"
)

// fixture is a user, a server that lets the user in, and a transport.
type fixture struct {
	user
	server *realserver.SSHD
	tr     *sftp.Transport
	tree   string
}

func newFixture(t testing.TB, config string) fixture {
	t.Helper()
	f := fixture{user: newUser(t), tree: t.TempDir()}
	f.server = startSSHD(t, realserver.SSHDOptions{AuthorizedKeys: []string{f.public}, Config: config, NoSFTP: strings.Contains(config, "Subsystem")})
	f.knows(t, f.server)
	f.tr = f.transport(t, nil)
	return f
}

func (f fixture) route() transport.Route { return transport.Route{URI: uri(f.server.Host, f.tree)} }

func (f fixture) put(t testing.TB, size int64) transporttest.Blob {
	t.Helper()
	b := transporttest.NewBlob(uint64(size), size)
	putBlob(t, f.tree, b)
	return b
}

func TestConcurrentOpens(t *testing.T) {
	f := newFixture(t, "")
	const part = 4 << 20
	b := f.put(t, 16*part)
	var all sync.WaitGroup
	for i := range int64(16) {
		all.Go(func() {
			r, err := f.tr.Open(t.Context(), f.route(), b.Descriptor(), i*part, part)
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Close()
			got, err := io.ReadAll(r)
			want := make([]byte, part)
			if _, err := b.ReadAt(want, i*part); err != nil && err != io.EOF {
				t.Error(err)
			}
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("range %d: %d bytes, %v", i, len(got), err)
			}
		})
	}
	all.Wait()
	if n := f.tr.Connections(); n < 2 || n > sftp.MaxConns {
		t.Errorf("%d connections; want 2 to %d", n, sftp.MaxConns)
	}
}

// A server that takes fewer connections is read over those it takes.
func TestFewConnectionsAllowed(t *testing.T) {
	f := newFixture(t, "")
	b := f.put(t, 1<<20)
	first, err := f.tr.Open(t.Context(), f.route(), b.Descriptor(), 0, b.Size)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	// From here on nobody gets in any more.
	if err := os.WriteFile(f.file("known_hosts"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		r, err := f.tr.Open(t.Context(), f.route(), b.Descriptor(), 0, b.Size)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, b.Bytes()) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	if n := f.tr.Connections(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestRestartWhileReading(t *testing.T) {
	f := newFixture(t, "")
	b := f.put(t, 64<<20)
	r, err := f.tr.Open(t.Context(), f.route(), b.Descriptor(), 0, b.Size)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := io.CopyN(io.Discard, r, 1<<20); err != nil {
		t.Fatal(err)
	}
	f.server.Stop()
	if _, err = io.Copy(io.Discard, r); !errors.Is(err, transport.ErrTemporary) {
		t.Errorf("with the server gone: %v", err)
	}
	if _, err := f.tr.Open(t.Context(), f.route(), b.Descriptor(), 0, b.Size); !errors.Is(err, transport.ErrTemporary) || !strings.Contains(err.Error(), "refused") {
		t.Errorf("Open with the server gone: %v", err)
	}
	if err := f.server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, err := f.tr.Open(t.Context(), f.route(), b.Descriptor(), b.Size-100, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if got, err := io.ReadAll(again); err != nil || !bytes.Equal(got, b.Bytes()[b.Size-100:]) {
		t.Errorf("with the server back: %d bytes, %v", len(got), err)
	}
}

// Only what is asked for is requested, and little of what is given up.
func TestNoMoreThanAsked(t *testing.T) {
	f := newFixture(t, "")
	relay, err := realserver.StartRelay("127.0.0.1:0", f.server.Host, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(relay.Stop)
	f.write(t, "known_hosts", alias("relay", f.server))
	f.configure(t, "Host relay", "HostName 127.0.0.1", "HostKeyAlias relay", "Port "+port(t, relay.Addr))
	route := transport.Route{URI: uri("relay", f.tree)}
	b := f.put(t, 64<<20)
	if _, err := f.tr.Size(t.Context(), route, b.Descriptor()); err != nil {
		t.Fatal(err)
	}
	read := func(length, want int64) int64 {
		before := relay.Sent()
		r, err := f.tr.Open(t.Context(), route, b.Descriptor(), 1000, length)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, r, want); err != nil {
			t.Fatal(err)
		}
		r.Close()
		// Answers come in order: after this one there are no more.
		if _, err := f.tr.Size(t.Context(), route, b.Descriptor()); err != nil {
			t.Fatal(err)
		}
		return relay.Sent() - before
	}
	const overhead = 64 << 10
	if sent := read(1<<20, 1<<20); sent > 1<<20+overhead {
		t.Errorf("for 1 MiB the server sent %d bytes", sent)
	}
	if sent := read(32<<20, 1); sent > 1<<20 {
		t.Errorf("for 1 byte of 32 MiB that were given up the server sent %d", sent)
	}
}

func TestWhatIsAFile(t *testing.T) {
	f := newFixture(t, "")
	b := f.put(t, 1000)
	dir := filepath.Join(f.tree, "sha256")
	linked, dangling, directory, loop := digest.FromString("linked"), digest.FromString("dangling"), digest.FromString("directory"), digest.FromString("loop")
	for link, target := range map[digest.Digest]string{linked: b.Digest.Encoded(), dangling: "nothing", loop: loop.Encoded()} {
		if err := os.Symlink(target, filepath.Join(dir, link.Encoded())); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, directory.Encoded()), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		digest digest.Digest
		kind   error
	}{
		"link": {linked, nil}, "dangling link": {dangling, transport.ErrNotFound},
		"loop": {loop, transport.ErrNotFound}, "directory": {directory, transport.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := f.tr.Open(t.Context(), f.route(), ocispec.Descriptor{Digest: test.digest, Size: -1}, 0, -1)
			if err == nil {
				defer r.Close()
				got, errRead := io.ReadAll(r)
				if errRead != nil || !bytes.Equal(got, b.Bytes()) {
					t.Errorf("%d bytes, %v", len(got), errRead)
				}
			}
			if !errors.Is(err, test.kind) {
				t.Errorf("Open: %v, want %v", err, test.kind)
			}
		})
	}
}

func TestHomeDirectory(t *testing.T) {
	f := newFixture(t, "")
	// The server's idea of home is the account's; the tests' is a directory
	// somewhere else, which leads there from any.
	home, err := os.UserHomeDir()
	if err != nil {
		t.Fatal(err)
	}
	up, err := filepath.Rel(home, f.tree)
	if err != nil {
		t.Fatal(err)
	}
	b := f.put(t, 1000)
	size, err := f.tr.Size(t.Context(), transport.Route{URI: uri(f.server.Host, "/~/"+up)}, b.Descriptor())
	if err != nil || size != b.Size {
		t.Errorf("%d, %v", size, err)
	}
}

func TestLayoutName(t *testing.T) {
	f := newFixture(t, "")
	manifest := transporttest.NewBlob(1, 500)
	desc := manifest.Descriptor()
	putBlob(t, filepath.Join(f.tree, "blobs"), manifest)
	for file, content := range map[string]string{
		"oci-layout": `{"imageLayoutVersion":"1.0.0"}`,
		"index.json": `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"` + desc.Digest.String() +
			`","size":500,"annotations":{"org.opencontainers.image.ref.name":"v1"}}]}`,
	} {
		if err := os.WriteFile(filepath.Join(f.tree, file), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := f.tr.Resolve(t.Context(), parseName(t, f.route().URI+"#v1"))
	if err != nil || got.Digest != desc.Digest || got.Size != 500 {
		t.Fatalf("%+v, %v", got, err)
	}
	r, err := f.tr.Open(t.Context(), f.route(), got.Descriptor, 0, got.Size)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if content, err := io.ReadAll(r); err != nil || !bytes.Equal(content, manifest.Bytes()) {
		t.Errorf("%d bytes, %v", len(content), err)
	}
	if _, err := f.tr.Resolve(t.Context(), parseName(t, f.route().URI+"#v2")); !errors.Is(err, transport.ErrNotFound) {
		t.Errorf("a tag that isn't there: %v", err)
	}
}

func parseName(t testing.TB, text string) name.Name {
	t.Helper()
	n, err := name.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The restrictions that docs/transport-ssh.md has for a key leave what is needed.
func TestRestrictedKey(t *testing.T) {
	u, tree := newUser(t), t.TempDir()
	server := startSSHD(t, realserver.SSHDOptions{AuthorizedKeys: []string{`restrict,command="internal-sftp -R" ` + u.public}})
	u.knows(t, server)
	b := transporttest.NewBlob(1, 1000)
	putBlob(t, tree, b)
	size, err := u.transport(t, nil).Size(t.Context(), transport.Route{URI: uri(server.Host, tree)}, b.Descriptor())
	if err != nil || size != b.Size {
		t.Errorf("%d, %v", size, err)
	}
}

// A subsystem that isn't SFTP, or ends.
func TestNotSFTP(t *testing.T) {
	for subsystem, text := range map[string]string{
		"/bin/echo Welcome to this host": "doesn't speak SFTP",
		"/bin/false":                     "doesn't speak SFTP",
	} {
		f := newFixture(t, "Subsystem sftp "+subsystem)
		_, err := f.tr.FileSize(t.Context(), f.route().URI, "x")
		if !errors.Is(err, transport.ErrPermanent) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", subsystem, err)
		}
	}
}

// An SFTP server of its own process can die alone.
func TestSubsystemDies(t *testing.T) {
	f := newFixture(t, "Subsystem sftp /usr/lib/openssh/sftp-server")
	b := f.put(t, 1000)
	for range 3 {
		if size, err := f.tr.Size(t.Context(), f.route(), b.Descriptor()); err != nil || size != b.Size {
			t.Fatalf("%d, %v", size, err)
		}
		f.server.Kill("sftp-server")
	}
}

func TestConnectionsEnd(t *testing.T) {
	f := newFixture(t, "")
	options := openssh.Options{Home: f.home, SystemConfig: os.DevNull}
	none := func(t *testing.T, tr *sftp.Transport) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); tr.Connections() > 0; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d connections are left", tr.Connections())
			}
		}
	}
	t.Run("idle", func(t *testing.T) {
		tr := sftp.NewShortLived(options, 200*time.Millisecond)
		defer tr.Close()
		f.put(t, 1000)
		if _, err := tr.FileSize(t.Context(), f.route().URI, "missing"); !errors.Is(err, transport.ErrNotFound) {
			t.Fatal(err)
		}
		none(t, tr)
	})
	t.Run("the peer is dead", func(t *testing.T) {
		tr := sftp.NewShortLived(options, 2*time.Second)
		defer tr.Close()
		b := f.put(t, 32<<20)
		r, err := tr.Open(t.Context(), f.route(), b.Descriptor(), 0, b.Size)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		must(t, f.server.Pause())
		defer func() { must(t, f.server.Resume()) }()
		if _, err := io.Copy(io.Discard, r); !errors.Is(err, transport.ErrTemporary) {
			t.Errorf("Read ends in %v", err)
		}
		none(t, tr)
	})
	t.Run("a request that is never answered", func(t *testing.T) {
		tr := sftp.NewShortLived(options, 2*time.Second)
		defer tr.Close()
		pipe := filepath.Join(f.tree, "pipe")
		if err := syscall.Mkfifo(pipe, 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := tr.OpenFile(ctx, f.route().URI, "pipe", filetree.Part{Size: -1, Length: -1}); !errors.Is(err, ctx.Err()) {
			t.Errorf("got %v", err)
		}
		none(t, tr)
	})
	t.Run("the transport is closed", func(t *testing.T) {
		b := f.put(t, 32<<20+1)
		r, err := f.tr.Open(t.Context(), f.route(), b.Descriptor(), 0, b.Size)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if err := f.tr.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err == nil {
			t.Error("everything was read")
		}
		if _, err := f.tr.Open(t.Context(), f.route(), b.Descriptor(), 0, 1); !errors.Is(err, transport.ErrPermanent) {
			t.Errorf("Open: %v", err)
		}
	})
}
