package name_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/name"
)

// TestVectors reads the names of spec/names.md.
func TestVectors(t *testing.T) {
	content, err := os.ReadFile("../spec/vectors/names/names.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct{ Name, Kind, Canonical, Digest, Error string }
	if err := json.Unmarshal(content, &vectors); err != nil || len(vectors) == 0 {
		t.Fatalf("%d vectors, %v", len(vectors), err)
	}
	for _, v := range vectors {
		n, err := name.Parse(v.Name)
		if v.Error != "" {
			if err == nil || !strings.Contains(err.Error(), v.Error) {
				t.Errorf("%q: got %v, %v; want an error with %q", v.Name, n, err, v.Error)
			}
			continue
		}
		if err != nil || n.Kind.String() != v.Kind || n.String() != v.Canonical || n.Digest.String() != v.Digest {
			t.Errorf("%q: got %s %q with digest %q, %v", v.Name, n.Kind, n, n.Digest, err)
		}
		if again, err := name.Parse(v.Canonical); err != nil || again != n {
			t.Errorf("%q: its canonical form is read as %+v, %v", v.Name, again, err)
		}
	}
}
