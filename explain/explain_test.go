package explain_test

import (
	"slices"
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
		By: &resolve.Testimony{Resolver: "registry", URI: "docker://h/a", Time: began,
			Also: []resolve.Testimony{{Resolver: "store", URI: "docker://mirror/a", Time: began}}},
		Blobs: []pull.Blob{{Digest: d, Size: 640, MediaType: "layer/type", Resumed: 160}, {Digest: digest.FromString("c"), Size: 3, Cached: true}},
		Sources: []pull.Source{
			{URI: "https://few/", Origin: "--from", Bytes: 160, Status: fetch.StatusUsed, Ranges: []pull.Range{{Digest: d, Offset: 480, Length: 160}}},
			{URI: "docker://h/a", Origin: "name", Bytes: 320, Status: fetch.StatusUsed, Ranges: []pull.Range{{Digest: d, Offset: 160, Length: 320}}},
			{URI: "https://bad/\x1b[31m", Origin: "--from", Status: fetch.StatusQuarantined, Reason: "sent wrong bytes\x07"},
		},
		Events: []pull.Event{
			{Time: began, Type: pull.EventUnanswered, Source: "docker://dead/a", Detail: "connection refused"},
			{Time: began, Type: pull.EventDocument, Source: "https://h/doc", Detail: "read: 2 entries"},
			{Time: began, Type: pull.EventIgnored, Source: "https://h/doc", Detail: "file:///x not used\x07"},
			{Time: began.Add(time.Second), Type: fetch.EventQuarantined, Digest: d, Source: "https://bad/", Detail: "sent wrong bytes"},
		},
	}
	var b strings.Builder
	if err := explain.Write(&b, r, true); err != nil {
		t.Fatal(err)
	}
	got := b.String()
	for _, want := range []string{
		"pull id of h/a:1", "done in 1.5s", "resolved by docker://h/a (registry) at ", "and the store: docker://mirror/a said so at ",
		"docker://dead/a  no answer: connection refused\n", "https://h/doc    read: 2 entries\n", "https://h/doc    ignored: file:///x not used\n",
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

// Of a hostile document there may be any number of notes.
func TestWriteBounded(t *testing.T) {
	var b strings.Builder
	r := &pull.Record{Events: slices.Repeat([]pull.Event{{Type: pull.EventIgnored, Source: "u", Detail: "x"}}, 60)}
	if err := explain.Write(&b, r, false); err != nil {
		t.Fatal(err)
	}
	if got := b.String(); strings.Count(got, "ignored: x") != 50 || !strings.Contains(got, "and 10 more, which -v shows") {
		t.Errorf("got:\n%s", got)
	}
}
