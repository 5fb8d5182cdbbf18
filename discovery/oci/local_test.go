package oci_test

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/waybill-project/waybill/discovery"
	"github.com/waybill-project/waybill/discovery/oci"
)

// TestLocal: of two documents the preferred one's value counts for each
// expression, and the longest expression comes first.
func TestLocal(t *testing.T) {
	dir := t.TempDir()
	write := func(below, content string) string {
		path := filepath.Join(dir, below, "oci-discovery", "ref-engine-discovery.json")
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	own := write("home", `{"^a/": {"refEngines": [{"protocol": "oci-index-template-v1", "uri": "https://own.example/{path}"}, {"protocol": "x", "uri": "y"}]},
		"wrong": {"refEngines": 3}}`)
	system := write("etc", `{"^a/": {}, "^a/longer": {"casEngines": [{"protocol": "oci-cas-template-v1", "uri": "https://cas.example/{encoded}"}]}}`)
	env := map[string]string{"XDG_CONFIG_HOME": filepath.Join(dir, "home"), "XDG_CONFIG_DIRS": filepath.Join(dir, "etc")}
	ignored := 0
	r := oci.New(oci.Options{Env: func(name string) string { return env[name] }, Note: func(n discovery.Note) {
		if n.Ignored {
			ignored++
		}
	}})
	want := []oci.LocalEngines{
		{Expression: "^a/longer", File: system, CAS: []string{"https://cas.example/{encoded}"}},
		{Expression: "^a/", File: own, Ref: []string{"https://own.example/{path}"}},
	}
	if got := r.Local(); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if ignored == 0 {
		t.Error("what is wrong isn't told")
	}
}
