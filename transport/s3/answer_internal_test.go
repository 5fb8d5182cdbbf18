package s3

import (
	"strings"
	"testing"
	"unicode"
)

func TestParseError(t *testing.T) {
	none := answer{size: -1}
	for _, tt := range []struct {
		name, body string
		want       answer
	}{
		{"Amazon's", `<?xml version="1.0" encoding="UTF-8"?>` + "\n" +
			`<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message><Key>k</Key><RequestId>1</RequestId></Error>`,
			answer{code: "NoSuchKey", message: "The specified key does not exist.", size: -1}},
		{"region and namespace", `<Error xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><Code>AuthorizationHeaderMalformed</Code><Region>eu-west-1</Region></Error>`,
			answer{code: "AuthorizationHeaderMalformed", region: "eu-west-1", size: -1}},
		{"range", `<Error><Code>InvalidRange</Code><ActualObjectSize>6</ActualObjectSize></Error>`, answer{code: "InvalidRange", size: 6}},
		{"size that is none", `<Error><Code>InvalidRange</Code><ActualObjectSize>-6</ActualObjectSize></Error>`, answer{code: "InvalidRange", size: -1}},
		{"cut", `<Error><Code>SignatureDoesNotMatch</Code><Message>M</Message><CanonicalRequest>GET&#x`, answer{code: "SignatureDoesNotMatch", message: "M", size: -1}},
		{"twice", `<Error><Code>A</Code><Code>B</Code></Error>`, answer{code: "A", size: -1}},
		{"nested", `<Error><Errors><Code>A</Code></Errors></Error>`, none},
		{"lines", "<Error><Code>A</Code><Message>one\n\x1btwo</Message></Error>", answer{code: "A", size: -1}},
		{"entities of its own", `<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><Error><Code>&e;</Code></Error>`, none},
		{"deep", strings.Repeat("<Error>", 100), none},
		{"HTML", `<html><head><title>502 Bad Gateway</title></head></html>`, none},
		{"JSON", `{"code":"AccessDenied"}`, none},
		{"empty", "", none},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := parseError(tt.body); *got != tt.want {
				t.Errorf("got %+v, want %+v", *got, tt.want)
			}
		})
	}
}

func FuzzParseError(f *testing.F) {
	f.Add("<Error><Code>NoSuchKey</Code><Message>a &amp; b</Message><Region>eu-west-1</Region><ActualObjectSize>6</ActualObjectSize></Error>")
	f.Add("<Error></Error></Error>")
	f.Add("<a><b></a>")
	f.Fuzz(func(t *testing.T, body string) {
		a := parseError(body)
		for _, s := range []string{a.code, a.message, a.region} {
			if len(s) > 310 || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) && r != ' ' }) {
				t.Errorf("not fit to be shown: %q", s)
			}
		}
		if a.size < -1 {
			t.Errorf("size %d", a.size)
		}
	})
}
