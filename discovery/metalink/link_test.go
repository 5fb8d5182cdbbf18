package metalink_test

import (
	"reflect"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/discovery/metalink"
)

func TestParseLinks(t *testing.T) {
	type params = map[string]string
	dup, desc := []string{"duplicate"}, []string{"describedby"}
	for in, want := range map[string][]metalink.Link{
		"":                            nil,
		" , ,":                        nil,
		"<http://h/a>; rel=duplicate": {{"http://h/a", dup, params{}}},
		`<a,b;c>;rel="duplicate";pri=1;pref;geo=de;depth=2 , <d>`: {
			{"a,b;c", dup, params{"pri": "1", "pref": "", "geo": "de", "depth": "2"}}, {"d", nil, params{}}},
		`<x.meta4>; REL=DescribedBy; Type="application/metalink4+xml"; name="a\"b"`: {
			{"x.meta4", desc, params{"type": "application/metalink4+xml", "name": `a"b`}}},
		`<x>; rel="next  duplicate"; rel=describedby; pri=1; pri=2;`: {{"x", []string{"next", "duplicate"}, params{"pri": "1"}}},
		`<x>; pri = 3 ; rel = duplicate`:                             {{"x", dup, params{"pri": "3"}}},
	} {
		got, err := metalink.ParseLinks([]string{in})
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v; want %+v", in, got, err, want)
		}
	}
	for in, n := range map[string]int{
		"x": 0, "<x": 0, "<x> y": 0, `<x>; rel="dup`: 0, "<x>; =a": 0, "<x>; rel=duplicate, y": 1, "<a>, <b>, c": 2,
		strings.Repeat("<x>,", 101): 100, "<x>" + repeat("; a%d=1", 50): 0,
	} {
		if got, err := metalink.ParseLinks([]string{in}); err == nil || len(got) != n {
			t.Errorf("%s: got %+v, %v; want %d and an error", in, got, err, n)
		}
	}
	if got, err := metalink.ParseLinks([]string{"<a>", "<b>"}); err != nil || len(got) != 2 {
		t.Errorf("of two headers: %+v, %v", got, err)
	}
}

func FuzzParseLinks(f *testing.F) {
	f.Add(`<http://h/a>; rel=duplicate; pri=1; geo=de; depth=2, <x>; rel="describedby"; type="a/b"`)
	f.Add(`<x>; a="\`)
	f.Fuzz(func(t *testing.T, s string) {
		links, _ := metalink.ParseLinks([]string{s})
		if len(links) > metalink.MaxLinks {
			t.Errorf("%q: %d links", s, len(links))
		}
		for _, l := range links {
			if strings.ContainsAny(l.URI, ">") {
				t.Errorf("%q: %+v", s, l)
			}
		}
	})
}
