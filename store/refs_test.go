package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// refNames are names of every shape, and some that are near each other.
var refNames = []string{
	"alpine", "alpine:", "alpine:3", "alpine:3.0", "Alpine:3", "alpine:3:4", "alpine:@3", "alpine@", "alpine::", "alpine:V3",
	"docker.io/library/alpine:3",
	"docker.io/library/alpine",
	"docker.io/library/alpine/3",
	"docker.io/library/alpine/3.json",
	"docker.io/library/alpine/3.json:3",
	"docker.io/library/alpine/3:json",
	"docker.io/library/alpine@" + digest.FromString("x").String(),
	"docker.io/library/alpine:3@" + digest.FromString("x").String(),
	"localhost:5000/a", "localhost:5000/a:b", "localhost:5000", "[::1]:5000/a:b",
	"oci:/some/dir:tag", "oci:/some/dir", "oci:../dir", "oci:..", "oci:.", "oci-archive:/tmp/Übung 1.tar:ß",
	"https://example.com/a?b=c&d=e#f", "docker://host/a:b",
	".", "..", "/", "//", "a//b", "a/./b", "a/../b", "../../../etc/passwd", "a/", "/a", "a/..", "a/.json", ".json", "x.json/y",
	"%", "%%", "%2e", "a%2fb", "%-", "a%-", "%/%", "con", "aux:nul", "a\\b", "a b", "日本語:タグ", "e\u0301", "\u00e9",
	strings.Repeat("a", 200), strings.Repeat("a", 201), strings.Repeat("a", 300), strings.Repeat("a", 1024),
	strings.Repeat("A", 1024), strings.Repeat("/", 1024), strings.Repeat(":", 1024), strings.Repeat("日", 341),
	strings.Repeat("a", 200) + ".", strings.Repeat("a", 200) + "..", strings.Repeat("a", 200) + "../b", strings.Repeat("a", 199) + ".json/x",
	strings.Repeat("a", 195) + ".jsonx/y", strings.Repeat("a", 195), "x:" + strings.Repeat("b", 300), "x:" + strings.Repeat("b", 200) + "..",
	strings.Repeat("a", 200) + "/%-b", "x@" + strings.Repeat("b/", 200), strings.Repeat("a", 400) + ":" + strings.Repeat("b", 600),
}

// checkRefPath checks that a path is safe everywhere, and says which name it is.
func checkRefPath(t *testing.T, name, path string) {
	t.Helper()
	if got, ok := refName(path); !ok || got != name {
		t.Errorf("%.80q became %.80q, which became %.80q, %v", name, path, got, ok)
	}
	if len(path) > 3500 || !strings.HasSuffix(path, ".json") || filepath.Clean(path) != path {
		t.Errorf("%.80q became %.80q of %d bytes", name, path, len(path))
	}
	elements := strings.Split(path, "/")
	for i, e := range elements {
		if e == "" || e[0] == '.' || len(e) > 255 || e != strings.ToLower(e) || i < len(elements)-1 && strings.HasSuffix(e, ".json") {
			t.Errorf("%.80q became %.80q with the element %q", name, path, e)
		}
		if i := strings.IndexFunc(e, func(r rune) bool { return r <= ' ' || r >= 127 || strings.ContainsRune(`\:*?"<>|`, r) }); i >= 0 {
			t.Errorf("%.80q became %.80q with %q", name, path, e[i])
		}
	}
}

func TestRefPaths(t *testing.T) {
	for name, want := range map[string]string{
		"docker.io/library/alpine:3":  "docker.io/library/alpine/3.json",
		"docker.io/library/alpine":    "docker.io/library/alpine/%.json",
		"localhost:5000/Team/app:V1":  "localhost%3a5000/%54eam/app/%561.json",
		"oci:/some/dir:tag":           "oci%3a/some/dir/tag.json",
		"../../etc/passwd":            "%2e./%2e./etc/passwd/%.json",
		"alpine@sha256:abc":           "alpine/%40sha256%3aabc.json",
		strings.Repeat("a", 201):      strings.Repeat("a", 200) + "%-/%-a/%.json",
		"a//b":                        "a/%/b/%.json",
		"registry.example/x.json:1.0": "registry.example/x%2ejson/1.0.json",
	} {
		if got := refPath(name); got != want {
			t.Errorf("%q became %q, want %q", name, got, want)
		}
	}
	seen := make(map[string]string)
	for _, name := range refNames {
		path := refPath(name)
		checkRefPath(t, name, path)
		if other, ok := seen[path]; ok {
			t.Errorf("%q and %q both became %q", name, other, path)
		}
		seen[path] = name
	}
}

func FuzzRefName(f *testing.F) {
	for _, name := range refNames {
		f.Add(name, refPath(name))
	}
	f.Fuzz(func(t *testing.T, name, path string) {
		if checkRefName(name) == nil {
			checkRefPath(t, name, refPath(name))
		}
		// And no two paths are one name.
		if name, ok := refName(path); ok && refPath(name) != path {
			t.Errorf("%q was taken for %q, whose path is %q", path, name, refPath(name))
		}
	})
}

func TestRefs(t *testing.T) {
	s := openStore(t, t.TempDir())
	when := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	want := make(map[string]Ref)
	for n, name := range refNames {
		ref := Ref{Name: name, Descriptor: descriptorOf(ocispec.MediaTypeImageManifest, fmt.Append(nil, n)), ResolvedBy: "a registry", Time: when}
		want[name] = ref
		if err := s.PutRef(ref); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range want {
		if got, err := s.Ref(name); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("Ref(%.80q): %+v, %v", name, got, err)
		}
	}
	var names []string
	for ref, err := range s.Refs() {
		if err != nil || !reflect.DeepEqual(ref, want[ref.Name]) {
			t.Errorf("Refs: %+v, %v", ref, err)
		}
		names = append(names, ref.Name)
	}
	if !slices.IsSorted(names) || len(names) != len(refNames) {
		t.Errorf("Refs: %d names of %d, sorted %v", len(names), len(refNames), slices.IsSorted(names))
	}
	for _, name := range refNames {
		if err := s.RemoveRef(name); err != nil {
			t.Error(err)
		}
		if err := s.RemoveRef(name); !errors.Is(err, ErrNotFound) {
			t.Errorf("RemoveRef(%.80q) again: %v", name, err)
		}
		if _, err := s.Ref(name); !errors.Is(err, ErrNotFound) {
			t.Errorf("Ref(%.80q) after RemoveRef: %v", name, err)
		}
	}
	checkNoRefs(t, s)
}

// checkNoRefs checks that after gc nothing is below refs/.
func checkNoRefs(t *testing.T, s *Store) {
	t.Helper()
	if _, err := s.GC(t.Context(), GCOptions{Children: imageChildren}); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(s.path(refsDir)); err != nil || len(left) > 0 {
		t.Errorf("left in refs: %v, %v", left, err)
	}
}

func TestPutRefReplaces(t *testing.T) {
	s := openStore(t, t.TempDir())
	for n := range 3 {
		ref := Ref{Name: "a:b", Descriptor: descriptorOf("x/y", fmt.Append(nil, n))}
		noError(t, s.PutRef(ref))
		if got, err := s.Ref("a:b"); err != nil || got.Descriptor.Digest != ref.Descriptor.Digest {
			t.Errorf("Ref: %+v, %v", got, err)
		}
	}
}

func TestRefRefuses(t *testing.T) {
	good := descriptorOf("x/y", nil)
	negative := good
	negative.Size = -1
	large := good
	large.Data = make([]byte, maxRef)
	tests := []struct {
		name string
		ref  Ref
		want string
	}{
		{"no name", Ref{Descriptor: good}, "name is empty"},
		{"a long name", Ref{Name: strings.Repeat("a", 1025), Descriptor: good}, "more than 1024 bytes"},
		{"no text", Ref{Name: "a\xff", Descriptor: good}, "not UTF-8"},
		{"a line feed", Ref{Name: "a\nb", Descriptor: good}, "control characters"},
		{"NUL", Ref{Name: "a\x00b", Descriptor: good}, "control characters"},
		{"an escape", Ref{Name: "a\x1b[2Jb", Descriptor: good}, "control characters"},
		{"no digest", Ref{Name: "a"}, `digest ""`},
		{"a negative size", Ref{Name: "a", Descriptor: negative}, "size -1 is negative"},
		{"a large descriptor", Ref{Name: "a", Descriptor: large}, "more than the limit of 1048576"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := openStore(t, t.TempDir())
			checkError(t, s.PutRef(tt.ref), tt.want)
			for ref, err := range s.Refs() {
				t.Errorf("left %+v, %v", ref, err)
			}
		})
	}
}

func TestDamagedRefs(t *testing.T) {
	good := fmt.Sprintf(`{"name":"a:b","descriptor":{"mediaType":"x/y","digest":%q,"size":1},"resolvedBy":"","time":"2026-01-02T03:04:05Z"}`, digest.FromString("x"))
	tests := []struct {
		name, path, content, want string
	}{
		{"not JSON", "a/b.json", "hello", "invalid character"},
		{"empty", "a/b.json", "", "unexpected end of JSON"},
		{"cut", "a/b.json", good[:len(good)-2], "unexpected end of JSON"},
		{"another name", "a/c.json", good, `says it is "a:b"`},
		{"no digest", "a/b.json", `{"name":"a:b"}`, `digest ""`},
		{"a digest with a path", "a/b.json", strings.Replace(good, "sha256:", "sha256:../", 1), "digest "},
		{"endless", "a/b.json", good + strings.Repeat(" ", maxRef), "more than the limit of 1048576"},
		{"a name of ours nowhere", "README", "", "doesn't belong"},
		{"an upper-case name", "A/b.json", good, "doesn't belong"},
		{"a lone file", "b.json", good, "doesn't belong"},
		{"hidden", "a/.b.json", good, "doesn't belong"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := openStore(t, t.TempDir())
			content := put(t, s, []byte("content"))
			path := s.path(refsDir, tt.path)
			noError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			noError(t, os.WriteFile(path, []byte(tt.content), 0o644))
			noError(t, s.PutRef(Ref{Name: "z", Descriptor: descriptorOf("x/y", []byte("content"))}))
			var failed, fine int
			for ref, err := range s.Refs() {
				if err == nil && ref.Name == "z" {
					fine++
					continue
				}
				failed++
				checkError(t, err, tt.want)
				checkError(t, err, path)
				if !errors.Is(err, ErrCorrupt) {
					t.Errorf("%v is not ErrCorrupt", err)
				}
			}
			if failed != 1 || fine != 1 {
				t.Errorf("%d failed and %d fine, want 1 and 1", failed, fine)
			}
			// gc can't know what this ref keeps.
			noError(t, s.RemoveRef("z"))
			_, err := s.GC(t.Context(), GCOptions{Children: imageChildren})
			checkError(t, err, "nothing removed")
			if _, err := s.Stat(content); err != nil {
				t.Error(err)
			}
		})
	}
}

// Refs come and go while gc removes their directories: nobody fails.
func TestRefsComeAndGo(t *testing.T) {
	s := openStore(t, t.TempDir())
	noChildren := func(ocispec.Descriptor, []byte) ([]ocispec.Descriptor, error) { return nil, nil }
	content := []byte("content")
	lease, err := s.Lease("x")
	noError(t, err)
	noError(t, lease.Hold(put(t, s, content)))
	var wg, collector sync.WaitGroup
	stop := make(chan struct{})
	collector.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := s.GC(t.Context(), GCOptions{Children: noChildren}); err != nil {
				t.Error(err)
			}
		}
	})
	for n := range 4 {
		wg.Go(func() {
			ref := Ref{Name: fmt.Sprintf("a/b/c:%d", n), Descriptor: descriptorOf("x/y", content)}
			for range 50 {
				if err := s.PutRef(ref); err != nil {
					t.Error(err)
				}
				if err := s.RemoveRef(ref.Name); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	collector.Wait()
	checkNoRefs(t, s)
}

func FuzzParseRef(f *testing.F) {
	f.Add([]byte(`{"name":"a","descriptor":{"mediaType":"x/y","digest":"` + digest.FromString("x").String() + `","size":1},"time":"2026-01-02T03:04:05Z"}`))
	f.Add([]byte(`{"name":"a","descriptor":{"digest":"sha256:../../x","size":-1}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		ref, err := parseRef(b)
		if err != nil {
			return
		}
		if _, _, err := checkDigest(ref.Descriptor.Digest); err != nil || checkRefName(ref.Name) != nil || ref.Descriptor.Size < 0 {
			t.Errorf("%q was taken for %+v", b, ref)
		}
	})
}
