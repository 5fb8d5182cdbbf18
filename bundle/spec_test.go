//go:build linux

package bundle_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	specs "github.com/opencontainers/runtime-spec/specs-go"

	"github.com/waybill-project/waybill/bundle"
)

const accounts = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:34:web:/srv/web:/bin/false\n"
const groups = "root:x:0:\nweb:x:34:\nextra:x:50:web,other\nmore:x:51:web\nother:x:60:\n"

// specOf makes a bundle of an image with the given configuration and returns
// its config.json.
func specOf(t *testing.T, raw []byte, tar []byte, opts bundle.Options) (specs.Spec, error) {
	t.Helper()
	work := t.TempDir()
	img := bundle.Image{Config: raw, Layers: []bundle.Layer{blobLayer(gzipLayer, gzipped(t, tar))}}
	if err := bundle.Create(t.Context(), work+"/b", img, opts); err != nil {
		empty(t, work)
		return specs.Spec{}, err
	}
	var spec specs.Spec
	if err := json.Unmarshal(read(t, work+"/b/config.json"), &spec); err != nil {
		t.Fatal(err)
	}
	return spec, nil
}

func TestRuntimeSpec(t *testing.T) {
	tar := archive(t, file("etc/passwd", accounts), file("etc/group", groups))
	spec := func(t *testing.T, c ocispec.ImageConfig) specs.Spec {
		t.Helper()
		s, err := specOf(t, configOf(t, c, tar), tar, bundle.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	same := func(t *testing.T, what string, got, want []string) {
		t.Helper()
		if !slices.Equal(got, want) {
			t.Errorf("%s is %q, want %q", what, got, want)
		}
	}
	const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
	t.Run("arguments", func(t *testing.T) {
		for _, test := range []struct{ entrypoint, cmd, want []string }{
			{nil, nil, []string{"sh"}},
			{[]string{"/bin/x"}, nil, []string{"/bin/x"}},
			{nil, []string{"y", ""}, []string{"y", ""}},
			{[]string{"/bin/x", "-a"}, []string{"b c"}, []string{"/bin/x", "-a", "b c"}},
		} {
			got := spec(t, ocispec.ImageConfig{Entrypoint: test.entrypoint, Cmd: test.cmd})
			same(t, "process.args", got.Process.Args, test.want)
		}
	})
	t.Run("environment", func(t *testing.T) {
		same(t, "default", spec(t, ocispec.ImageConfig{}).Process.Env, []string{path, "HOME=/root"})
		env := []string{"HOME=/mine", "A=", "PATH=/p", "B=x=y", "A=again"}
		same(t, "image's", spec(t, ocispec.ImageConfig{Env: env}).Process.Env, env)
		same(t, "half", spec(t, ocispec.ImageConfig{Env: []string{"PATHS=x"}, User: "web"}).Process.Env,
			[]string{"PATHS=x", path, "HOME=/srv/web"})
	})
	t.Run("working directory", func(t *testing.T) {
		for dir, want := range map[string]string{"": "/", "/a/b": "/a/b", "a": "/a", "../..": "/"} {
			if got := spec(t, ocispec.ImageConfig{WorkingDir: dir}).Process.Cwd; got != want {
				t.Errorf("process.cwd for %q is %q, want %q", dir, got, want)
			}
		}
	})
	t.Run("annotations", func(t *testing.T) {
		got := spec(t, ocispec.ImageConfig{
			Labels:       map[string]string{"x": "y", "org.opencontainers.image.os": "label wins", "": "nameless"},
			ExposedPorts: map[string]struct{}{"8080": {}, "53/udp": {}}, StopSignal: "SIGQUIT",
		}).Annotations
		for key, want := range map[string]string{
			"x": "y", "org.opencontainers.image.os": "label wins", "org.opencontainers.image.architecture": "amd64",
			"org.opencontainers.image.exposedPorts": "53/udp,8080", "org.opencontainers.image.stopSignal": "SIGQUIT",
		} {
			if got[key] != want {
				t.Errorf("annotation %q is %q, want %q", key, got[key], want)
			}
		}
		if len(got) != 5 {
			t.Errorf("annotations are %v, want 5", got)
		}
	})
	t.Run("volumes", func(t *testing.T) {
		got := spec(t, ocispec.ImageConfig{Volumes: map[string]struct{}{"/data": {}, "rel": {}, "/": {}, "/proc": {}, "/data/": {}, "/../up": {}}})
		plain := len(spec(t, ocispec.ImageConfig{}).Mounts)
		var dests []string
		for _, m := range got.Mounts[plain:] {
			if dests = append(dests, m.Destination); m.Type != "tmpfs" {
				t.Errorf("volume %s is a %s", m.Destination, m.Type)
			}
		}
		same(t, "mounts", dests, []string{"/up", "/data", "/rel"})
	})
}

func TestUsers(t *testing.T) {
	outside := t.TempDir() + "/passwd"
	write(t, outside, []byte("intruder:x:1:1::/:\n"))
	tars := map[string][]byte{
		"plain":    archive(t, file("etc/passwd", accounts), file("etc/group", groups)),
		"links":    archive(t, symlink("etc", "/usr/etc"), symlink("usr/etc/passwd", "../share/passwd"), file("usr/share/passwd", accounts), symlink("etc/group", "/group"), file("group", groups)),
		"none":     archive(t),
		"dangling": archive(t, symlink("etc/passwd", "/no/where"), symlink("etc/group", "..")),
		"escape":   archive(t, symlink("etc/passwd", strings.Repeat("../", 20)+outside), symlink("etc/group", outside)),
		"loop":     archive(t, symlink("etc/passwd", "passwd")),
		"fifo":     archive(t, device('6', "etc/passwd", 0, 0)),
		"huge":     archive(t, file("etc/passwd", strings.Repeat("x:x:1:1::/:\n", 1<<19))),
	}
	type user struct {
		uid, gid uint32
		more     []uint32
	}
	tests := []struct {
		user, tar string
		want      user
		err       error
	}{
		{"", "plain", user{}, nil},
		{"web", "plain", user{33, 34, []uint32{50, 51}}, nil},
		{"web", "links", user{33, 34, []uint32{50, 51}}, nil},
		{"web:other", "plain", user{33, 60, nil}, nil},
		{"web:7", "plain", user{33, 7, nil}, nil},
		{"33", "plain", user{33, 34, nil}, nil},
		{"1000", "plain", user{1000, 0, nil}, nil},
		{"1000:1001", "none", user{1000, 1001, nil}, nil},
		{"1000:web", "plain", user{1000, 34, nil}, nil},
		{"", "none", user{}, nil},
		{"", "dangling", user{}, nil},
		{"web", "dangling", user{}, bundle.ErrInvalid},
		{"1", "escape", user{1, 0, nil}, nil},
		{"intruder", "escape", user{}, bundle.ErrInvalid},
		{"web", "loop", user{}, bundle.ErrInvalid},
		{"nobody-here", "plain", user{}, bundle.ErrInvalid},
		{"web:no-group", "plain", user{}, bundle.ErrInvalid},
		{"-1", "plain", user{}, bundle.ErrInvalid},
		{"99999999999", "plain", user{}, bundle.ErrInvalid},
		{"web", "fifo", user{}, bundle.ErrInvalid},
		{"web", "huge", user{}, bundle.ErrLimit},
	}
	for _, test := range tests {
		t.Run(test.user+" in "+test.tar, func(t *testing.T) {
			tar := tars[test.tar]
			spec, err := specOf(t, configOf(t, ocispec.ImageConfig{User: test.user}, tar), tar, bundle.Options{})
			if !errors.Is(err, test.err) {
				t.Fatalf("Create = %v, want %v", err, test.err)
			}
			if err != nil {
				return
			}
			got := spec.Process.User
			if got.UID != test.want.uid || got.GID != test.want.gid || !slices.Equal(got.AdditionalGids, test.want.more) {
				t.Errorf("process.user is %+v, want %+v", got, test.want)
			}
		})
	}
	t.Run("device", func(t *testing.T) {
		needRoot(t) // an ordinary user's devices are empty files
		tar := archive(t, device('3', "etc/passwd", 1, 5))
		_, err := specOf(t, configOf(t, ocispec.ImageConfig{User: "web"}, tar), tar, bundle.Options{})
		if !errors.Is(err, bundle.ErrInvalid) {
			t.Errorf("Create = %v, want %v", err, bundle.ErrInvalid)
		}
	})
}

func TestBadConfigurations(t *testing.T) {
	tar := archive(t)
	good := string(configOf(t, ocispec.ImageConfig{}, tar))
	rootfs := good[strings.Index(good, `"rootfs"`):]
	tests := []struct {
		name, config, says string
		err                error
	}{
		{"empty", "", "not JSON", bundle.ErrInvalid},
		{"not JSON", "<html>", "not JSON", bundle.ErrInvalid},
		{"cut", good[:len(good)-2], "not JSON", bundle.ErrInvalid},
		{"more after it", good + "{}", "not JSON", bundle.ErrInvalid},
		{"another kind of JSON", `["x"]`, "array", bundle.ErrInvalid},
		{"wrong type of a field", `{"config":{"Env":"x"},` + rootfs, "Env", bundle.ErrInvalid},
		{"deep", strings.Repeat(`{"config":`, 20_000) + strings.Repeat("}", 20_000), "depth", bundle.ErrInvalid},
		{"no rootfs", `{"os":"linux"}`, "rootfs.type", bundle.ErrInvalid},
		{"rootfs.type", strings.Replace(good, `"layers"`, `"planes"`, 1), "planes", bundle.ErrInvalid},
		{"diff_id not a digest", strings.Replace(good, "sha256:", "sha256!", 1), "diff_ids[0]", bundle.ErrInvalid},
		{"diff_id too short", strings.Replace(good, `"sha256:`, `"sha256:00","sha256:`, 1), "diff_ids[0]", bundle.ErrInvalid},
		{"diff_id of an unknown algorithm", strings.Replace(good, "sha256:", "md7:", 1), "diff_ids[0]", bundle.ErrInvalid},
		{"diff_id that is a path", strings.Replace(good, "sha256:", "../../sha256:", 1), "diff_ids[0]", bundle.ErrInvalid},
		{"other system", strings.Replace(good, `"linux"`, `"windows"`, 1), "windows", bundle.ErrInvalid},
		{"variable without a value", `{"config":{"Env":["X"]},` + rootfs, "NAME=VALUE", bundle.ErrInvalid},
		{"variable without a name", `{"config":{"Env":["=X"]},` + rootfs, "NAME=VALUE", bundle.ErrInvalid},
		{"NUL in an argument", `{"config":{"Cmd":["a\u0000b"]},` + rootfs, "NUL", bundle.ErrInvalid},
		{"NUL in the environment", `{"config":{"Env":["A=\u0000"]},` + rootfs, "NUL", bundle.ErrInvalid},
		{"huge", good + strings.Repeat(" ", bundle.MaxConfigSize), "8388608", bundle.ErrLimit},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := specOf(t, []byte(test.config), tar, bundle.Options{})
			if !errors.Is(err, test.err) || !strings.Contains(err.Error(), test.says) {
				t.Fatalf("Create = %v, want %v saying %q", err, test.err, test.says)
			}
			if line := err.Error(); strings.ContainsRune(line, '\n') || len(line) > 600 {
				t.Errorf("error is not one short line: %q", line)
			}
		})
	}
	if _, err := specOf(t, []byte(good), tar, bundle.Options{}); err != nil {
		t.Errorf("the configuration all others are made from: %v", err)
	}
}
