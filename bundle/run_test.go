//go:build linux

package bundle_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/bundle"
)

// program is what the containers of these tests do: say everything that
// config.json has a part in.
const program = `id -u; id -g; id -G; pwd; echo "$HOME $MARK"; cat /vol/seed; echo new >/vol/new; stat -c '%a %u %g' /vol
hostname; echo $1; test -c /dev/null; test -e /proc/self/status; echo written >/tmp/f; exit 7`

func debianImage(t *testing.T, c ocispec.ImageConfig) bundle.Image {
	t.Helper()
	debian := debootstrapped(t)
	base := read(t, debian)
	upper := archive(t,
		file("etc/passwd", "root:x:0:0:root:/root:/bin/bash\nweb:x:33:33::/srv/web:/bin/sh\n"), file("etc/group", "root:x:0:\nwww:x:33:\nextra:x:50:web\n"),
		dir("vol", 0o750).owned(33, 33), file("vol/seed", "seeded\n"))
	c.Entrypoint, c.Cmd = []string{"/bin/sh", "-euc", program, "sh"}, []string{"an argument"}
	c.Env, c.WorkingDir = []string{"MARK=set by the image", "PATH=/usr/bin:/bin"}, "/var/made"
	c.Volumes = map[string]struct{}{"/vol": {}}
	img := bundle.Image{Config: configOf(t, c, base, upper)}
	open := func(context.Context) (io.ReadCloser, error) { return os.Open(debian) }
	plain := blobLayer(ocispec.MediaTypeImageLayer, base)
	plain.Open = open
	img.Layers = []bundle.Layer{plain, blobLayer(gzipLayer, gzipped(t, upper))}
	return img
}

// start runs a bundle by a runtime, without a terminal.
func start(t *testing.T, runtime, dir string) string {
	t.Helper()
	state := t.TempDir()
	name := "waybill-test-" + filepath.Base(filepath.Dir(state))
	if _, err := exec.LookPath(runtime); err != nil {
		t.Fatalf("%v: apt-get install %s", err, packages[runtime])
	}
	argv := outsideHybridCgroups(runtime, "--root", state, "run", "--bundle", dir, name)
	cmd := exec.Command(argv[0], argv[1:]...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if stderr.Len() > 0 {
		t.Logf("%s: %v: %s", runtime, err, &stderr)
	}
	if code := cmd.ProcessState.ExitCode(); code != 7 {
		t.Errorf("%s run ended with %d, want the container's 7", runtime, code)
	}
	return string(out)
}

func TestRuntimesStartIt(t *testing.T) {
	for _, runtime := range []string{"runc", "crun"} {
		t.Run(runtime, func(t *testing.T) {
			needRoot(t)
			target := t.TempDir() + "/b"
			if err := bundle.Create(t.Context(), target, debianImage(t, ocispec.ImageConfig{User: "web"}), bundle.Options{}); err != nil {
				t.Fatal(err)
			}
			want := "33\n33\n33 50\n/var/made\n/srv/web set by the image\nseeded\n750 33 33\nwaybill\nan argument\n"
			if got := start(t, runtime, target); got != want {
				t.Errorf("%s: container says\n%s\nwant\n%s", runtime, got, want)
			}
			if got := entries(t, target+"/rootfs/vol"); got != "seed" {
				t.Errorf("%s: volume's place in the rootfs holds %s, want what the image has there", runtime, got)
			}
			if got := strings.TrimSpace(string(read(t, target+"/rootfs/tmp/f"))); got != "written" {
				t.Errorf("%s: /tmp/f in the rootfs is %q", runtime, got)
			}
		})
		t.Run(runtime+" of an ordinary user", func(t *testing.T) {
			if os.Getenv(childVariable) == "" {
				needRoot(t) // to make the Debian system
				asOrdinaryUser(t, debootstrapped(t))
				return
			}
			target := t.TempDir() + "/b"
			t.Cleanup(func() { run(t, "chmod", "-R", "u+rwX", target) })
			if err := bundle.Create(t.Context(), target, debianImage(t, ocispec.ImageConfig{}), bundle.Options{}); err != nil {
				t.Fatal(err)
			}
			got := start(t, runtime, target)
			want := "0\n0\n0\n/var/made\n/root set by the image\nseeded\n750 0 0\nwaybill\nan argument\n"
			if got != want {
				t.Errorf("%s: container says\n%s\nwant\n%s", runtime, got, want)
			}
		})
	}
}
