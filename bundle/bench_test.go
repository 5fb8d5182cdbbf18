//go:build linux

package bundle_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/waybill-project/waybill/bundle"
)

// BenchmarkDebian unpacks a Debian system of one gzip layer, beside umoci. Set
// TMPDIR to choose the file system. Nothing is removed between the rounds, for
// ext4 is slow to give out inodes that were just freed.
func BenchmarkDebian(b *testing.B) {
	needRoot(b)
	work := b.TempDir()
	tar := read(b, debootstrapped(b))
	img := imageOf(b, tar)
	layout := filepath.Join(work, "layout")
	writeLayout(b, layout, img)
	img = readCopy(b, layout)
	b.Run("waybill", func(b *testing.B) {
		b.SetBytes(int64(len(tar)))
		for i := range b.N {
			if err := bundle.Create(b.Context(), fmt.Sprintf("%s/ours-%d-%d", work, b.N, i), img, bundle.Options{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("umoci", func(b *testing.B) {
		b.SetBytes(int64(len(tar)))
		for i := range b.N {
			cmd := exec.Command("umoci", "unpack", "--image", layout+":image", fmt.Sprintf("%s/theirs-%d-%d", work, b.N, i))
			runCmd(b, cmd)
		}
	})
}
