package abd_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/waybill-project/waybill/discovery"
	"github.com/waybill-project/waybill/discovery/abd"
	"github.com/waybill-project/waybill/discovery/target"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/resolve"
	"github.com/waybill-project/waybill/test/webhosts"
)

// vectors reads a file of spec/vectors/abd.
func vectors[T any](t *testing.T, file string) []T {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("../../spec/vectors/abd", file))
	if err != nil {
		t.Fatal(err)
	}
	var all []T
	if err := json.Unmarshal(content, &all); err != nil || len(all) == 0 {
		t.Fatalf("%s: %d vectors, %v", file, len(all), err)
	}
	return all
}

func parse(t *testing.T, s string) abd.Name {
	t.Helper()
	n, err := abd.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestNames(t *testing.T) {
	for _, v := range vectors[struct {
		Name, Identifier, Error string
		Labels                  map[string]string
	}](t, "names.json") {
		got, err := abd.Parse(v.Name)
		if v.Error != "" {
			if err == nil || !strings.Contains(err.Error(), v.Error) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q: got %+v, %v; want an error with %q", v.Name, got, err, v.Error)
			}
			continue
		}
		if err != nil || got.Identifier != v.Identifier || !maps.Equal(got.Labels, v.Labels) {
			t.Errorf("%q: got %+v, %v", v.Name, got, err)
		}
		if again := parse(t, got.String()); again.String() != got.String() || !maps.Equal(again.Labels, got.Labels) {
			t.Errorf("%q is written %q", v.Name, got)
		}
	}
	labels := "a.b"
	for i := range abd.MaxLabels + 1 {
		labels += fmt.Sprintf(",l%d=x", i)
	}
	for says, s := range map[string]string{
		"limit is 253":         strings.Repeat("x", 254),
		"limit is 16":          strings.Repeat("x.", 16) + "x",
		"longer than 1024":     "a.b,x=" + strings.Repeat("y", 1025),
		"more than 64 labels":  labels,
		"isn't printable text": "a.b,x=\xff",
	} {
		if _, err := abd.Parse(s); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
}

func TestPrefixes(t *testing.T) {
	for _, v := range vectors[struct {
		Prefix, Identifier string
		Matches            bool
	}](t, "prefixes.json") {
		if got := (abd.Config{Prefix: v.Prefix}).Matches(v.Identifier); got != v.Matches {
			t.Errorf("%s, %s: got %v", v.Prefix, v.Identifier, got)
		}
	}
}

func TestURLs(t *testing.T) {
	for _, v := range vectors[struct {
		Name string
		URLs []string
	}](t, "https-dns.json") {
		n := parse(t, v.Name)
		got := []string{}
		for _, host := range abd.Hosts(n.Identifier) {
			got = append(got, n.URL(host))
		}
		if !slices.Equal(got, v.URLs) {
			t.Errorf("%s: got %q, want %q", v.Name, got, v.URLs)
		}
	}
}

func TestConfigs(t *testing.T) {
	for _, v := range vectors[struct {
		Comment, Error string
		Files          map[string]string
		Order          map[string][]string
	}](t, "configs.json") {
		t.Run(v.Comment, func(t *testing.T) {
			dir := t.TempDir()
			for file, content := range v.Files {
				write(t, filepath.Join(dir, file), content)
			}
			configs, err := abd.ReadConfigs(dir)
			if v.Error != "" {
				if err == nil || !strings.Contains(err.Error(), v.Error) || !strings.Contains(err.Error(), dir) {
					t.Fatalf("got %v, want %q", err, v.Error)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			for identifier, want := range v.Order {
				var got []string
				for _, c := range configs {
					if c.Matches(identifier) {
						got = append(got, c.Strategy)
						if filepath.Dir(c.File) != dir {
							t.Errorf("%s is said to come from %q", c, c.File)
						}
					}
				}
				if !slices.Equal(got, want) {
					t.Errorf("%s: got %q, want %q", identifier, got, want)
				}
			}
		})
	}
}

func TestReadConfigsRefuses(t *testing.T) {
	if _, err := abd.ReadConfigs(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no directory: %v", err)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "1.conf"), strings.Repeat(" ", 64<<10+1))
	if _, err := abd.ReadConfigs(dir); err == nil || !strings.Contains(err.Error(), "larger than 65536") {
		t.Errorf("a large file: %v", err)
	}
	dir = t.TempDir()
	if err := syscall.Mkfifo(filepath.Join(dir, "1.conf"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := abd.ReadConfigs(dir); err == nil || !strings.Contains(err.Error(), "regular file") {
		t.Errorf("a FIFO: %v", err)
	}
	dir = t.TempDir()
	if err := os.Symlink("nowhere", filepath.Join(dir, "1.conf")); err != nil {
		t.Fatal(err)
	}
	if _, err := abd.ReadConfigs(dir); err == nil {
		t.Error("a dangling link is ignored")
	}
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(content), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// mirror is a target as the vectors write it.
type mirror struct{ Kind, URI string }

func mirrors(targets []target.Target) []mirror {
	var all []mirror
	for _, t := range targets {
		all = append(all, mirror{t.Kind.String(), t.URI})
	}
	return all
}

// collect runs a search to its end.
func collect(c *abd.Client, ctx context.Context, n abd.Name) (found []abd.Candidate, errs []error) {
	for candidate, err := range c.Discover(ctx, n) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		found = append(found, candidate)
	}
	return found, errs
}

func TestMetadata(t *testing.T) {
	for _, v := range vectors[struct {
		Comment, Name, Metadata, Error string
		Candidates                     [][]mirror
		Notes                          []string
	}](t, "metadata.json") {
		t.Run(v.Comment, func(t *testing.T) {
			n := parse(t, v.Name)
			uri := strings.TrimPrefix(n.URL("etcd.coreos.com"), "https://etcd.coreos.com")
			site := webhosts.Start(t, map[string]http.Handler{"etcd.coreos.com": webhosts.Files{uri: v.Metadata}})
			var told []string
			c := abd.New(abd.Options{Docs: site.Docs, Note: func(n discovery.Note) { told = append(told, n.Text) }})
			found, errs := collect(c, t.Context(), n)
			if v.Error != "" {
				if len(errs) != 1 || !strings.Contains(errs[0].Error(), v.Error) && !slices.ContainsFunc(told, func(s string) bool { return strings.Contains(s, v.Error) }) {
					t.Errorf("got %v, %q; want %q", errs, told, v.Error)
				}
			} else if len(errs) > 0 {
				t.Error(errs)
			}
			var got [][]mirror
			for _, candidate := range found {
				got = append(got, mirrors(candidate.Targets))
				if candidate.By.URI != "https://etcd.coreos.com/.well-known/abd-index/"+n.Identifier || candidate.By.Resolver != "abd" {
					t.Errorf("said by %+v", candidate.By)
				}
				for _, target := range candidate.Targets {
					if !target.Remote {
						t.Errorf("%+v isn't marked as remote", target)
					}
				}
			}
			if !slices.EqualFunc(got, v.Candidates, slices.Equal[[]mirror]) {
				t.Errorf("got %v, want %v", got, v.Candidates)
			}
			for _, want := range v.Notes {
				if !slices.ContainsFunc(told, func(s string) bool { return strings.Contains(s, want) }) {
					t.Errorf("nothing noted about %q: %q", want, told)
				}
			}
		})
	}
}

// The parent is asked when the host below it doesn't exist, answers that it
// knows nothing, or with nonsense; nobody is asked once one has answered.
func TestWalksUp(t *testing.T) {
	const path, answer = "/.well-known/abd-index/com.coreos.etcd", `[{"name":"com.coreos.etcd","mirrors":["docker://quay.io/coreos/etcd"]}]`
	parent := webhosts.Files{path: answer}
	for name, hosts := range map[string]map[string]http.Handler{
		"no such host": {"coreos.com": parent},
		"not found":    {"coreos.com": parent, "etcd.coreos.com": webhosts.Files{}},
		"nonsense":     {"coreos.com": parent, "etcd.coreos.com": webhosts.Files{path: "<html>"}},
	} {
		t.Run(name, func(t *testing.T) {
			found, errs := collect(abd.New(abd.Options{Docs: webhosts.Start(t, hosts).Docs}), t.Context(), parse(t, "com.coreos.etcd"))
			if len(found) != 1 || len(errs) != 0 || found[0].By.URI != "https://coreos.com"+path {
				t.Errorf("got %+v, %v", found, errs)
			}
		})
	}
	site := webhosts.Start(t, map[string]http.Handler{"coreos.com": parent, "etcd.coreos.com": webhosts.Files{path: "[]"}})
	found, errs := collect(abd.New(abd.Options{Docs: site.Docs}), t.Context(), parse(t, "com.coreos.etcd"))
	if len(found) != 0 || len(errs) != 1 || !errors.Is(errs[0], resolve.ErrNotFound) || len(site.Asked()) != 1 {
		t.Errorf("got %+v, %v after asking %q", found, errs, site.Asked())
	}
	site = webhosts.Start(t, map[string]http.Handler{"coreos.com": webhosts.Files{}, "etcd.coreos.com": webhosts.Files{}})
	if _, errs := collect(abd.New(abd.Options{Docs: site.Docs}), t.Context(), parse(t, "com.coreos.etcd")); len(errs) != 1 || !errors.Is(errs[0], resolve.ErrNotFound) {
		t.Errorf("nobody knows: %v", errs)
	}
}

// A strategy is asked when those before it weren't enough, and not before.
func TestStrategiesInOrder(t *testing.T) {
	const path = "/.well-known/abd-index/com.coreos.etcd"
	site := webhosts.Start(t, map[string]http.Handler{"coreos.com": webhosts.Files{
		path: `[{"name":"com.coreos.etcd","mirrors":["docker://quay.io/coreos/etcd"]}]`,
	}})
	storage := t.TempDir()
	write(t, filepath.Join(storage, "com.coreos.etcd"), "a tar")
	local := abd.Config{File: "10.conf", Prefix: "*", Strategy: abd.StrategyLocal, StoragePath: storage}
	other := abd.Config{File: "15.conf", Prefix: "com.oracle", Strategy: abd.StrategyNoop}
	program := abd.Config{File: "17.conf", Prefix: "com.coreos*", Strategy: "com.example.own"}
	web := abd.Config{File: "20.conf", Prefix: "com.coreos*", Strategy: abd.StrategyHTTPSDNS}
	block := abd.Config{File: "30.conf", Prefix: "*", Strategy: abd.StrategyNoop}
	c := abd.New(abd.Options{Docs: site.Docs, Configs: []abd.Config{local, other, program, web, block, web}})

	for candidate, err := range c.Discover(t.Context(), parse(t, "com.coreos.etcd")) {
		want := target.Target{Kind: target.Archive, URI: name.Name{Kind: name.OCIArchive, Path: filepath.Join(storage, "com.coreos.etcd")}.String()}
		if err != nil || len(candidate.Targets) != 1 || candidate.Targets[0] != want || candidate.Config != local {
			t.Errorf("got %+v, %v", candidate, err)
		}
		break
	}
	if asked := site.Asked(); len(asked) != 0 {
		t.Errorf("the web was asked all the same: %q", asked)
	}

	found, errs := collect(c, t.Context(), parse(t, "com.coreos.etcd"))
	if len(found) != 2 || found[1].Config != web {
		t.Errorf("found %+v", found)
	}
	if len(errs) != 2 || !strings.Contains(errs[0].Error(), "17.conf: unknown strategy") || !errors.Is(errs[1], abd.ErrBlocked) || !strings.Contains(errs[1].Error(), "30.conf") {
		t.Errorf("got %v", errs)
	}

	if _, errs := collect(c, t.Context(), parse(t, "com.oracle.db")); len(errs) != 2 || !errors.Is(errs[0], resolve.ErrNotFound) || !errors.Is(errs[1], abd.ErrBlocked) {
		t.Errorf("blocked: %v", errs)
	}
	if _, errs := collect(abd.New(abd.Options{Docs: site.Docs, Configs: []abd.Config{other}}), t.Context(), parse(t, "com.x")); len(errs) != 1 || !errors.Is(errs[0], resolve.ErrNotFound) {
		t.Errorf("no strategy: %v", errs)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, errs := collect(abd.New(abd.Options{Docs: site.Docs, Configs: []abd.Config{web, block}}), ctx, parse(t, "com.coreos.fleet")); len(errs) != 1 || !errors.Is(errs[0], context.Canceled) {
		t.Errorf("given up: %v", errs)
	}
}

func TestLocal(t *testing.T) {
	storage := t.TempDir()
	write(t, filepath.Join(storage, "com.example.tar"), "a tar")
	write(t, filepath.Join(storage, "com.example.layout", "oci-layout"), "{}")
	if err := os.Mkdir(filepath.Join(storage, "com.example.empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	c := abd.New(abd.Options{Configs: []abd.Config{{Prefix: "*", Strategy: abd.StrategyLocal, StoragePath: storage}}})
	for identifier, want := range map[string]string{
		"com.example.tar,os=linux": "archive",
		"com.example.layout":       "layout",
		"com.example.empty":        "",
		"com.example.none":         "",
	} {
		found, errs := collect(c, t.Context(), parse(t, identifier))
		if want == "" {
			if len(errs) != 1 || errors.Is(errs[0], resolve.ErrNotFound) != strings.HasSuffix(identifier, "none") {
				t.Errorf("%s: %v", identifier, errs)
			}
			continue
		}
		if len(found) != 1 || len(errs) != 0 || found[0].Targets[0].Kind.String() != want || found[0].Targets[0].Remote {
			t.Errorf("%s: %+v, %v", identifier, found, errs)
			continue
		}
		if n, err := name.Parse(found[0].Targets[0].URI); err != nil || filepath.Dir(n.Path) != storage {
			t.Errorf("%s: %q is %+v, %v", identifier, found[0].Targets[0].URI, n, err)
		}
	}
}

func TestNFS(t *testing.T) {
	share := t.TempDir()
	write(t, filepath.Join(share, "etcd.tar"), "a tar")
	write(t, filepath.Join(share, "etcd", "oci-layout"), "{}")
	if err := os.Symlink("/etc", filepath.Join(share, "etc")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(share, "abd-index", "com.coreos.etcd"), `[{"name":"com.coreos.etcd","mirrors":[
		"../etcd.tar", "nfs://`+share+`/etcd", "docker://quay.io/coreos/etcd:1",
		"../../secret.tar", "nfs:///etc/passwd", "nfs://server`+share+`/etcd.tar", "../etc/passwd", "file:///etc/passwd", "../none.tar", "oci:/etc"]}]`)
	write(t, filepath.Join(share, "abd-index", "com.coreos.bad"), `<html>`)
	if err := os.Symlink("/etc/passwd", filepath.Join(share, "abd-index", "com.coreos.link")); err != nil {
		t.Fatal(err)
	}
	var told []string
	c := abd.New(abd.Options{
		Configs: []abd.Config{{Prefix: "com.coreos*", Strategy: abd.StrategyNFS, FetchURI: "nfs://" + share}},
		Note:    func(n discovery.Note) { told = append(told, n.Text) },
	})
	found, errs := collect(c, t.Context(), parse(t, "com.coreos.etcd"))
	if len(found) != 1 || len(errs) != 0 {
		t.Fatalf("got %+v, %v", found, errs)
	}
	want := []target.Target{
		{Kind: target.Archive, URI: name.Name{Kind: name.OCIArchive, Path: filepath.Join(share, "etcd.tar")}.String()},
		{Kind: target.Layout, URI: name.Name{Kind: name.Layout, Path: filepath.Join(share, "etcd")}.String()},
		{Kind: target.Registry, URI: "docker://quay.io/coreos/etcd:1", Remote: true},
	}
	if !slices.Equal(found[0].Targets, want) {
		t.Errorf("got %+v, want %+v", found[0].Targets, want)
	}
	if refused := strings.Join(told, "\n"); strings.Count(refused, "not used") != 7 || strings.Count(refused, "not below") != 3 {
		t.Errorf("told %s", refused)
	}
	for identifier, notFound := range map[string]bool{"com.coreos.none": true, "com.coreos.bad": false, "com.coreos.link": false} {
		if _, errs := collect(c, t.Context(), parse(t, identifier)); len(errs) != 1 || errors.Is(errs[0], resolve.ErrNotFound) != notFound {
			t.Errorf("%s: %v", identifier, errs)
		}
	}
}

func TestMetadataLimits(t *testing.T) {
	many := func(n int, s string) string { return strings.TrimSuffix(strings.Repeat(s+",", n), ",") }
	for says, content := range map[string]string{
		"limit is 4194304": strings.Repeat(" ", abd.MaxMetadata+1),
		"limit is 1000":    "[" + many(1001, "0") + "]",
		"isn't JSON":       strings.Repeat("[", 1_000_000),
		"neither":          `{"metadata":{"metadata":{"metadata":{"metadata":[]}}}}`,
	} {
		if _, err := abd.ParseMetadata([]byte(content), func(string) {}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
	var told []string
	if _, err := abd.ParseMetadata([]byte("["+many(1000, "0")+"]"), func(s string) { told = append(told, s) }); err != nil || len(told) != abd.MaxNotes {
		t.Errorf("told %d times, %v", len(told), err)
	}
	told = nil
	entries, err := abd.ParseMetadata([]byte(`[{"name":"a.b","mirrors":[`+many(101, `"x"`)+`]}]`), func(s string) { told = append(told, s) })
	if len(entries) != 0 || err != nil || len(told) != 1 || !strings.Contains(told[0], "limit is 100") {
		t.Errorf("got %v, %v, %q", entries, err, told)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("com.coreos.etcd,os=linux,arch=amd64")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := abd.Parse(s)
		if err != nil {
			return
		}
		again, err := abd.Parse(n.String())
		if err != nil || again.String() != n.String() || !maps.Equal(again.Labels, n.Labels) {
			t.Errorf("%q is %+v, written %q: %v", s, n, n, err)
		}
		for _, host := range abd.Hosts(n.Identifier) {
			if strings.ContainsAny(host, "/:@?#_") || !strings.Contains(host, ".") {
				t.Errorf("%q asks %q", s, host)
			}
		}
	})
}

func FuzzParseMetadata(f *testing.F) {
	f.Add([]byte(`{"metadata":{"io.abd.metadata":[{"name":"a.b","labels":{"x":"y"},"mirrors":["z"]},7]}}`))
	f.Add([]byte(`{"name":"a"}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		entries, err := abd.ParseMetadata(content, func(string) {})
		if err != nil && len(entries) > 0 {
			t.Errorf("%q gives %v beside %v", content, entries, err)
		}
		for _, e := range entries {
			if _, err := abd.Parse(e.Name); err != nil {
				t.Errorf("%q has an entry for %q", content, e.Name)
			}
		}
	})
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"prefix":"*","strategy":"io.abd.local","storage-path":"/var/abd"}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		c, err := abd.ParseConfig(content)
		if err == nil && (c.Prefix == "" || c.Strategy == "") {
			t.Errorf("%q is %+v", content, c)
		}
	})
}
