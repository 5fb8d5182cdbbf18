package transport_test

import (
	"strings"
	"testing"

	"github.com/waybill-project/waybill/transport"
)

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"https://h/x":                     "https://h/x",
		"https://u:secret@h/x":            "https://u:xxxxx@h/x",
		"https://u@h/x":                   "https://u@h/x",
		"docker://h/r@sha256:00":          "docker://h/r@sha256:00",
		"https://u:secret@h/{encoded}%zz": "https://xxxxx@h/{encoded}%zz",
		"https://u:sec/ret@h/":            "https://xxxxx@h/",
		"http://u:secret@h\x01/":          "http://xxxxx@h\x01/",
	} {
		if got := transport.Redact(in); got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
	}
}

func FuzzRedact(f *testing.F) {
	f.Add("u", "h/x")
	f.Add("u%zz", "h\x01")
	f.Fuzz(func(t *testing.T, user, after string) {
		const secret = "hunter2hunter2"
		if strings.ContainsAny(user, "/?#") {
			return // what follows is not user information
		}
		if got := transport.Redact("https://" + user + ":" + secret + "@" + after); strings.Contains(got, secret) {
			t.Errorf("the secret is in %q", got)
		}
	})
}
