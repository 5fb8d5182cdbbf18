//go:build linux

package bundle

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var timeOfCanary = time.Unix(1000, 0)

// FuzzUnpack unpacks two layers of arbitrary bytes and looks at what lies around
// the rootfs. It is at its best with -fuzzminimizetime=1x: what it does to the
// file system is slow, and shrinking an input does it over and over.
func FuzzUnpack(f *testing.F) {
	layer := func(hdrs ...tar.Header) []byte {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range hdrs {
			h.Mode = 0o755
			if err := w.WriteHeader(&h); err != nil {
				f.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			f.Fatal(err)
		}
		return b.Bytes()
	}
	f.Add(layer(tar.Header{Typeflag: tar.TypeSymlink, Name: "l", Linkname: "../.."}, tar.Header{Name: "l/canary"}), layer(tar.Header{Name: "l/.wh.canary"}))
	f.Add(layer(tar.Header{Typeflag: tar.TypeDir, Name: "d/"}, tar.Header{Name: "d/f"}), layer(tar.Header{Typeflag: tar.TypeSymlink, Name: "d", Linkname: "/.."}, tar.Header{Name: "d/canary"}))
	f.Add(layer(tar.Header{Typeflag: tar.TypeSymlink, Name: "a", Linkname: "../../canary"}), layer(tar.Header{Typeflag: tar.TypeLink, Name: "b", Linkname: "a"}, tar.Header{Name: "b"}))
	f.Add(layer(tar.Header{Typeflag: tar.TypeDir, Name: "d/e/"}, tar.Header{Typeflag: tar.TypeLink, Name: "d", Linkname: "d/e"}), layer(tar.Header{Name: "../.wh.canary"}, tar.Header{Name: "d/.wh..wh..opq"}))

	f.Fuzz(func(t *testing.T, lower, upper []byte) {
		work := t.TempDir()
		canary := filepath.Join(work, "canary")
		if err := os.WriteFile(canary, []byte("untouched"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(canary, timeOfCanary, timeOfCanary); err != nil {
			t.Fatal(err)
		}
		rootfs := filepath.Join(work, "b", "rootfs")
		if err := os.MkdirAll(rootfs, 0o755); err != nil {
			t.Fatal(err)
		}
		unpackBoth(t, rootfs, lower, upper)
		for dir, want := range map[string]string{work: "b canary", filepath.Dir(rootfs): "rootfs"} {
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, e := range entries {
				names = append(names, e.Name())
			}
			if got := strings.Join(names, " "); got != want {
				t.Errorf("there is %q around the rootfs, want %q", got, want)
			}
		}
		info, serr := os.Lstat(canary)
		if serr != nil || !info.Mode().IsRegular() || info.Mode().Perm() != 0o600 || !info.ModTime().Equal(timeOfCanary) {
			t.Errorf("canary changed: %v %v", info, serr)
		}
		if b, err := os.ReadFile(canary); string(b) != "untouched" {
			t.Errorf("canary says %q (%v)", b, err)
		}
	})
}

// unpackBoth applies two archives as an ordinary user's layers, for a device
// made by root out of random bytes is better not made. It goes by the extractor
// alone: what the fuzzer sees must not depend on how goroutines take turns.
func unpackBoth(t *testing.T, rootfs string, archives ...[]byte) {
	opts := Options{MaxBytes: 1 << 20, MaxEntries: 1000, Rootless: true}.withDefaults()
	x, err := newExtractor(rootfs, opts, make([]byte, chunkSize))
	if err != nil {
		t.Fatal(err)
	}
	for i, b := range archives {
		x.startLayer(i)
		if err := x.apply(t.Context(), tar.NewReader(bytes.NewReader(b))); err != nil {
			break // as most such archives end
		}
	}
	x.finish()
	if err := x.close(); err != nil {
		t.Fatal(err)
	}
}

// FuzzConfig reads arbitrary image configurations. What is accepted must make a
// config.json that reads back.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"os":"linux","rootfs":{"type":"layers"},"config":{"User":"a:b","Env":["A=b"],"Cmd":["x"],"Volumes":{"/v":{}},"WorkingDir":"w","Labels":{"a":"b"}}}`))
	f.Add([]byte(`{"created":"2020-01-01T00:00:00Z","rootfs":{"type":"layers","diff_ids":["sha256:x"]}}`))
	rootfs := f.TempDir()
	f.Fuzz(func(t *testing.T, raw []byte) {
		conf, err := parseConfig(raw)
		if err != nil {
			return
		}
		b, err := runtimeSpec(conf, rootfs, Options{}.withDefaults())
		if err != nil {
			return
		}
		var back struct {
			Process struct {
				Args []string
				Cwd  string
			}
		}
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		if len(back.Process.Args) == 0 || !filepath.IsAbs(back.Process.Cwd) {
			t.Errorf("process can't be started: %+v", back.Process)
		}
	})
}
