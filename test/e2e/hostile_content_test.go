package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/waybill"
)

const (
	tenMegabytes = 10 << 20
	manyEntries  = 100_000
	millionChars = 1_000_000
)

// many repeats an item of a JSON array.
func many(n int, item string) string {
	return "[" + strings.Repeat(item+",", n-1) + item + "]"
}

// padded is a document of ten megabytes.
func padded(document string) string { return document + strings.Repeat(" ", tenMegabytes) }

const (
	wellKnown = "/.well-known/oci-host-ref-engines"
	longURI   = "https://" + goodHost + "/"
)

// goodWellKnown is a document of ref engines that is of use, with more.
func goodWellKnown(first ...string) document {
	return refEngines(engines("oci-index-template-v1", append(first, goodIndex)), engines("oci-cas-template-v1", []string{goodCAS})...)
}

// mostlyGoodHost has a host publish something, and the one above what is of use.
func mostlyGoodHost(content string) func(*testing.T, *user, *hostileSite) []string {
	return func(_ *testing.T, _ *user, s *hostileSite) []string {
		s.put("team."+evilHost+wellKnown, content)
		s.put(wellKnown, goodWellKnown())
		return []string{"team." + evilHost + "/app#app"}
	}
}

// twoIndexes have a host lead to an index, and then to one that is of use.
func twoIndexes(index string) func(*testing.T, *user, *hostileSite) []string {
	return func(_ *testing.T, _ *user, s *hostileSite) []string {
		s.put("/index", index)
		s.put(wellKnown, goodWellKnown("/index"))
		return []string{evilHost + "/team/app#app"}
	}
}

// wellKnownOf publishes a document of ref engines.
func wellKnownOf(doc document) func(*testing.T, *user, *hostileSite) []string {
	return func(_ *testing.T, _ *user, s *hostileSite) []string {
		s.put(wellKnown, doc)
		return []string{evilHost + "/team/app#app"}
	}
}

// xdg has the user's own file hold something, and the system's what is of use.
func xdg(content string) func(*testing.T, *user, *hostileSite) []string {
	return func(t *testing.T, u *user, s *hostileSite) []string {
		good, err := json.Marshal(document{".*": goodWellKnown()})
		if err != nil {
			t.Fatal(err)
		}
		u.file("xdg/oci-discovery/ref-engine-discovery.json", string(good))
		u.setenv("XDG_CONFIG_DIRS", filepath.Join(u.home, "xdg"))
		u.file(".config/oci-discovery/ref-engine-discovery.json", content)
		return []string{evilHost + "/team/app#app"}
	}
}

// parcelOf publishes a parcel; change makes it a bad one.
func parcelOf(change func(s *hostileSite)) func(*testing.T, *user, *hostileSite) []string {
	return func(_ *testing.T, _ *user, s *hostileSite) []string {
		s.parcel([]string{"/dist"}, []string{goodIndex}, []string{parcelCAS})
		change(s)
		return []string{"parcel:" + evilHost + "/team/app"}
	}
}

// twoDescriptors have a parcel lead to a descriptor, and then to one of use.
func twoDescriptors(first string) func(s *hostileSite) {
	return func(s *hostileSite) {
		s.put("/.well-known/x-parcel.v0.0.0", templates(parcelDescriptor, "/first", "/second"))
		s.put("/first", first)
		s.put("/second", templates(parcelDistribution, "/dist"))
	}
}

// abdOf publishes metadata, and at the host above what is of use.
func abdOf(content string) func(*testing.T, *user, *hostileSite) []string {
	return func(_ *testing.T, _ *user, s *hostileSite) []string {
		const path = "/.well-known/abd-index/example.evil.app"
		s.put("app."+evilHost+path, content)
		s.put(path, []any{document{"name": "example.evil.app", "mirrors": []string{goodIndex}}})
		return []string{"abd:example.evil.app"}
	}
}

// appcOf publishes a page in place of one that was of use, for somebody who also
// asks the store. Another page would do as little as none: what it leads to may be
// something else.
func appcOf(page string) func(*testing.T, *user, *hostileSite) []string {
	return func(_ *testing.T, u *user, s *hostileSite) []string {
		const name = "appc:" + evilHost + "/team/app"
		s.put("/team/app?ac-discovery=1", metaTag(goodIndex))
		u.run("pull", name).exits(0)
		s.put("/team/app?ac-discovery=1", page)
		u.policy("[name.'*']\nresolvers = ['appc', 'store']\n")
		return []string{name}
	}
}

func metaTag(template string) string {
	return `<meta name="ac-discovery" content="` + evilHost + `/team ` + template + `">`
}

// billed publishes a waybill of an image whose layers are elsewhere.
func billed(content func(t *testing.T, s *hostileSite) string) func(*testing.T, *user, *hostileSite) []string {
	return func(t *testing.T, u *user, s *hostileSite) []string {
		s.put("/app.waybill.json", content(t, s))
		return []string{s.image.withoutLayers(t).name(), "--waybill", "https://" + evilHost + "/app.waybill.json"}
	}
}

// withMore is a waybill of the image with something put in place of one member.
func withMore(member, content string) func(t *testing.T, s *hostileSite) string {
	return func(t *testing.T, s *hostileSite) string {
		var doc map[string]json.RawMessage
		readJSON(t, billOf(t, s.image, "https://"+evilHost, func(d *waybill.Document) {
			d.Carriers = []waybill.Carrier{{Protocol: waybill.ProtocolCASTemplate, URI: "/blobs/{algorithm}/{encoded}"}}
		}), &doc)
		doc[member] = json.RawMessage(content)
		b, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
}

// consignments are n of them, all about unlike blobs.
func consignments(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,{"digest":"sha256:%064x","size":1}`, i)
	}
	return "[" + b.String()[1:] + "]"
}

// urlsOf gives the image's layers urls.
func urlsOf(urls func(digest.Digest) []string) func(*testing.T, *user, *hostileSite) []string {
	return func(t *testing.T, u *user, s *hostileSite) []string {
		s.pulled = s.image.withURLs(t, func(d digest.Digest) []string {
			if d != s.image.layers[0].Digest {
				return []string{"https://" + goodHost + "/blobs/sha256/" + d.Encoded()}
			}
			return append([]string{"https://" + goodHost + "/blobs/sha256/" + d.Encoded()}, urls(d)...)
		})
		return []string{s.pulled.name()}
	}
}

// hostileContents are documents that are too much: what is published, and what
// the trace has to say of it.
var hostileContents = []struct {
	name    string
	publish func(t *testing.T, u *user, s *hostileSite) (args []string)
	says    string
}{
	{"oci-discovery: 10 MB", mostlyGoodHost(padded(`{"refEngines":[]}`)), "larger than the limit of 1048576 bytes"},
	{"oci-discovery: 100,000 ref engines", mostlyGoodHost(`{"refEngines":` + many(manyEntries, "{}") + "}"), "more than 100 entries"},
	{"oci-discovery: 100,000 CAS engines", mostlyGoodHost(`{"casEngines":` + many(manyEntries, "{}") + "}"), "more than 100 entries"},
	{"oci-discovery: deep", mostlyGoodHost(strings.Repeat(`{"a":`, manyEntries)), "max depth"},
	{"oci-discovery: a million characters in a ref engine", wellKnownOf(goodWellKnown(longURI + strings.Repeat("x", millionChars))), "limit is 4096"},
	{"oci-discovery: a million characters in a CAS engine", wellKnownOf(refEngines(engines("oci-index-template-v1", []string{goodIndex}),
		engines("oci-cas-template-v1", []string{longURI + strings.Repeat("x", millionChars) + "{digest}", goodCAS})...)), "limit is 4096"},
	{"oci-discovery: a template that expands to more", wellKnownOf(goodWellKnown(longURI + strings.Repeat("{name}", 600))), "limit is 16"},
	{"oci-discovery: an index of 10 MB", twoIndexes(padded(`{"schemaVersion":2,"manifests":[]}`)), "larger than the limit of 8388608 bytes"},
	{"oci-discovery: an index of 100,001 entries", twoIndexes(`{"schemaVersion":2,"manifests":` + many(manyEntries+1, "{}") + "}"), "100000"},
	{"oci-discovery: 100,000 CAS engines in an index", twoIndexes(`{"schemaVersion":2,"manifests":[],"casEngines":` + many(manyEntries, "{}") + "}"), "more than 100 entries"},
	{"XDG: 10 MB", xdg(padded("{}")), "limit of 1048576 bytes"},
	{"XDG: regexps of many states", xdg(`{"((((((a{99}){99}){99}){99}){99}){99})": {}, "(((.{0,30}){0,30}){0,30})*": {}}`), "ignored"},
	{"XDG: regexps that track back", xdg(`{"((e*)*)*((v*)*)*$": {"refEngines":[{"protocol":"oci-index-template-v1","uri":"` + goodIndex + `"}]}}`), "read: 1 expressions"},
	{"XDG: 100,000 regexps", xdg("{" + strings.Repeat(`"x":0,`, manyEntries) + `"y":0}`), "ignored"},
	{"parcel: 10 MB of versions", parcelOf(func(s *hostileSite) { s.put("/.well-known/x-parcel", padded("v0.0.0\n")) }), "larger than the limit of 65536 bytes"},
	{"parcel: 10 MB", parcelOf(twoDescriptors(padded("{}"))), "larger than the limit of 4194304 bytes"},
	{"parcel: 100,000 templates", parcelOf(twoDescriptors(`{"mediaType":"` + parcelDistribution + `","templates":` + many(manyEntries, `"/dist"`) + "}")), "limit is 100"},
	{"parcel: 100,000 entries", parcelOf(func(s *hostileSite) {
		s.put("/many", `{"indexURIs":`+many(manyEntries, "0")+`,"blobURIs":[]}`)
		s.put("/.well-known/x-parcel.v0.0.0", templates(parcelDistribution, "/many", "/dist"))
	}), "limit is 1000"},
	{"parcel: a million characters", parcelOf(func(s *hostileSite) {
		s.put("/.well-known/x-parcel.v0.0.0", templates(parcelDistribution, strings.Repeat("x", millionChars), "/dist"))
	}), "limit is 4096"},
	{"parcel: descriptors in a circle", parcelOf(func(s *hostileSite) {
		twoDescriptors("")(s)
		s.put("/first", templates(parcelDescriptor, "/back"))
		s.put("/back", templates(parcelDescriptor, "/first"))
	}), "was asked for already"},
	{"parcel: descriptors without end", parcelOf(func(s *hostileSite) {
		twoDescriptors("")(s)
		s.put("/first", templates(parcelDescriptor, "/deep0"))
		for n := range 40 {
			s.put(fmt.Sprintf("/deep%d", n), templates(parcelDescriptor, fmt.Sprintf("/deep%d", n+1)))
		}
	}), "more than 8 times"},
	{"abd: 10 MB", abdOf(padded("[]")), "larger than the limit of 4194304 bytes"},
	{"abd: 100,000 entries", abdOf(many(manyEntries, "{}")), "limit is 1000"},
	{"abd: 100,000 mirrors", abdOf(`[{"name":"example.evil.app","mirrors":` + many(manyEntries, `"/x.tar"`) + `},{"name":"example.evil.app","mirrors":["` + goodIndex + `"]}]`), "limit is 100"},
	{"abd: a million characters", abdOf(`[{"name":"example.evil.app","mirrors":["` + longURI + strings.Repeat("x", millionChars) + `.tar", "` + goodIndex + `"]}]`), "limit is 8192"},
	{"appc: 10 MB", appcOf(strings.Repeat(" ", tenMegabytes)), "larger than the limit of 1048576 bytes"},
	{"appc: 20,000 tags", appcOf(strings.Repeat("<meta name=ac-discovery content='a b'>", 20_000)), "more than 100"},
	{"appc: a million characters", appcOf(metaTag(longURI+strings.Repeat("x", millionChars)) + metaTag(goodIndex)), "limit is 4096"},
	{"waybill: 10 MB", billed(func(*testing.T, *hostileSite) string { return padded("{}") }), "larger than the limit of"},
	{"waybill: 20,000 consignments", billed(withMore("consignments", consignments(20_000))), "10000"},
	{"waybill: 90,000 carriers", billed(withMore("carriers", many(90_000, `{"protocol":"x-y","uri":"https://h/"}`))), "256"},
	{"waybill: a million characters", billed(withMore("carriers", `[{"protocol":"oci-cas-template-v1","uri":"`+strings.Repeat("x", millionChars)+`"}]`)), "a URI of more than 4096 bytes"},
	{"urls: 100,000", urlsOf(func(digest.Digest) []string {
		var all []string
		for n := range manyEntries - 1 { // with the good one
			all = append(all, fmt.Sprint("https://", goodHost, "/", n))
		}
		return all
	}), "the limit is 1000"},
	{"urls: a million characters", urlsOf(func(digest.Digest) []string { return []string{longURI + strings.Repeat("x", millionChars)} }), "limit is 8192"},
}

// TestHostileContent: documents that are larger, longer, deeper or more than
// anybody needs are refused, each named in the trace with its limit, and the image
// comes by what is left.
func TestHostileContent(t *testing.T) {
	t.Parallel()
	s := newHostileSite(t)
	if s == nil {
		return
	}
	for _, test := range hostileContents {
		t.Run(test.name, func(t *testing.T) {
			s.reset()
			u := s.net.user(t)
			args := append([]string{"pull"}, test.publish(t, u, s)...)
			if strings.HasPrefix(test.says, "read: ") {
				args = append(args, "-v") // what isn't refused is no warning
			}
			o := u.run(args...).says(test.says)
			if len(o.stderr) > 100_000 {
				t.Errorf("%d bytes on stderr", len(o.stderr))
			}
			var story struct {
				Events []struct{ Detail string }
			}
			u.run("explain", "--json").exits(0).decode(&story)
			if !slices.ContainsFunc(story.Events, func(e struct{ Detail string }) bool { return strings.Contains(e.Detail, test.says) }) {
				t.Errorf("no event says %q: %+v", test.says, story.Events)
			}
			if slices.Contains(args, "--waybill") {
				// With another place nothing says that the document was read in time.
				o.exits(3)
				o = u.run(append(args, "--from", "https://"+goodHost+"/blobs/")...)
			}
			o.exits(0)
			s.wantPulled(t, u)
			s.net.nobodyInside(t)
		})
	}
}
