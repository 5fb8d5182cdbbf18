package pull_test

import (
	"encoding/json"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/waybill-project/waybill/pull"
)

func TestRangeJSON(t *testing.T) {
	r := pull.Range{Digest: digest.FromString("x"), Offset: 5, Length: 7}
	b, err := json.Marshal(r)
	if err != nil || string(b) != `["`+string(r.Digest)+`",5,7]` {
		t.Fatalf("%s, %v", b, err)
	}
	var back pull.Range
	if err := json.Unmarshal(b, &back); err != nil || back != r {
		t.Errorf("%+v, %v", back, err)
	}
	for _, bad := range []string{`[]`, `["sha256:00",1]`, `["sha256:00",1,2,3]`, `{}`, `["x","y","z"]`, `null`} {
		if err := json.Unmarshal([]byte(bad), &back); err == nil {
			t.Errorf("%s was read as %+v", bad, back)
		}
	}
}

func FuzzRange(f *testing.F) {
	f.Add(`["sha256:00",1,2]`)
	f.Fuzz(func(t *testing.T, s string) {
		var r pull.Range
		if json.Unmarshal([]byte(s), &r) != nil {
			return
		}
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var back pull.Range
		if err := json.Unmarshal(b, &back); err != nil || back != r {
			t.Errorf("%s → %+v → %s → %+v, %v", s, r, b, back, err)
		}
	})
}
