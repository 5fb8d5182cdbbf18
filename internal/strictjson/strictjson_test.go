package strictjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/internal/strictjson"
)

var limits = strictjson.Limits{Depth: 4, Members: 10}

// names reads {"names": [STRING, …]}, at most three.
func names(content string) (list []string, err error) {
	r, err := strictjson.New([]byte(content), limits)
	if err != nil {
		return nil, err
	}
	err = r.Object(func(key string) error {
		if key != "names" {
			return r.Skip()
		}
		return r.Array("names", 3, func(int) error {
			tok, err := r.Value()
			s, _ := tok.(string)
			list = append(list, s)
			return err
		})
	})
	if err == nil {
		err = r.End()
	}
	return list, err
}

func TestReads(t *testing.T) {
	for in, want := range map[string][]string{
		`{}`: nil,
		` {"a": [1, {"b": null}], "names": ["x", "y"], "c": {}} `: {"x", "y"},
		`{"names": [{"x": [1]}, 1.50, "z"]}`:                      {"", "", "z"},
		`{"Names": ["x"]}`:                                        nil,
	} {
		if got, err := names(in); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %q, %v", in, got, err)
		}
	}
}

func TestRefuses(t *testing.T) {
	member := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(`"k%d":1`, i))
		}
		return strings.Join(all, ",")
	}
	for in, want := range map[string]struct {
		kind error
		says string
	}{
		``:                                 {strictjson.ErrSyntax, "ends at byte 0, in the middle"},
		`{"a":`:                            {strictjson.ErrSyntax, "in the middle"},
		`{"a":1,}`:                         {strictjson.ErrSyntax, "not JSON at byte"},
		`{"names":["a\d"]}`:                {strictjson.ErrSyntax, `write a backslash as \\`},
		`{'a':1}`:                          {strictjson.ErrSyntax, "not JSON at byte 2: invalid"},
		"{\"a\":\"\xff\"}":                 {strictjson.ErrSyntax, "isn't UTF-8"},
		`{} x`:                             {strictjson.ErrSyntax, "something follows"},
		`{}{}`:                             {strictjson.ErrSyntax, "something follows"},
		`{"a":1,"a":2}`:                    {strictjson.ErrSyntax, `the key "a" is there twice`},
		`{"x":{"b c":[0,{"a":1,"a":2}]}}`:  {strictjson.ErrSyntax, `x."b c"[1]: the key "a"`},
		`{"a":1,"\u0061":2}`:               {strictjson.ErrSyntax, "twice"},
		`{` + member(10) + `,"k9":1}`:      {strictjson.ErrLimit, "more than 10 members"},
		`{"x":{` + member(9) + `,"k8":1}}`: {strictjson.ErrSyntax, `x: the key "k8" is there twice`},
		`{"x":{` + member(11) + `}}`:       {strictjson.ErrLimit, "x: more than 10 members in one object"},
		`{"names":["","","",""]}`:          {strictjson.ErrLimit, "names: more than 3 names"},
		`{"a":[[[[]]]]}`:                   {strictjson.ErrLimit, "a[0][0][0]: nested deeper than 4"},
		`{"names":[[[[]]]]}`:               {strictjson.ErrLimit, "names[0][0][0]: nested deeper than 4"},
		strings.Repeat("[", 1_000_000):     {strictjson.ErrType, "an array where an object is wanted"},
		`{"a":` + strings.Repeat(`{"a":`, 1_000_000): {strictjson.ErrLimit, "nested deeper than 4"},
		`null`:         {strictjson.ErrType, "null where an object"},
		`true`:         {strictjson.ErrType, "a boolean where"},
		`1`:            {strictjson.ErrType, "a number where"},
		`"x"`:          {strictjson.ErrType, "a string where"},
		`{"names":{}}`: {strictjson.ErrType, "names: an object where an array is wanted"},
		`{"` + strings.Repeat("a\n", 5000) + `":1}`:             {strictjson.ErrSyntax, "not JSON"},
		`{"` + strings.Repeat(`a\n`, 5000) + `":{"a":1,"a":2}}`: {strictjson.ErrSyntax, "twice"},
	} {
		_, err := names(in)
		var e *strictjson.Error
		if !errors.Is(err, want.kind) || !errors.As(err, &e) || !strings.Contains(err.Error(), want.says) ||
			strings.Contains(err.Error(), "\n") || len(err.Error()) > 400 {
			t.Errorf("%.60s: got %v; want %v that says %q", in, err, want.kind, want.says)
		}
	}
}

func TestCheck(t *testing.T) {
	for in, says := range map[string]string{
		`{"a":[1]}`:  "",
		`{"a":[1,]}`: "there is a comma before it",
		`{"a":1, }`:  "there is a comma before it",
		`{"a":"\."}`: `write a backslash as \\`,
		``:           "not JSON",
		`{} {}`:      "not JSON at byte 4",
		"\xff":       "isn't UTF-8",
	} {
		err := strictjson.Check([]byte(in))
		if (err == nil) != (says == "") || err != nil && (!errors.Is(err, strictjson.ErrSyntax) || !strings.Contains(err.Error(), says)) {
			t.Errorf("%s: %v, want %q", in, err, says)
		}
	}
}

func TestRaw(t *testing.T) {
	r, err := strictjson.New([]byte(`{"a": {"b": [1, 2]} , "c": x}`), limits)
	if err != nil {
		t.Fatal(err)
	}
	var raw []string
	err = r.Object(func(string) error {
		v, err := r.Raw()
		raw = append(raw, string(v))
		return err
	})
	if !errors.Is(err, strictjson.ErrSyntax) || raw[0] != `{"b": [1, 2]}` {
		t.Errorf("got %q, %v", raw, err)
	}
}

// What is read strictly is JSON to encoding/json, too.
func FuzzReader(f *testing.F) {
	f.Add([]byte(`{"names":["x"],"a":{"b":[1e5,null,true]}}`))
	f.Add([]byte(`{"a":1,"a":2}`))
	f.Add([]byte(`{"a":[1,]}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		r, err := strictjson.New(content, strictjson.Limits{Depth: 8, Members: 20})
		if err == nil {
			err = r.Skip()
		}
		if err == nil {
			err = r.End()
		}
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("%q: an error of several lines: %q", content, err)
			}
			return
		}
		dec := json.NewDecoder(bytes.NewReader(content))
		dec.UseNumber()
		var v any
		if err := dec.Decode(&v); err != nil || strictjson.Check(content) != nil {
			t.Errorf("%q: %v", content, err)
		}
	})
}
