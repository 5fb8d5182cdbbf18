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
		"magnet:?xt=urn:btih:00&tr=http://u:secret@h/a&ws=https://h/#x@y": "magnet:?xt=urn:btih:00&tr=http%3A%2F%2Fu%3Axxxxx%40h%2Fa&ws=https://h/#x@y",
		"Magnet:?tr=udp%3A%2F%2Fu%3Asecret%40h%3A1":                       "Magnet:?tr=udp%3A%2F%2Fu%3Axxxxx%40h%3A1",
		"magnet:?xt=urn:btih:00&x.pe=[::1]:2&dn=a@b":                      "magnet:?xt=urn:btih:00&x.pe=[::1]:2&dn=a@b",
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
