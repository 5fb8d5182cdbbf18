package target_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/waybill-project/waybill/discovery/target"
)

func TestShown(t *testing.T) {
	for uri, want := range map[string]string{
		"https://h.example/a/{digest}":                 "https://h.example/a/{digest}",
		"https://user:secret@h.example/{+path}":        "https://…@h.example/{+path}",
		"//user:secret@h.example/x":                    "//…@h.example/x",
		"https://u:s/cret@h.example/x":                 "https://xxxxx@h.example/x",
		"https://h.example/x?signature=secret":         "https://h.example/x?…",
		"docker://h.example/a@sha256:00":               "docker://h.example/a@sha256:00",
		"file:///etc/shadow":                           "file:///etc/shadow",
		"magnet:?xt=urn:btih:00&tr=http://u:secret@h/": "magnet:?…",
		"https://u:secret@" + strings.Repeat("h", 200): "https://…@" + strings.Repeat("h", 108) + "…",
	} {
		if got := target.Shown(uri); got != want {
			t.Errorf("%s is shown as %q, want %q", uri, got, want)
		}
	}
}

func FuzzShown(f *testing.F) {
	f.Add("https://user:secret@h.example/x?y")
	f.Fuzz(func(t *testing.T, uri string) {
		got := target.Shown(uri)
		if len(got) > 200 || utf8.ValidString(uri) && !utf8.ValidString(got) {
			t.Errorf("%q is shown as %q", uri, got)
		}
		if strings.Contains(target.Shown("https://name:hunter2@"+uri), "hunter2") && !strings.Contains(uri, "hunter2") {
			t.Errorf("a password before %q is shown", uri)
		}
	})
}
