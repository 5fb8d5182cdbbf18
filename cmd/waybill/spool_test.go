package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// TestSpool: what is written element by element is what printJSON would print, on
// disk or not.
func TestSpool(t *testing.T) {
	for _, n := range []int{1, 3, 5000} {
		want := struct {
			Name string           `json:"name"`
			List []map[string]any `json:"list"`
		}{Name: `a "name" <b>`}
		s := spool{}
		s.text("{\n  \"name\": ")
		if err := s.encode(want.Name, ""); err != nil {
			t.Fatal(err)
		}
		s.text(",\n  \"list\": [")
		for i := range n {
			v := map[string]any{"i": i, "text": strings.Repeat("x&", 200), "none": []int{}}
			want.List = append(want.List, v)
			if err := s.element(v); err != nil {
				t.Fatal(err)
			}
			if s.buf.Len() > maxSpooled {
				t.Fatalf("%d bytes in memory", s.buf.Len())
			}
		}
		s.text("\n  ]\n}\n")
		if spooled := s.file != nil; spooled != (n == 5000) {
			t.Errorf("%d elements: in a file: %v", n, spooled)
		}
		var got, expected bytes.Buffer
		if err := s.writeTo(&got); err != nil {
			t.Fatal(err)
		}
		if err := s.close(); err != nil {
			t.Error(err)
		}
		if err := (&app{stdout: &expected}).printJSON(want); err != nil {
			t.Fatal(err)
		}
		if !json.Valid(got.Bytes()) || !bytes.Equal(got.Bytes(), expected.Bytes()) {
			t.Errorf("%d elements: got %.200q, want %.200q", n, got.String(), expected.String())
		}
	}
}
