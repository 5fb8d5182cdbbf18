package oci

import (
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/transport/netclass"
	"github.com/waybill-project/waybill/uritmpl"
)

// readVectors reads a file of spec/vectors/oci-discovery.
func readVectors(t testing.TB, file string, into any) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "spec", "vectors", "oci-discovery", file))
	if err != nil {
		t.Fatal(err)
	}
	dec := json.NewDecoder(strings.NewReader(string(content)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// vector is what all vectors have.
type vector struct {
	What      string `json:"what"`
	Published bool   `json:"published"`
	Error     string `json:"error"` // what the error says
}

// check reports whether there has to be an error, and whether it is that one.
func (v vector) check(t *testing.T, err error) (failed bool) {
	t.Helper()
	if v.Error == "" && err != nil || v.Error != "" && (err == nil || !strings.Contains(err.Error(), v.Error)) {
		t.Fatalf("got %v; want an error with %q", err, v.Error)
	}
	if err != nil && (strings.Contains(err.Error(), "\n") || len(err.Error()) > 400) {
		t.Errorf("not one short line: %v", err)
	}
	return err != nil
}

// mustParse reads a name that is known to be right.
func mustParse(t testing.TB, s string) Name {
	t.Helper()
	n, err := Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func mustURL(t testing.TB, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestNameVectors(t *testing.T) {
	var vectors []struct {
		vector
		Name, Host, Path, Fragment string
	}
	readVectors(t, "names.json", &vectors)
	for _, v := range vectors {
		t.Run(clip(v.Name), func(t *testing.T) {
			n, err := Parse(v.Name)
			if v.check(t, err) {
				if !errors.As(err, new(*name.Error)) || n != (Name{}) {
					t.Errorf("got %+v, %T", n, err)
				}
				return
			}
			if n != (Name{v.Host, v.Path, v.Fragment}) || n.String() != v.Name {
				t.Errorf("got %+v, written %q", n, n)
			}
		})
	}
}

func TestHostVectors(t *testing.T) {
	var vectors []struct {
		vector
		Host string
		Ask  []string
	}
	readVectors(t, "hosts.json", &vectors)
	for _, v := range vectors {
		t.Run(v.Host, func(t *testing.T) {
			ask, left := hosts(v.Host)
			if !slices.Equal(ask, v.Ask) || (left != "") != (len(v.Ask) == 0) {
				t.Errorf("got %q, %q; want %q", ask, left, v.Ask)
			}
		})
	}
}

func templates(list []entry) []string {
	all := []string{}
	for _, e := range list {
		all = append(all, e.template)
	}
	return all
}

// checkNotes checks that each note has, in order, what it is to have.
func checkNotes(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("notes %q; want %q", got, want)
	}
	for i := range got {
		if !strings.Contains(got[i], want[i]) || strings.Contains(got[i], "\n") || len(got[i]) > 300 {
			t.Errorf("note %q; want one line with %q", got[i], want[i])
		}
	}
}

func TestRefEnginesVectors(t *testing.T) {
	var vectors []struct {
		vector
		Document               string
		RefEngines, CASEngines []string
		Notes                  []string
	}
	readVectors(t, "ref-engines.json", &vectors)
	for _, v := range vectors {
		t.Run(v.What, func(t *testing.T) {
			var notes []string
			doc, err := parseRefEngines([]byte(v.Document), func(text string) { notes = append(notes, text) })
			if v.check(t, err) {
				return
			}
			if got := templates(doc.refs); !slices.Equal(got, v.RefEngines) {
				t.Errorf("ref engines %q; want %q", got, v.RefEngines)
			}
			if got := templates(doc.cas); !slices.Equal(got, v.CASEngines) {
				t.Errorf("CAS engines %q; want %q", got, v.CASEngines)
			}
			checkNotes(t, notes, v.Notes)
		})
	}
}

func TestRegexpVectors(t *testing.T) {
	var vectors []struct {
		vector
		Document, Name  string
		Matching, Notes []string
	}
	readVectors(t, "regexp-ref-engines.json", &vectors)
	for _, v := range vectors {
		t.Run(v.What, func(t *testing.T) {
			keys, err := parseRegexps([]byte(v.Document))
			if v.check(t, err) {
				return
			}
			var refused []string
			got := match(keys, v.Name, func(key, _ string) { refused = append(refused, key) })
			if !slices.Equal(got, v.Matching) {
				t.Errorf("matching %q; want %q", got, v.Matching)
			}
			slices.Sort(refused)
			slices.Sort(v.Notes)
			if len(refused) != len(v.Notes) {
				t.Fatalf("refused %q; want %q", refused, v.Notes)
			}
			for i, key := range refused {
				if !strings.HasPrefix(key, v.Notes[i]) {
					t.Errorf("refused %q; want %q", key, v.Notes[i])
				}
			}
		})
	}
}

// templateVector is what a template leads to: nothing where URL is null.
type templateVector struct {
	vector
	Template, Base, Name, Digest string
	URL                          *string
}

func (v templateVector) checkURL(t *testing.T, got string, err error) {
	t.Helper()
	switch {
	case v.URL == nil && err == nil:
		t.Errorf("it leads to %q; it should be refused", got)
	case v.URL != nil && (err != nil || got != *v.URL):
		t.Errorf("got %q, %v; want %q", got, err, *v.URL)
	case err != nil && strings.Contains(err.Error(), "secret"):
		t.Errorf("the error shows a password: %v", err)
	}
}

func TestIndexTemplateVectors(t *testing.T) {
	var vectors []templateVector
	readVectors(t, "index-templates.json", &vectors)
	for _, v := range vectors {
		t.Run(v.Template+" of "+v.Name, func(t *testing.T) {
			base := mustURL(t, v.Base)
			s := &search{name: mustParse(t, v.Name)}
			u, err := s.target(group{like: Engine{Base: base, Remote: base.Scheme != "file"}}, entry{template: v.Template})
			got := ""
			if err == nil {
				got = u.String()
			}
			v.checkURL(t, got, err)
		})
	}
}

func TestCASTemplateVectors(t *testing.T) {
	var vectors []templateVector
	readVectors(t, "cas-templates.json", &vectors)
	for _, v := range vectors {
		t.Run(v.Template+" of "+v.Digest, func(t *testing.T) {
			e := Engine{Protocol: ProtocolCASTemplate, Template: v.Template, Base: mustURL(t, v.Base), Name: mustParse(t, v.Name), From: "doc", Remote: true}
			got := ""
			l, err := e.Locator("me")
			if err == nil {
				n := 0
				for route, e := range l.Locate(t.Context(), ocispec.Descriptor{Digest: digest.Digest(v.Digest), Size: 1}) {
					got, err = route.URI, e
					if n++; n > 1 || err == nil && (route.Origin != "me" || route.Source == "") {
						t.Errorf("route %d is %+v", n, route)
					}
				}
			}
			v.checkURL(t, got, err)
		})
	}
}

func TestIndexVectors(t *testing.T) {
	type found struct {
		Digest     digest.Digest
		CASEngines []string
	}
	var vectors []struct {
		vector
		Index, Name string
		Found       []found
	}
	readVectors(t, "indexes.json", &vectors)
	for _, v := range vectors {
		t.Run(v.What, func(t *testing.T) {
			n := mustParse(t, v.Name)
			x, err := parseIndex("application/octet-stream", []byte(v.Index), n.isCalled, func(string) {})
			if v.check(t, err) {
				return
			}
			set := engineSet{}
			like := Engine{Base: mustURL(t, "https://example.com/index"), Name: n, Remote: true}
			public := func(*url.URL) netclass.Class { return netclass.Public }
			var got []found
			for i, desc := range x.manifests {
				if !n.isCalled(desc) {
					continue
				}
				f := found{desc.Digest, []string{}}
				engines := set.add(nil, x.on[i], like, public, func(string) {})
				for _, e := range set.add(engines, x.cas, like, public, func(string) {}) {
					f.CASEngines = append(f.CASEngines, e.Template)
				}
				got = append(got, f)
			}
			if !slices.EqualFunc(got, v.Found, func(a, b found) bool {
				return a.Digest == b.Digest && slices.Equal(a.CASEngines, b.CASEngines)
			}) {
				t.Errorf("got %v; want %v", got, v.Found)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"example.com/a/b#c", "[::1]/a", "h/a?b", "h/%zz", "a..b/c", "[/x", "-/#"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := Parse(s)
		if err != nil {
			return
		}
		again, err := Parse(n.String())
		if err != nil || again != n {
			t.Errorf("%q is %+v, and read again %+v, %v", s, n, again, err)
		}
		ask, _ := hosts(n.Host)
		for _, h := range ask {
			if u, err := url.Parse("https://" + h + WellKnown); err != nil || u.Host != h || u.Path != WellKnown {
				t.Errorf("host %q of %q makes %v, %v", h, s, u, err)
			}
		}
	})
}

func FuzzParseRefEngines(f *testing.F) {
	f.Add([]byte(`{"refEngines":[{"protocol":"oci-index-template-v1","uri":"/{path}"}],"casEngines":[{"protocol":"oci-cas-template-v1","uri":"/{digest}"},3]}`))
	f.Add([]byte(`{"refEngines":[[{"a":1}],{"uri":{}}],"refEngines":1}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		doc, err := parseRefEngines(content, func(string) {})
		if err != nil {
			return
		}
		for _, e := range append(doc.refs, doc.cas...) {
			if e.template == "" || len(e.template) > uritmpl.MaxTemplate {
				t.Errorf("%q gives the template %q", content, e.template)
			}
		}
	})
}

func FuzzMatch(f *testing.F) {
	f.Add("^a\\.example\\.com/.*$", "a.example.com/b")
	f.Add("(a{1000}){1000}", "a")
	f.Add("((a*)*)*$", strings.Repeat("a", 100)+"b")
	f.Add("[[:alpha:]]{3,}|x{0,1000}", "")
	f.Fuzz(func(t *testing.T, key, name string) {
		document, err := json.Marshal(map[string]int{key: 1, "x": 2})
		if err != nil {
			t.Fatal(err)
		}
		keys, err := parseRegexps(document)
		if err != nil {
			return
		}
		refused := 0
		if got := match(keys, name, func(string, string) { refused++ }); len(got)+refused > len(keys) {
			t.Errorf("%q: %q and %d refused", key, got, refused)
		}
	})
}

func FuzzParseIndex(f *testing.F) {
	var vectors []struct {
		vector
		Index, Name string
		Found       []any
	}
	readVectors(f, "indexes.json", &vectors)
	for _, v := range vectors {
		f.Add([]byte(v.Index))
	}
	all := func(ocispec.Descriptor) bool { return true }
	f.Fuzz(func(t *testing.T, content []byte) {
		x, err := parseIndex("", content, all, func(string) {})
		if err != nil {
			return
		}
		for i := range x.on {
			if i >= len(x.manifests) {
				t.Errorf("engines on manifest %d of %d", i, len(x.manifests))
			}
		}
	})
}

func FuzzLocator(f *testing.F) {
	f.Add("https://h/{encoded:2}/{+digest}", "https://h/")
	f.Add("//{host}@x/{digest}", "http://h")
	f.Add("{+path}{digest}", "file:///x")
	n := mustParse(f, "example.com/a/b#c")
	f.Fuzz(func(t *testing.T, template, base string) {
		e := Engine{Protocol: ProtocolCASTemplate, Template: template, Name: n, Remote: true}
		if b, err := url.Parse(base); err == nil && b.IsAbs() {
			e.Base = b
		}
		l, err := e.Locator("fuzz")
		if err != nil {
			return
		}
		for route, err := range l.Locate(t.Context(), ocispec.Descriptor{Digest: digest.FromBytes(nil)}) {
			u, parseErr := url.Parse(route.URI)
			if err != nil || parseErr != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || e.Base == nil || e.Base.Scheme == "https") {
				t.Errorf("%q at %q leads to %q, %v", template, base, route.URI, err)
			}
		}
	})
}
