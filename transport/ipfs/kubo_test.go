package ipfs_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
	"github.com/waybill-project/waybill/bundle"
	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/ipfs"
)

// The ways in which "ipfs add" lays a file out.
func TestLayoutsOfFiles(t *testing.T) {
	kubo := startKubo(t, nil)
	b := transporttest.NewBlob(3, 3<<20+12345)
	file := filepath.Join(t.TempDir(), "file")
	b.WriteFile(t, file)
	for name, options := range map[string][]string{
		"current":        {},
		"old profile":    {"--cid-version=0", "--raw-leaves=false", "--chunker=size-262144"},
		"small blocks":   {"--chunker=size-4096"},
		"trickle":        {"--trickle", "--chunker=size-4096"},
		"few links":      {"--max-file-links=2", "--chunker=size-65536"},
		"rabin":          {"--chunker=rabin"},
		"sha2-512":       {"--hash=sha2-512", "--raw-leaves=false"},
		"blake3":         {"--hash=blake3"},
		"blake2b-256":    {"--hash=blake2b-256"},
		"mode and mtime": {"--preserve-mode", "--preserve-mtime", "--raw-leaves=false"},
	} {
		for mode, reading := range map[string]ipfs.Reading{"blocks": ipfs.Blocks, "CARs": ipfs.CARs} {
			t.Run(name+"/"+mode, func(t *testing.T) {
				id, err := kubo.Add(t.Context(), file, options...)
				if err != nil {
					t.Fatal(err)
				}
				tr := newTransport(t, ipfs.Options{Gateways: []string{kubo.Gateway}, Reading: reading})
				route := transport.Route{URI: "ipfs://" + id}
				if size, err := tr.Size(t.Context(), route, b.Descriptor()); err != nil || size != b.Size {
					t.Errorf("size %d, %v", size, err)
				}
				for _, part := range [][2]int64{{0, b.Size}, {0, 1}, {4095, 2}, {1 << 20, 1<<20 + 5}, {b.Size - 1, 1}, {1234567, b.Size - 1234567}} {
					r, err := tr.Open(t.Context(), route, b.Descriptor(), part[0], part[1])
					if err != nil {
						t.Fatal(err)
					}
					got, err := io.ReadAll(r)
					if err != nil || !bytes.Equal(got, b.Bytes()[part[0]:part[0]+part[1]]) {
						t.Errorf("%d bytes at %d: %d bytes, %v", part[1], part[0], len(got), err)
					}
					r.Close()
				}
			})
		}
	}
}

// Only the blocks of the range are fetched.
func TestOnlyTheRangeIsFetched(t *testing.T) {
	b, d, root := blobOf(t)
	for name, reading := range map[string]ipfs.Reading{"blocks": ipfs.Blocks, "CARs": ipfs.CARs} {
		t.Run(name, func(t *testing.T) {
			g := &fakeGateway{d: d}
			tr := newTransport(t, ipfs.Options{Gateways: []string{serve(t, g.ServeHTTP)}, Reading: reading})
			r, err := tr.Open(t.Context(), transport.Route{URI: "ipfs://" + root.String()}, b.Descriptor(), 5*chunk+1, chunk)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if _, err := io.Copy(io.Discard, r); err != nil {
				t.Fatal(err)
			}
			// The root, one or two nodes below it, two leaves.
			if n := g.raws.Load(); n > 6 {
				t.Errorf("%d blocks were asked for", n)
			}
		})
	}
}

// A file is a source for the blob it can be, and of no other.
func TestOneFile(t *testing.T) {
	kubo := startKubo(t, nil)
	small, large := transporttest.NewBlob(1, 1000), transporttest.NewBlob(2, 5<<20)
	ids := map[int64]string{}
	for _, b := range []transporttest.Blob{small, large} {
		file := filepath.Join(t.TempDir(), "file")
		b.WriteFile(t, file)
		var err error
		if ids[b.Size], err = kubo.Add(t.Context(), file); err != nil {
			t.Fatal(err)
		}
	}
	other := ocispec.Descriptor{Digest: digest.FromString("other"), Size: small.Size}
	sizeless := small.Descriptor()
	sizeless.Size = -1
	tests := []struct {
		name, id string
		desc     ocispec.Descriptor
		want     error
	}{
		{"the block's digest", ids[small.Size], small.Descriptor(), nil},
		{"the block's digest, size unknown", ids[small.Size], sizeless, nil},
		{"another digest of that size", ids[small.Size], other, transport.ErrNotFound},
		{"the file's size", ids[large.Size], large.Descriptor(), nil},
		{"another size", ids[large.Size], small.Descriptor(), transport.ErrNotFound},
		{"a path below a file", ids[large.Size] + "/x", large.Descriptor(), transport.ErrNotFound},
	}
	tr := newTransport(t, ipfs.Options{Gateways: []string{kubo.Gateway}})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := read(t, tr, "ipfs://"+tt.id, tt.desc)
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
	t.Run("no digest", func(t *testing.T) {
		for _, uri := range []string{"ipfs://" + ids[small.Size], "ipfs+" + kubo.Gateway} {
			if _, err := read(t, tr, uri, ocispec.Descriptor{Digest: "sha256", Size: small.Size}); !errors.Is(err, transport.ErrPermanent) {
				t.Errorf("%s: %v", uri, err)
			}
		}
	})
	t.Run("too large for a digest", func(t *testing.T) {
		_, err := read(t, tr, "ipfs+"+kubo.Gateway, large.Descriptor())
		if !errors.Is(err, transport.ErrNotFound) || !strings.Contains(err.Error(), "above 2097152 a blob is several blocks") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a hint", func(t *testing.T) {
		tr := newTransport(t, ipfs.Options{Hints: func(ocispec.Descriptor) string { return ids[large.Size] }})
		got, err := read(t, tr, "ipfs+"+kubo.Gateway, large.Descriptor())
		if err != nil || !bytes.Equal(got, large.Bytes()) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	})
	t.Run("other digest algorithms", func(t *testing.T) {
		for _, algorithm := range []string{"sha2-512", "blake3"} {
			file := filepath.Join(t.TempDir(), "file")
			small.WriteFile(t, file)
			if _, err := kubo.Run(t.Context(), "block", "put", "--cid-codec=raw", "--mhtype="+algorithm, file); err != nil {
				t.Fatal(err)
			}
		}
		for _, d := range []digest.Digest{digest.SHA512.FromBytes(small.Bytes()), blake3Of(t, small.Bytes())} {
			got, err := read(t, tr, "ipfs+"+kubo.Gateway, ocispec.Descriptor{Digest: d, Size: small.Size})
			if err != nil || !bytes.Equal(got, small.Bytes()) {
				t.Errorf("%s: %d bytes, %v", d, len(got), err)
			}
		}
	})
}

// A directory of a thousand files in shards is read through its shards.
func TestShardedDirectory(t *testing.T) {
	kubo := startKubo(t, map[string]any{"Import.UnixFSHAMTDirectorySizeThreshold": "1B", "Import.UnixFSHAMTDirectoryMaxFanout": 16})
	dir := t.TempDir()
	sub := filepath.Join(dir, "blobs", "sha256")
	if err := os.MkdirAll(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	var all []digest.Digest
	for i := range 1000 {
		content := fmt.Sprint("content ", i)
		all = append(all, digest.FromString(content))
		if err := os.WriteFile(filepath.Join(sub, all[i].Encoded()), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	id, err := kubo.Add(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	tr := newTransport(t, ipfs.Options{Gateways: []string{kubo.Gateway}})
	for i, d := range all {
		want := fmt.Sprint("content ", i)
		got, err := read(t, tr, "ipfs://"+id, ocispec.Descriptor{Digest: d, Size: int64(len(want))})
		if err != nil || string(got) != want {
			t.Fatalf("%s: %q, %v", d, got, err)
		}
	}
	if _, err := read(t, tr, "ipfs://"+id, ocispec.Descriptor{Digest: digest.FromString("missing"), Size: 1}); !errors.Is(err, transport.ErrNotFound) {
		t.Errorf("a missing blob: %v", err)
	}
	seen := map[string]bool{}
	for e, err := range tr.Walk(t.Context(), "ipfs://"+id) {
		if err != nil {
			t.Fatal(err)
		}
		seen[e.Path] = true
	}
	if len(seen) != 1002 || !seen["blobs/sha256/"+all[999].Encoded()] {
		t.Errorf("%d entries", len(seen))
	}
}

// One of two gateways dies while a file is read; the reader doesn't notice.
func TestGatewayDiesInTheMiddle(t *testing.T) {
	b := transporttest.NewBlob(5, 40<<20)
	file := filepath.Join(t.TempDir(), "file")
	b.WriteFile(t, file)
	for name, reading := range map[string]ipfs.Reading{"blocks": ipfs.Blocks, "CARs": ipfs.CARs} {
		t.Run(name, func(t *testing.T) {
			first, second := startKubo(t, nil), startKubo(t, nil)
			var id string
			for _, kubo := range []*realserver.Kubo{first, second} {
				var err error
				if id, err = kubo.Add(t.Context(), file); err != nil {
					t.Fatal(err)
				}
			}
			tr := newTransport(t, ipfs.Options{Gateways: []string{first.Gateway, second.Gateway}, Reading: reading})
			open := func() io.ReadCloser {
				t.Helper()
				r, err := tr.Open(t.Context(), transport.Route{URI: "ipfs://" + id}, b.Descriptor(), 0, b.Size)
				if err != nil {
					t.Fatal(err)
				}
				return r
			}
			r := open()
			defer r.Close()
			head := make([]byte, 3<<20)
			if _, err := io.ReadFull(r, head); err != nil {
				t.Fatal(err)
			}
			first.Stop()
			rest, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(append(head, rest...), b.Bytes()) {
				t.Fatalf("%d bytes, %v", len(head)+len(rest), err)
			}
			last := open()
			defer last.Close()
			if _, err := io.ReadFull(last, head); err != nil {
				t.Fatal(err)
			}
			second.Stop()
			_, err = io.Copy(io.Discard, last)
			if !errors.Is(err, transport.ErrTemporary) || !strings.Contains(err.Error(), first.Gateway) || !strings.Contains(err.Error(), second.Gateway) {
				t.Errorf("with both dead: %v", err)
			}
		})
	}
}

// A gateway that doesn't answer is passed over when the caller comes back.
func TestMuteGateway(t *testing.T) {
	b, d, root := blobOf(t)
	mute := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	tr := newTransport(t, ipfs.Options{Gateways: []string{mute, serve(t, (&fakeGateway{d: d}).ServeHTTP)}})
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	if _, err := tr.Open(ctx, transport.Route{URI: "ipfs://" + root.String()}, b.Descriptor(), 0, b.Size); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if got, err := read(t, tr, "ipfs://"+root.String(), b.Descriptor()); err != nil || !bytes.Equal(got, b.Bytes()) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	// And while there is another, it isn't waited for in vain.
	tr = newTransport(t, ipfs.Options{Gateways: []string{mute, serve(t, (&fakeGateway{d: d}).ServeHTTP)}})
	if got, err := read(t, tr, "ipfs://"+root.String(), b.Descriptor()); err != nil || !bytes.Equal(got, b.Bytes()) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
}

// The kubo of this machine is found by itself, in every way there is.
func TestLocalKubo(t *testing.T) {
	kubo := startKubo(t, nil)
	b := transporttest.NewBlob(9, 1000)
	file := filepath.Join(t.TempDir(), "file")
	b.WriteFile(t, file)
	id, err := kubo.Add(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	repo := func(files ...string) string {
		dir := t.TempDir()
		for _, f := range files {
			content, err := os.ReadFile(filepath.Join(kubo.Repo, f))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, f), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	home := t.TempDir()
	if err := os.Symlink(kubo.Repo, filepath.Join(home, ".ipfs")); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, gateway, path, home string
		found                     bool
	}{
		{"$IPFS_GATEWAY", kubo.Gateway, "", "", true},
		{"$IPFS_GATEWAY by name", strings.Replace(kubo.Gateway, "127.0.0.1", "localhost", 1), "", "", true},
		{"$IPFS_PATH", "", kubo.Repo, "", true},
		{"home", "", "", home, true},
		{"file gateway", "", repo("gateway"), "", true},
		{"files api and config", "", repo("api", "config"), "", true},
		{"file config of a kubo that isn't running", "", repo("config"), "", false},
		{"nothing", "", t.TempDir(), "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("IPFS_GATEWAY", tt.gateway)
			t.Setenv("IPFS_PATH", tt.path)
			t.Setenv("HOME", tt.home)
			tr, err := ipfs.New(httpclient.New(httpclient.Options{}), ipfs.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			got, err := read(t, tr, "ipfs://"+id, b.Descriptor())
			if tt.found {
				if err != nil || !bytes.Equal(got, b.Bytes()) {
					t.Errorf("%d bytes, %v", len(got), err)
				}
				return
			}
			if !errors.Is(err, transport.ErrPermanent) || !strings.Contains(err.Error(), "no IPFS gateway to ask: start kubo") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A directory that is a runtime bundle goes through kubo and back, and runs.
func TestWalkOfABundle(t *testing.T) {
	kubo := startKubo(t, nil)
	dir := t.TempDir()
	at := time.Date(2021, 2, 3, 4, 5, 6, 0, time.UTC)
	content := bytes.Repeat([]byte("large"), 1<<20)
	for _, d := range []string{"rootfs/bin", "rootfs/empty"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for f, c := range map[string][]byte{"config.json": []byte(`{"ociVersion":"1.0.2","root":{"path":"rootfs"}}`), "rootfs/bin/sh": content, "rootfs/data": []byte("small"), "rootfs/nothing": nil} {
		if err := os.WriteFile(filepath.Join(dir, f), c, 0o640); err != nil {
			t.Fatal(err)
		}
	}
	for _, err := range []error{
		os.Chmod(filepath.Join(dir, "rootfs/bin/sh"), 0o755|fs.ModeSetuid),
		os.Chtimes(filepath.Join(dir, "rootfs/bin/sh"), at, at),
		os.Symlink("../../etc/passwd", filepath.Join(dir, "rootfs/link")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	tr := newTransport(t, ipfs.Options{Gateways: []string{kubo.Gateway}})
	fetch := func(t *testing.T, options ...string) string {
		t.Helper()
		id, err := kubo.Add(t.Context(), dir, options...)
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(t.TempDir(), "bundle")
		err = bundle.CreateTree(t.Context(), to, func(yield func(bundle.TreeEntry, error) bool) {
			for e, err := range tr.Walk(t.Context(), "ipfs://"+id) {
				if !yield(bundle.TreeEntry(e), err) {
					return
				}
			}
		}, bundle.TreeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("diff", "-r", "--no-dereference", dir, to).CombinedOutput(); err != nil {
			t.Errorf("not the same: %s", out)
		}
		return to
	}
	t.Run("with modes and times", func(t *testing.T) {
		to := fetch(t, "--preserve-mode", "--preserve-mtime", "--raw-leaves=false")
		info, err := os.Stat(filepath.Join(to, "rootfs/bin/sh"))
		if err != nil || info.Mode() != 0o755|fs.ModeSetuid || !info.ModTime().Equal(at) {
			t.Errorf("%v, %v, %v", info.Mode(), info.ModTime(), err)
		}
	})
	t.Run("without", func(t *testing.T) {
		to := fetch(t)
		if info, err := os.Stat(filepath.Join(to, "rootfs/bin/sh")); err != nil || info.Mode() != 0o644 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
	})
	t.Run("not a directory", func(t *testing.T) {
		id, err := kubo.Add(t.Context(), filepath.Join(dir, "config.json"))
		if err != nil {
			t.Fatal(err)
		}
		for e, err := range tr.Walk(t.Context(), "ipfs://"+id) {
			if !errors.Is(err, transport.ErrPermanent) || !strings.Contains(err.Error(), "is a file, not a directory") {
				t.Errorf("%v, %v", e, err)
			}
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		id, err := kubo.Add(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var last error
		for _, err := range tr.Walk(ctx, "ipfs://"+id) {
			cancel()
			last = err
		}
		cancel()
		if last != nil && !errors.Is(last, context.Canceled) {
			t.Errorf("got %v", last)
		}
	})
}

// What a delegated router names is used, in the public network only.
func TestProviders(t *testing.T) {
	b, d, root := blobOf(t)
	provider := serve(t, (&fakeGateway{d: d}).ServeHTTP)
	_, port, _ := strings.Cut(strings.TrimPrefix(provider, "http://"), ":")
	record := fmt.Sprintf(`{"Schema":"peer","ID":"12D3KooWM8sovaEGU1bmiWGWAzvs47DEcXKZZTuJnpQyVTkRs2Vn","Addrs":["/ip4/127.0.0.1/tcp/%s/http"],"Protocols":["transport-ipfs-gateway-http"]}`, port)
	for name, answer := range map[string][2]string{
		"JSON":   {"application/json", `{"Providers":[{"Schema":"bitswap"},` + record + `]}`},
		"NDJSON": {"application/x-ndjson", `{"Schema":"bitswap"}` + "\n" + record + "\n"},
	} {
		router := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/routing/v1/providers/"+root.String() {
				http.NotFound(w, r)
				return
			}
			w.Header().Set("Content-Type", answer[0])
			_, _ = w.Write([]byte(answer[1]))
		})
		t.Run(name+"/refused", func(t *testing.T) {
			tr := newTransport(t, ipfs.Options{Routers: []string{router}})
			_, err := read(t, tr, "ipfs://"+root.String(), b.Descriptor())
			if !errors.Is(err, transport.ErrRefused) || !strings.Contains(err.Error(), "loopback") {
				t.Errorf("got %v", err)
			}
		})
		t.Run(name+"/trusted", func(t *testing.T) {
			client := httpclient.New(httpclient.Options{Trusted: func(host string) bool { return host == strings.TrimPrefix(provider, "http://") }})
			tr, err := ipfs.New(client, ipfs.Options{NoLocal: true, Routers: []string{router}})
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			got, err := read(t, tr, "ipfs://"+root.String(), b.Descriptor())
			if err != nil || !bytes.Equal(got, b.Bytes()) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	t.Run("kubo, which knows nobody", func(t *testing.T) {
		kubo := startKubo(t, nil)
		tr := newTransport(t, ipfs.Options{Gateways: []string{kubo.Gateway}, Routers: []string{kubo.Gateway}})
		if _, err := read(t, tr, "ipfs://"+root.String(), b.Descriptor()); !errors.Is(err, transport.ErrNotFound) {
			t.Errorf("got %v", err)
		}
	})
}

func blake3Of(t testing.TB, content []byte) digest.Digest {
	t.Helper()
	d, err := blobdigest.FromBytes(blobdigest.BLAKE3, content)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
