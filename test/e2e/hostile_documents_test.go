package e2e

import (
	"fmt"
	"html"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
)

// hostilePlace is where a document would like to send this machine.
type hostilePlace struct {
	name string
	// uri begins the URI.
	uri string
	// shown is the part of it that names it to people, why the reason.
	shown, why string
}

// Reasons why a place is refused, as regular expressions.
const (
	isLoopback  = "loopback address"
	isLinkLocal = "link-local address"
	isPrivate   = "private address"
	noScheme    = "scheme"
	hasPassword = "(credentials|a password) in the URI|a URI with user information"
)

var hostilePlaces = []hostilePlace{
	{"loopback", "https://127.0.0.1", "127.0.0.1", isLoopback},
	{"loopback by name", "https://localhost", "localhost", isLoopback},
	{"unspecified", "https://0.0.0.0", "0.0.0.0", isLoopback},
	{"metadata service", "https://169.254.169.254", "169.254.169.254", isLinkLocal},
	{"private", "https://10.0.0.1", "10.0.0.1", isPrivate},
	{"private, mapped", "https://[::ffff:10.0.0.1]", "[::ffff:10.0.0.1]", isPrivate},
	{"private, NAT64", "https://[64:ff9b::10.0.0.1]", "[64:ff9b::10.0.0.1]", isPrivate},
	{"DNS says private", "https://private.example", "private.example", isPrivate},
	{"DNS says link-local", "https://metadata.example", "metadata.example", isLinkLocal},
	{"DNS says loopback", "https://loopback.example", "loopback.example", isLoopback},
	{"DNS says NAT64", "https://nat64.example", "nat64.example", isPrivate},
	{"redirect to private", "https://" + redirectHost + "/0", redirectHost + "/0", isPrivate},
	{"redirect to link-local", "https://" + redirectHost + "/1", redirectHost + "/1", isLinkLocal},
	{"redirect to mapped loopback", "https://" + redirectHost + "/2", redirectHost + "/2", isLoopback},
	{"redirect to a name of private", "https://" + redirectHost + "/3", redirectHost + "/3", isPrivate},
	{"redirect to http", "https://" + redirectHost + "/4", redirectHost + "/4", "redirects"},
	{"redirect to a file", "https://" + redirectHost + "/5", redirectHost + "/5", "redirects"},
	{"redirect with a password", "https://" + redirectHost + "/6", redirectHost + "/6", "redirects"},
	{"file", "file:///etc/shadow", "file:///etc/shadow", noScheme},
	{"program", "exec://reboot", "exec://reboot", noScheme},
	{"ssh", "ssh://" + goodHost, "ssh://" + goodHost, noScheme},
	{"sftp to private", "sftp://10.0.0.1", "sftp://10.0.0.1", noScheme},
	{"password", "https://user:hunter2@" + goodHost, "", hasPassword},
}

// documentKind is a kind of document that leads to places.
type documentKind struct {
	// suffix is what stands behind places' beginnings there, so that they are
	// taken for what such a document names.
	suffix string
	// publish puts documents with the URIs, in order, on the internet, and says
	// what the user has to do to meet them.
	publish func(t *testing.T, u *user, s *hostileSite, uris []string) (args []string)
	// blobs is set where the places are of blobs. They are asked until one has
	// the blob, so it takes a second pull, without a good one, to ask them all.
	blobs bool
	// told, where set, is what such a document's place is called, and why it is
	// refused.
	told func(hostilePlace) (shown, why string)
}

var documentKinds = map[string]documentKind{
	"oci-discovery, well-known": {
		suffix: "/index.json",
		publish: func(t *testing.T, u *user, s *hostileSite, uris []string) []string {
			s.put("/.well-known/oci-host-ref-engines", refEngines(engines("oci-index-template-v1", uris), engines("oci-cas-template-v1", []string{goodCAS})...))
			return []string{evilHost + "/team/app#app"}
		},
	},
	"casEngines of a host": {
		suffix: "/{digest}", blobs: true,
		publish: func(t *testing.T, u *user, s *hostileSite, uris []string) []string {
			s.put("/.well-known/oci-host-ref-engines", refEngines(engines("oci-index-template-v1", []string{goodIndex}), engines("oci-cas-template-v1", uris)...))
			return []string{evilHost + "/team/app#app"}
		},
	},
	"casEngines of an index": {
		suffix: "/{digest}", blobs: true,
		publish: func(t *testing.T, u *user, s *hostileSite, uris []string) []string {
			s.put("/.well-known/oci-host-ref-engines", refEngines(engines("oci-index-template-v1", []string{"/index"})))
			s.put("/index", s.index(t, document{"casEngines": engines("oci-cas-template-v1", uris)}))
			return []string{evilHost + "/team/app#app"}
		},
	},
	"casEngines of a descriptor": {
		suffix: "/{digest}", blobs: true,
		publish: func(t *testing.T, u *user, s *hostileSite, uris []string) []string {
			s.put("/.well-known/oci-host-ref-engines", refEngines(engines("oci-index-template-v1", []string{"/index"})))
			index := s.index(t, nil)
			for _, m := range index["manifests"].([]any) {
				m.(map[string]any)["casEngines"] = engines("oci-cas-template-v1", uris)
			}
			s.put("/index", index)
			return []string{evilHost + "/team/app#app"}
		},
	},
	"parcel, start": {
		suffix: "/dist",
		publish: func(t *testing.T, u *user, s *hostileSite, uris []string) []string {
			s.parcel(uris, []string{goodIndex}, []string{parcelCAS})
			return []string{"parcel:" + evilHost + "/team/app"}
		},
	},
	"parcel, indexURIs": {
		suffix: "/index.json",
		publish: func(t *testing.T, u *user, s *hostileSite, uris []string) []string {
			s.parcel([]string{"/dist"}, uris, []string{parcelCAS})
			return []string{"parcel:" + evilHost + "/team/app"}
		},
	},
	"parcel, blobURIs": {
		suffix: "/{parcel.fetch.blob.digest}", blobs: true,
		publish: func(t *testing.T, u *user, s *hostileSite, uris []string) []string {
			s.parcel([]string{"/dist"}, []string{goodIndex}, uris)
			return []string{"parcel:" + evilHost + "/team/app"}
		},
	},
	"abd": {
		suffix: "/index.json",
		publish: func(t *testing.T, u *user, s *hostileSite, uris []string) []string {
			s.put("/.well-known/abd-index/example.evil.app", []any{document{"name": "example.evil.app", "mirrors": uris}})
			return []string{"abd:example.evil.app"}
		},
	},
	"appc": {
		suffix: "/index.json",
		publish: func(t *testing.T, u *user, s *hostileSite, uris []string) []string {
			var page strings.Builder
			for _, uri := range uris {
				fmt.Fprintf(&page, "<meta name=\"ac-discovery\" content=\"%s/team %s\">\n", evilHost, html.EscapeString(uri))
			}
			s.put("/team/app?ac-discovery=1", "<html><head>"+page.String()+"</head></html>")
			return []string{"appc:" + evilHost + "/team/app"}
		},
	},
	"urls of descriptors": {
		suffix: "/layer", blobs: true,
		publish: func(t *testing.T, u *user, s *hostileSite, uris []string) []string {
			s.pulled = s.image.withURLs(t, func(d digest.Digest) []string {
				var all []string
				for _, uri := range uris {
					all = append(all, strings.ReplaceAll(uri, "{layer}", d.Encoded()))
				}
				return all
			})
			return []string{s.pulled.name()}
		},
	},
	"waybill": {
		suffix: "/layer", blobs: true,
		publish: func(t *testing.T, u *user, s *hostileSite, uris []string) []string {
			s.put("/app.waybill.json", s.billFor(t, s.layers(), uris))
			trustRedirects(u)
			return []string{s.image.withoutLayers(t).name(), "--waybill", "https://" + evilHost + "/app.waybill.json"}
		},
		told: unsigned,
	},
	"waybill that is found": {
		suffix: "/layer", blobs: true,
		publish: func(t *testing.T, u *user, s *hostileSite, uris []string) []string {
			s.put("/.well-known/oci-host-ref-engines", refEngines(engines("oci-index-template-v1", []string{"/index"})))
			s.put("/index", s.index(t, nil))
			s.put("/.well-known/waybill/sha256/"+s.image.desc.Digest.Encoded(), s.billFor(t, s.image.digests(t), uris))
			u.configure("[locate]\nnamed-information = false\n")
			trustRedirects(u)
			return []string{evilHost + "/team/app#app"}
		},
		told: unsigned,
	},
	"links of a web server": {
		suffix: "/layer", blobs: true,
		publish: func(t *testing.T, u *user, s *hostileSite, uris []string) []string {
			return s.linked(t, u, func(layer digest.Digest) (links []string) {
				for _, uri := range uris {
					links = append(links, "<"+strings.ReplaceAll(uri, "{layer}", layer.Encoded())+">; rel=duplicate")
				}
				return links
			})
		},
	},
	"metalink": {
		suffix: "/layer", blobs: true,
		publish: func(t *testing.T, u *user, s *hostileSite, uris []string) []string {
			return s.linked(t, u, func(layer digest.Digest) []string {
				var b strings.Builder
				fmt.Fprintf(&b, `<metalink xmlns="urn:ietf:params:xml:ns:metalink"><file name="layer"><hash type="sha-256">%s</hash>`, layer.Encoded())
				for _, uri := range uris {
					fmt.Fprintf(&b, "<url>%s</url>", html.EscapeString(strings.ReplaceAll(uri, "{layer}", layer.Encoded())))
				}
				s.put("/layer.meta4", b.String()+"</file></metalink>")
				return []string{`</layer.meta4>; rel=describedby; type="application/metalink4+xml"`}
			})
		},
	},
}

// unsigned is what becomes of the places in a waybill that nobody has signed.
func unsigned(p hostilePlace) (shown, why string) {
	if strings.Contains(p.uri, redirectHost) || p.why == hasPassword || p.uri == "file:///etc/shadow" || p.uri == "exec://reboot" {
		return p.shown, p.why
	}
	_, host, _ := strings.Cut(p.uri, "://") // all at one host is told at once
	return host, "isn't signed"
}

// goodPlace is the one of a kind that is of use.
func (k documentKind) goodPlace(name string) string {
	switch {
	case name == "parcel, start":
		return "/dist"
	case name == "parcel, blobURIs":
		return parcelCAS
	case strings.HasPrefix(name, "waybill"):
		return "/blobs/sha256/{layer}" // its own origin
	case name == "urls of descriptors", name == "links of a web server", name == "metalink":
		return "https://" + goodHost + "/blobs/sha256/{layer}"
	case k.suffix == "/{digest}":
		return goodCAS
	}
	return goodIndex
}

// in is the place's URI in a document of a kind.
func (p hostilePlace) in(k documentKind) string {
	if p.uri == "file:///etc/shadow" && !strings.Contains(k.suffix, "{") {
		return p.uri
	}
	return p.uri + k.suffix
}

// TestHostileDocuments: wherever documents would send this machine that nobody
// else may send it, nobody is connected to; each place is refused by itself and
// named in the trace with the reason; and the image comes from the place that is
// left.
func TestHostileDocuments(t *testing.T) {
	t.Parallel()
	s := newHostileSite(t)
	if s == nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(documentKinds)) {
		kind := documentKinds[name]
		t.Run(name, func(t *testing.T) {
			var uris []string
			for _, p := range hostilePlaces {
				uris = append(uris, p.in(kind))
			}
			all := append(slices.Clone(uris), kind.goodPlace(name))
			tell := func(uris []string, code int) {
				t.Helper()
				s.reset()
				u := s.net.user(t)
				o := u.run(append([]string{"pull"}, kind.publish(t, u, s, uris)...)...)
				s.net.nobodyInside(t)
				if o.code != code && (code == 0 || o.code == 0) {
					t.Fatalf("%s\nwant exit code %d", o, code)
				}
				o.never("hunter2")
				if code == 0 {
					s.wantPulled(t, u)
				}
				if kind.blobs == (code == 0) {
					return // places of blobs are asked until one has them
				}
				kind.named(t, u, o)
			}
			tell(all, 0)
			if kind.blobs {
				tell(uris, 1)
			}
		})
	}
}

// named fails the test unless each hostile place is named, with the reason, both
// on stderr and among the events of the record.
func (k documentKind) named(t *testing.T, u *user, o *outcome) {
	t.Helper()
	var story struct {
		Events []struct{ Source, Detail string }
	}
	u.run("explain", "--json").exits(0).never("hunter2").decode(&story)
	var events []string
	for _, e := range story.Events {
		events = append(events, e.Source+" "+e.Detail)
	}
	for _, p := range hostilePlaces {
		shown, why := p.shown, p.why
		if k.told != nil {
			shown, why = k.told(p)
		}
		reason := regexp.MustCompile(why)
		said := func(line string) bool { return strings.Contains(line, shown) && reason.MatchString(line) }
		if !slices.ContainsFunc(strings.Split(o.stderr, "\n"), said) {
			t.Errorf("stderr doesn't name %s (%s: %s)", p.name, shown, why)
		}
		if !slices.ContainsFunc(events, said) {
			t.Errorf("no event names %s (%s: %s)", p.name, shown, why)
		}
	}
	if t.Failed() {
		t.Logf("stderr: %s\nevents:\n%s", o.stderr, strings.Join(events, "\n"))
	}
}
