//go:build linux

package bundle_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/bundle"
)

func ExampleCreate() {
	var layer bytes.Buffer
	w := tar.NewWriter(&layer)
	if err := w.WriteHeader(&tar.Header{Name: "hello", Mode: 0o755, Size: 10}); err != nil {
		log.Fatal(err)
	}
	if _, err := io.WriteString(w, "#!/bin/sh\n"); err != nil {
		log.Fatal(err)
	}
	if err := w.Close(); err != nil {
		log.Fatal(err)
	}
	id := digest.FromBytes(layer.Bytes()) // of the blob, and as it is not compressed its diff_id too
	img := bundle.Image{
		Config: fmt.Appendf(nil, `{"os": "linux", "config": {"Cmd": ["/hello"]}, "rootfs": {"type": "layers", "diff_ids": [%q]}}`, id),
		Layers: []bundle.Layer{{
			Descriptor: ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: id, Size: int64(layer.Len())},
			Open: func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(bytes.NewReader(layer.Bytes())), nil
			},
		}},
	}

	parent, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(parent)
	dir := filepath.Join(parent, "hello")
	if err := bundle.Create(context.Background(), dir, img, bundle.Options{}); err != nil {
		log.Fatal(err)
	}
	files, err := filepath.Glob(dir + "/*")
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range append(files, dir+"/rootfs/hello") {
		info, err := os.Stat(f)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(info.Mode(), f[len(parent)+1:])
	}
	// Output:
	// -rw-r--r-- hello/config.json
	// drwxr-xr-x hello/rootfs
	// -rwxr-xr-x hello/rootfs/hello
}
