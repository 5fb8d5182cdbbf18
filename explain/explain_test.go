package explain_test

import (
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/waybill-project/waybill/explain"
	"github.com/waybill-project/waybill/fetch"
	"github.com/waybill-project/waybill/pull"
	"github.com/waybill-project/waybill/resolve"
)

func TestWrite(t *testing.T) {
	d := digest.FromString("layer")
	began := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	r := &pull.Record{
		Pull: "id", Name: "h/a:1", Digest: digest.FromString("manifest"), Started: began, Ended: began.Add(1500 * time.Millisecond),
		By:    &resolve.Testimony{Resolver: "registry", URI: "docker://h/a", Time: began},
		Blobs: []pull.Blob{{Digest: d, Size: 640, MediaType: "layer/type", Resumed: 160}, {Digest: digest.FromString("c"), Size: 3, Cached: true}},
		Sources: []pull.Source{
			{URI: "https://few/", Origin: "--from", Bytes: 160, Status: fetch.StatusUsed, Ranges: []pull.Range{{Digest: d, Offset: 480, Length: 160}}},
			{URI: "docker://h/a", Origin: "name", Bytes: 320, Status: fetch.StatusUsed, Ranges: []pull.Range{{Digest: d, Offset: 160, Length: 320}}},
			{URI: "https://bad/\x1b[31m", Origin: "--from", Status: fetch.StatusQuarantined, Reason: "sent wrong bytes\x07"},
		},
		Events: []pull.Event{{Time: began.Add(time.Second), Type: fetch.EventQuarantined, Digest: d, Source: "https://bad/", Detail: "sent wrong bytes"}},
	}
	var b strings.Builder
	if err := explain.Write(&b, r, true); err != nil {
		t.Fatal(err)
	}
	got := b.String()
	for _, want := range []string{
		"pull id of h/a:1", "done in 1.5s", "by docker://h/a (registry)",
		"A  docker://h/a", "67 %", "B  https://few/", "33 %", "quarantined  sent wrong bytes",
		"[" + strings.Repeat("=", 16) + strings.Repeat("A", 32) + strings.Repeat("B", 16) + "]",
		"in the store already", "160 bytes", "1.000s  quarantined",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in:\n%s", want, got)
		}
	}
	if strings.ContainsAny(got, "\x1b\x07") {
		t.Error("control characters came through")
	}
}

func TestWriteFailed(t *testing.T) {
	var b strings.Builder
	if err := explain.Write(&b, &pull.Record{Pull: "id", Name: "x", Error: "nobody has it"}, false); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); !strings.Contains(got, "failed after 0s: nobody has it") || !strings.Contains(got, "no source was asked") {
		t.Errorf("got:\n%s", got)
	}
}
