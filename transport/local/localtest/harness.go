package localtest

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/transport"
)

// Harness returns what the conformance suite needs to test a transport of files
// on this machine. put makes a blob available and returns its route and the
// file it is in.
func Harness(tr transport.Transport, put func(t testing.TB, b transporttest.Blob) (transport.Route, string)) transporttest.Harness {
	type fault = func(testing.TB, transporttest.Blob) transport.Route
	h := transporttest.Harness{
		Transport: tr,
		Put: func(t testing.TB, b transporttest.Blob) transport.Route {
			route, _ := put(t, b)
			return route
		},
		Faults: map[transporttest.Fault]fault{
			transporttest.Temporary: func(t testing.TB, b transporttest.Blob) transport.Route {
				route, _ := put(t, b)
				noDescriptors(t)
				return route
			},
			transporttest.Permanent: func(t testing.TB, b transporttest.Blob) transport.Route {
				route, file := put(t, b)
				becomeDirectory(t, file)
				return route
			},
		},
		Impossible: map[transporttest.Fault]string{
			transporttest.Throttled: "nobody is asked",
			transporttest.ShortBody: "Open knows a file's size; what becomes shorter later is tested in package local",
		},
	}
	if os.Getuid() == 0 {
		h.Impossible[transporttest.Denied] = "the tests run as root, who may read every file"
	} else {
		h.Faults[transporttest.Denied] = func(t testing.TB, b transporttest.Blob) transport.Route {
			route, file := put(t, b)
			if err := os.Chmod(file, 0); err != nil {
				t.Fatal(err)
			}
			return route
		}
	}
	return h
}

// PutFile writes a blob to DIR/ALGORITHM/HEX and returns that path.
func PutFile(t testing.TB, dir string, b transporttest.Blob) string {
	t.Helper()
	file := filepath.Join(dir, b.Digest.Algorithm().String(), b.Digest.Encoded())
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	b.WriteFile(t, file)
	return file
}

// noDescriptors makes every further open of a file fail until the end of t.
func noDescriptors(t testing.TB) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	none := syscall.Rlimit{Cur: 0, Max: limit.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	})
}

func becomeDirectory(t testing.TB, file string) {
	t.Helper()
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(file, 0o755); err != nil {
		t.Fatal(err)
	}
}
