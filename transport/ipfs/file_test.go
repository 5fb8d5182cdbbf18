package ipfs_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/transport"
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

// A kubo that answers trustlessly only, and fetches nothing for us, will do.
func TestTrustlessKubo(t *testing.T) {
	kubo := startKubo(t, map[string]any{"Gateway.DeserializedResponses": false, "Gateway.NoFetch": true})
	b := transporttest.NewBlob(4, 3<<20)
	file := filepath.Join(t.TempDir(), "file")
	b.WriteFile(t, file)
	id, err := kubo.Add(t.Context(), file)
	if err != nil {
		t.Fatal(err)
	}
	for name, reading := range map[string]ipfs.Reading{"blocks": ipfs.Blocks, "CARs": ipfs.CARs} {
		t.Run(name, func(t *testing.T) {
			tr := newTransport(t, ipfs.Options{Gateways: []string{kubo.Gateway}, Reading: reading})
			if got, err := read(t, tr, "ipfs://"+id, b.Descriptor()); err != nil || !bytes.Equal(got, b.Bytes()) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
			if _, err := read(t, tr, "ipfs://"+someCID, b.Descriptor()); !errors.Is(err, transport.ErrNotFound) {
				t.Errorf("what it doesn't have: %v", err)
			}
		})
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

// Files that repeat their blocks, in a row and apart, come whole to many
// readers at once: what one has read is not overwritten for another.
func TestRepeatedBlocks(t *testing.T) {
	const block = 16 << 10
	d, random := newDAG(t), rand.New(rand.NewPCG(1, 2))
	var content []byte
	for range 300 {
		content = append(content, bytes.Repeat([]byte{byte(random.IntN(3))}, block)...)
	}
	root := d.file(bytes.NewReader(content), block, 7).cid
	g := &fakeGateway{d: d}
	g.car = func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(d.carOf(root, dfs(d, root))) }
	desc := ocispec.Descriptor{Digest: digest.FromBytes(content), Size: int64(len(content))}
	for name, reading := range map[string]ipfs.Reading{"blocks": ipfs.Blocks, "CARs": ipfs.CARs} {
		t.Run(name, func(t *testing.T) {
			tr := newTransport(t, ipfs.Options{Gateways: []string{serve(t, g.ServeHTTP)}, Reading: reading})
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					got, err := read(t, tr, "ipfs://"+root.String(), desc)
					if err != nil || !bytes.Equal(got, content) {
						t.Errorf("%d bytes, %v", len(got), err)
					}
				})
			}
			wg.Wait()
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

func blake3Of(t testing.TB, content []byte) digest.Digest {
	t.Helper()
	d, err := blobdigest.FromBytes(blobdigest.BLAKE3, content)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
