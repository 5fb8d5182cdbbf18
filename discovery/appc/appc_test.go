package appc_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/discovery"
	"github.com/waybill-project/waybill/discovery/appc"
	"github.com/waybill-project/waybill/resolve"
	"github.com/waybill-project/waybill/test/webhosts"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/uritmpl"
)

// vectors reads a file of spec/vectors/appc.
func vectors[T any](t *testing.T, file string) []T {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("../../spec/vectors/appc", file))
	if err != nil {
		t.Fatal(err)
	}
	var all []T
	if err := json.Unmarshal(content, &all); err != nil || len(all) == 0 {
		t.Fatalf("%s: %d vectors, %v", file, len(all), err)
	}
	return all
}

func parse(t *testing.T, s string) appc.Name {
	t.Helper()
	n, err := appc.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func TestNames(t *testing.T) {
	for _, v := range vectors[struct {
		Name, ID, Error string
		Labels          map[string]string
	}](t, "names.json") {
		got, err := appc.Parse(v.Name)
		if v.Error != "" {
			if err == nil || !strings.Contains(err.Error(), v.Error) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q: got %+v, %v; want an error with %q", v.Name, got, err, v.Error)
			}
			continue
		}
		if err != nil || got.Name != v.ID || !maps.Equal(got.Labels, v.Labels) {
			t.Errorf("%q: got %+v, %v", v.Name, got, err)
		}
		if again := parse(t, got.String()); again.Name != got.Name || !maps.Equal(again.Labels, got.Labels) {
			t.Errorf("%q is written %q", v.Name, got)
		}
	}
	labels := "a.b/c"
	for i := range appc.MaxLabels + 1 {
		labels += fmt.Sprintf(",l%d=x", i)
	}
	for says, s := range map[string]string{
		"limit is 512":        strings.Repeat("x", 513),
		"more than 16 parts":  strings.Repeat("x/", 16) + "x",
		"longer than 1024":    "a.b/c,x=" + strings.Repeat("y", 1025),
		"more than 64 labels": labels,
	} {
		if _, err := appc.Parse(s); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
}

func TestPages(t *testing.T) {
	for _, v := range vectors[struct {
		Comment, Page, Name string
		URIs                []string
		Undefined           int
	}](t, "pages.json") {
		t.Run(v.Comment, func(t *testing.T) {
			tags, err := appc.ParsePage([]byte(v.Page))
			if err != nil {
				t.Fatal(err)
			}
			got, undefined := []string{}, 0
			for _, tag := range tags {
				uri, _, err := tag.Expand(parse(t, v.Name))
				switch {
				case errors.Is(err, uritmpl.ErrUndefined):
					undefined++
				case err != nil:
					t.Error(err)
				default:
					got = append(got, uri)
				}
			}
			if !slices.Equal(got, v.URIs) || undefined != v.Undefined {
				t.Errorf("got %q and %d undefined; want %q and %d", got, undefined, v.URIs, v.Undefined)
			}
		})
	}
}

func TestPageLimits(t *testing.T) {
	const tag = `<meta name="ac-discovery" content="e docker://e/a">`
	for says, page := range map[string]string{
		"limit is 1048576": strings.Repeat(" ", appc.MaxPage+1),
		"more than 100":    strings.Repeat(tag, appc.MaxTags+1),
	} {
		if _, err := appc.ParsePage([]byte(page)); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
	n := parse(t, "e/a,x="+strings.Repeat("y", 1000))
	for says, template := range map[string]string{
		"limit is 4096": strings.Repeat("x", uritmpl.MaxTemplate+1),
		"more than 16":  strings.Repeat("{x}", uritmpl.MaxExpressions+1),
		"limit is 8192": strings.Repeat("{x}", uritmpl.MaxExpressions),
	} {
		if _, _, err := (appc.Tag{Template: template}).Expand(n); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want %q", err, says)
		}
	}
}

// mirror is a target as the vectors write it.
type mirror struct{ Kind, URI string }

func TestWalks(t *testing.T) {
	for _, v := range vectors[struct {
		Comment, Name, Error, By string
		Pages                    map[string]string
		Candidates               []mirror
		Notes, Asked             []string
	}](t, "walks.json") {
		t.Run(v.Comment, func(t *testing.T) {
			files := webhosts.Files{}
			for uri, page := range v.Pages {
				u, err := url.Parse(uri)
				if err != nil {
					t.Fatal(err)
				}
				files[u.RequestURI()] = page
			}
			site := webhosts.Start(t, map[string]http.Handler{"example.com": files})
			var told []string
			c := appc.New(appc.Options{Docs: site.Docs, Note: func(n discovery.Note) { told = append(told, n.Text) }})
			found, err := c.Discover(t.Context(), parse(t, v.Name))
			if (err != nil) != (v.Error != "") || err != nil && !(strings.Contains(err.Error(), v.Error) && errors.Is(err, resolve.ErrNotFound)) {
				t.Errorf("got %v, want %q", err, v.Error)
			}
			var got []mirror
			for _, candidate := range found {
				got = append(got, mirror{candidate.Kind.String(), candidate.URI})
				if !candidate.Remote || candidate.By.Resolver != "appc" || candidate.By.URI != v.By || candidate.Template == "" {
					t.Errorf("candidate %+v", candidate)
				}
			}
			if !slices.Equal(got, v.Candidates) {
				t.Errorf("got %v, want %v", got, v.Candidates)
			}
			for _, want := range v.Notes {
				if !slices.ContainsFunc(told, func(s string) bool { return strings.Contains(s, want) }) {
					t.Errorf("nothing noted about %q: %q", want, told)
				}
			}
			if asked := site.Asked(); v.Asked != nil && !slices.Equal(asked, v.Asked) {
				t.Errorf("asked %q, want %q", asked, v.Asked)
			}
		})
	}
}

// Only 4xx and a page without a tag send to the parent; whatever says that the
// page may be there ends the search.
func TestStops(t *testing.T) {
	const tag = `<meta name="ac-discovery" content="example.com docker://registry.example.com/app">`
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		kind   error // nil: the parent answers
	}{
		"401":      {status(401), nil},
		"403":      {status(403), nil},
		"410":      {status(410), nil},
		"redirect": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/none", http.StatusFound) }, nil},
		"429":      {status(429), transport.ErrThrottled},
		"500":      {status(500), transport.ErrTemporary},
		"503":      {status(503), transport.ErrTemporary},
		"http": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://example.com/", http.StatusFound)
		}, transport.ErrRefused},
		"large": {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, appc.MaxPage+1)) }, transport.ErrPermanent},
		"cut":   {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, transport.ErrTemporary},
	} {
		t.Run(name, func(t *testing.T) {
			site := webhosts.Start(t, map[string]http.Handler{"example.com": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.URL.Path {
				case "/app":
					tt.answer(w, r)
				case "/":
					_, _ = w.Write([]byte(tag))
				default:
					http.NotFound(w, r)
				}
			})})
			found, err := appc.New(appc.Options{Docs: site.Docs}).Discover(t.Context(), parse(t, "example.com/app"))
			if tt.kind == nil && (err != nil || len(found) != 1) {
				t.Errorf("got %v, %v", found, err)
			}
			if tt.kind != nil && (!errors.Is(err, tt.kind) || len(found) != 0) {
				t.Errorf("got %v, %v; want %v", found, err, tt.kind)
			}
		})
	}
	site := webhosts.Start(t, map[string]http.Handler{"example.com": webhosts.Files{"/app?ac-discovery=1": strings.Repeat(tag, appc.MaxTags+1), "/?ac-discovery=1": tag}})
	if _, err := appc.New(appc.Options{Docs: site.Docs}).Discover(t.Context(), parse(t, "example.com/app")); err == nil || !strings.Contains(err.Error(), "more than 100") {
		t.Errorf("too many tags: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := appc.New(appc.Options{Docs: site.Docs}).Discover(ctx, parse(t, "example.com/other")); !errors.Is(err, context.Canceled) {
		t.Errorf("given up: %v", err)
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func FuzzParse(f *testing.F) {
	f.Add("example.com/app:1.2.3,special=!*'();@&+$/?#[],channel=beta")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := appc.Parse(s)
		if err != nil {
			return
		}
		again, err := appc.Parse(n.String())
		if err != nil || again.Name != n.Name || !maps.Equal(again.Labels, n.Labels) {
			t.Errorf("%q is %+v, written %q: %v", s, n, n, err)
		}
		for _, uri := range n.URLs() {
			if u, err := url.Parse(uri); err != nil || u.Hostname() == "" || u.User != nil || u.RawQuery != "ac-discovery=1" {
				t.Errorf("%q asks %q", s, uri)
			}
		}
	})
}

func FuzzParsePage(f *testing.F) {
	f.Add([]byte(`<head><meta name="ac-discovery" content="e docker://e/{x}"></head>`), "e/a,x=y")
	f.Add([]byte(`<META CONTENT='e https://e/{ext}{' NAME=ac-discovery>`), "e/a:1")
	f.Fuzz(func(t *testing.T, page []byte, name string) {
		n, err := appc.Parse(name)
		if err != nil {
			return
		}
		tags, err := appc.ParsePage(page)
		if err != nil || len(tags) > appc.MaxTags {
			return
		}
		for _, tag := range tags {
			uri, _, err := tag.Expand(n)
			if err == nil && len(uri) > uritmpl.MaxExpanded {
				t.Errorf("%q gives %d bytes", tag.Template, len(uri))
			}
		}
	})
}
