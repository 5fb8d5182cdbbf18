package testimage_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/waybill-project/waybill/test/testimage"
)

// TestUmociReadsTheLayout has another implementation unpack an image of every
// compression, which checks all digests and diffIDs.
func TestUmociReadsTheLayout(t *testing.T) {
	layout, err := testimage.NewLayout(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var layers []testimage.Layer
	// umoci 0.4 doesn't know zstd; the tests that use it have other judges.
	for i, c := range []testimage.Compression{testimage.None, testimage.Gzip, testimage.Stored} {
		layer, err := layout.AddLayer(testimage.Random(uint64(i), 200_000), c)
		if err != nil {
			t.Fatal(err)
		}
		layers = append(layers, layer)
	}
	image, err := layout.AddImage(testimage.Config(), layers...)
	if err != nil {
		t.Fatal(err)
	}
	if err := layout.Tag(image, "app"); err != nil {
		t.Fatal(err)
	}
	bundle := t.TempDir() + "/bundle"
	if out, err := exec.Command("umoci", "unpack", "--rootless", "--image", layout.Dir+":app", bundle).CombinedOutput(); err != nil {
		t.Fatalf("umoci: %v\n%s", err, out)
	}
	for _, file := range []string{"0", "1", "2"} {
		info, err := os.Stat(bundle + "/rootfs/data/" + file + ".bin")
		if err != nil || info.Size() != 200_000 {
			t.Errorf("file %s: %v, %v", file, info, err)
		}
	}
}

func TestTagReplaces(t *testing.T) {
	layout, err := testimage.NewLayout(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []uint64{1, 2} {
		layer, err := layout.AddLayer(testimage.Text(text, 1000), testimage.Zstd)
		if err != nil {
			t.Fatal(err)
		}
		image, err := layout.AddImage(testimage.Config(), layer)
		if err != nil {
			t.Fatal(err)
		}
		if err := layout.Tag(image, "app"); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(layout.Dir + "/index.json")
	if err != nil {
		t.Fatal(err)
	}
	var index ocispec.Index
	if err := json.Unmarshal(data, &index); err != nil {
		t.Fatal(err)
	}
	if len(index.Manifests) != 1 {
		t.Errorf("%d manifests tagged app, want 1: %s", len(index.Manifests), data)
	}
}
