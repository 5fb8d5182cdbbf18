package uritmpl_test

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/uritmpl"
)

func TestResolve(t *testing.T) {
	values := map[string]string{"host": "a.example", "path": "x/y", "encoded": "0123", "empty": "", "parcel.discovery.name": "é"}
	for _, tt := range []struct{ name, template, base, want, says string }{
		{"absolute", "https://{host}/{encoded:2}/{encoded}", "", "https://a.example/01/0123", ""},
		{"reserved", "https://h/{+path}/{path}", "", "https://h/x/y/x%2Fy", ""},
		{"relative to the document", "../b/{encoded}", "https://h/.well-known/doc", "https://h/b/0123", ""},
		{"from the root", "/{encoded}?{empty}", "https://h:1/a/b?q#f", "https://h:1/0123?", ""},
		{"another authority", "//{host}/x", "https://h/", "https://a.example/x", ""},
		{"dots in names", "https://h/{parcel.discovery.name}", "", "https://h/%C3%A9", ""},
		{"without variables", "https://h/x", "", "https://h/x", ""},
		{"undefined", "https://h/{nope}", "", "", `undefined variable "nope"`},
		{"nothing to resolve against", "b/{encoded}", "", "", "relative reference"},
		{"malformed", "https://h/{", "", "", "RFC 6570"},
		{"no URI", ":{encoded}", "https://h/", "", "RFC 3986"},
		{"reserved, not ASCII", "https://h/{+parcel.discovery.name}", "", "https://h/%C3%A9", ""},
		{"prefix of what is not ASCII", "https://h/{parcel.discovery.name:1}", "", "", "not ASCII"},
		{"too long", strings.Repeat("x", uritmpl.MaxTemplate+1), "", "", "limit is 4096"},
		{"too many expressions", strings.Repeat("{encoded}", uritmpl.MaxExpressions+1), "", "", "limit is 16"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var base *url.URL
			if tt.base != "" {
				base, _ = url.Parse(tt.base)
			}
			var got *url.URL
			tmpl, err := uritmpl.Parse(tt.template)
			if err == nil {
				got, err = tmpl.Resolve(base, values)
			}
			if tt.says != "" {
				if err == nil || !strings.Contains(err.Error(), tt.says) || len(err.Error()) > 200 {
					t.Fatalf("got %v, %v; want an error with %q", got, err, tt.says)
				}
				return
			}
			if err != nil || got.String() != tt.want {
				t.Errorf("got %v, %v; want %s", got, err, tt.want)
			}
		})
	}
}

func TestExpandIsBounded(t *testing.T) {
	tmpl, err := uritmpl.Parse(strings.Repeat("{v}", uritmpl.MaxExpressions))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tmpl.Expand(map[string]string{"v": strings.Repeat("x", 1000)}); err == nil || !strings.Contains(err.Error(), "limit is 8192") {
		t.Errorf("got %v", err)
	}
}

func TestVariables(t *testing.T) {
	tmpl, err := uritmpl.Parse("{b}{a:3}{+b}{?c*}")
	if err != nil {
		t.Fatal(err)
	}
	if got := tmpl.Variables(); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("got %q", got)
	}
	if err := tmpl.Only("a", "b", "c", "d"); err != nil {
		t.Error(err)
	}
	if err := tmpl.Only("a", "b"); err == nil || !strings.Contains(err.Error(), `"c"`) {
		t.Errorf("got %v", err)
	}
}

func FuzzResolve(f *testing.F) {
	f.Add("https://h/{+v}{v:3}{?v*}", "x", "https://h/")
	f.Add("{", "", "")
	f.Add("//{v}@[::1]:9/%", "a/b", "ftp://u:p@h/x;y?z#f")
	f.Fuzz(func(t *testing.T, text, value, base string) {
		tmpl, err := uritmpl.Parse(text)
		if err != nil {
			return
		}
		if tmpl.String() != text {
			t.Errorf("%q became %q", text, tmpl)
		}
		b, err := url.Parse(base)
		if err != nil {
			b = nil
		}
		values := map[string]string{}
		for _, v := range tmpl.Variables() {
			values[v] = value
		}
		u, err := tmpl.Resolve(b, values)
		if errors.Is(err, uritmpl.ErrUndefined) {
			t.Errorf("%q: %v", text, err)
		}
		if err == nil && (!u.IsAbs() || len(u.String()) > uritmpl.MaxExpanded) {
			t.Errorf("%q gives %q", text, u)
		}
	})
}
