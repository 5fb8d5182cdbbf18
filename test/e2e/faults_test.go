package e2e

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/waybill-project/waybill/internal/faultserver"
	"github.com/waybill-project/waybill/test/realserver"
)

func withoutAuthorization(r *http.Request) bool { return r.Header.Get("Authorization") == "" }

// TestEightSources is the pull the product is for: of eight places one is good
// and each other is bad in a way of its own. The image's name is a registry that
// wants a password and has the manifest, but no layers.
func TestEightSources(t *testing.T) {
	i := randomImage(t, 24<<20, 24<<20, 8<<20)
	registry := startRegistry(t, realserver.RegistryOptions{User: "ann", Password: "secret"})
	i.push(t, registry.Host+"/app:1", "--dest-creds", "ann:secret")
	for _, l := range i.layers {
		removeFile(t, registry.BlobFile(l.Digest.String()))
	}

	const rate = 5 << 20
	var first atomic.Bool
	bad := []struct {
		name   string
		fault  faultserver.Fault
		reason string // what explain must say of it, as a pattern
	}{
		{"lies in a single range", faultserver.Fault{
			// The first content asked of it is wrong, and all else is right.
			Match: func(r *http.Request) bool { return r.Method == http.MethodGet && first.CompareAndSwap(false, true) },
			Lie:   &faultserver.Lie{Seed: 7},
		}, `(?i)wrong|differ|mismatch|verif`},
		{"stalls", faultserver.Fault{Body: faultserver.BodyStall, After: 100_000}, `(?i)stall|no byte|nothing|no data|slow|time|deadline`},
		{"sends a byte a second", faultserver.Fault{Rate: 1}, `(?i)slow|rate|crawl|stall|/s\b|first byte`},
		{"redirects for ever", faultserver.Fault{Redirect: &faultserver.Redirect{Hops: -1}}, `(?i)redirect`},
		{"answers gzip", faultserver.Fault{Gzip: true}, `(?i)gzip|coding|encod`},
		{"never ends", faultserver.Fault{Body: faultserver.BodyEndless}, `(?i)more (bytes )?than|end|length|too long|beyond|past`},
		{"demands credentials", faultserver.Fault{Status: 401, Challenge: `Basic realm="give me"`}, `(?i)401|unauthori[sz]ed|credential|authenticat`},
	}
	u := newUser(t)
	u.login(registry.Host, "ann", "secret")
	args := []string{"pull", "--json", "-v", registry.Host + "/app:1"}
	var servers []*faultserver.Server
	for _, b := range bad {
		s := startFaults(t, faultserver.Options{Blobs: i.blobs(t), Rate: rate, Faults: []faultserver.Fault{b.fault}})
		servers = append(servers, s)
		args = append(args, "--from", s.URL()+"/")
	}
	good := startFaults(t, faultserver.Options{Blobs: i.blobs(t), Rate: rate})
	args = append(args, "--from", good.URL()+"/")

	began := time.Now()
	o := u.run(args...).exits(0).never("secret", basic("ann", "secret"))
	alone := time.Duration(float64(i.size(t)) / rate * float64(time.Second))
	t.Logf("took %v; the good source alone needs %v", time.Since(began).Round(time.Millisecond), alone.Round(time.Millisecond))
	var pull pullDoc
	o.decode(&pull)
	wantStored(t, u, i, i.digests(t)...)

	var explain explainDoc
	u.run("explain", "--json", pull.Pull).exits(0).decode(&explain)
	for n, b := range bad {
		if sent := servers[n].Stats().Authorizations; sent != 0 {
			t.Errorf("the source that %s was sent credentials %d times", b.name, sent)
		}
		s, ok := explain.source(servers[n].Host())
		if !ok {
			t.Errorf("explain doesn't know the source that %s", b.name)
			continue
		}
		if s.Status == "used" || s.Status == "unused" || !regexp.MustCompile(b.reason).MatchString(s.Reason) {
			t.Errorf("explain of the source that %s: status %q, reason %q (want one like %s), %d bytes, events:\n%s",
				b.name, s.Status, s.Reason, b.reason, s.Bytes, explain.eventsOf(servers[n].Host()))
		}
	}
	if sent := good.Stats().Authorizations; sent != 0 {
		t.Errorf("the good source was sent credentials %d times", sent)
	}
	if s, ok := explain.source(good.Host()); !ok || s.Status != "used" {
		t.Errorf("explain of the good source: %+v", s)
	}
	// Nothing that was good is asked for twice, but for what was under way when
	// another source finished it.
	if sent, most := good.Stats().Bytes, i.size(t)*3/2; sent > most {
		t.Errorf("the good source sent %d bytes for an image of %d", sent, i.size(t))
	}
}

// source is what explain says of the source at a host.
func (e explainDoc) source(host string) (explainedSource, bool) {
	for _, s := range e.Sources {
		if strings.Contains(s.URI, host) {
			return s, true
		}
	}
	return explainedSource{}, false
}

// eventsOf are the events that name the source at a host, a line each.
func (e explainDoc) eventsOf(host string) string {
	var lines strings.Builder
	for _, event := range e.Events {
		if strings.Contains(string(event), host) {
			lines.Write(event)
			lines.WriteString("\n")
		}
	}
	return lines.String()
}

// TestAllSourcesLie has nobody who tells the truth about a layer.
func TestAllSourcesLie(t *testing.T) {
	i := randomImage(t, 4<<20)
	lied := i.layers[0]
	const offset, length = 1_500_000, 70_000
	var servers []*faultserver.Server
	args := []string{}
	for seed := range uint64(3) {
		s := startFaults(t, faultserver.Options{
			Blobs:  i.blobs(t),
			Faults: []faultserver.Fault{{Lie: &faultserver.Lie{Offset: offset, Length: length, Seed: seed}}},
		})
		servers = append(servers, s)
		args = append(args, "--from", s.URL()+"/")
	}
	check := func(t *testing.T, u *user, o *outcome) {
		t.Helper()
		o.exits(4).says(lied.Digest.String())
		for _, s := range servers {
			o.says(s.Host())
		}
		if !namesRangeWithin(o.stderr, offset, length) {
			t.Errorf("%s\nno range that overlaps the wrong bytes %d-%d is named", o, offset, offset+length-1)
		}
		for _, d := range u.stored() {
			if d == lied.Digest {
				t.Error("the layer was stored though nobody had it right")
			}
		}
		wantSound(t, u)
		var ls []listedImage
		u.run("ls", "--json").exits(0).decode(&ls)
		if len(ls) != 0 {
			t.Errorf("ls: %+v", ls)
		}
	}
	t.Run("pull", func(t *testing.T) {
		u := newUser(t)
		check(t, u, u.run(append([]string{"pull", i.withoutLayers(t).name()}, args...)...))
	})
	t.Run("fetch", func(t *testing.T) {
		u := newUser(t)
		o := u.run(append([]string{"fetch", lied.Digest.String(), "--size", size(lied.Size)}, args...)...)
		if o.stdout != "" {
			t.Errorf("%d bytes of unverified content on stdout", len(o.stdout))
		}
		check(t, u, o)
		wantOnlyStored(t, u)
	})
	t.Run("json", func(t *testing.T) {
		u := newUser(t)
		f := u.run(append([]string{"pull", "--json", i.withoutLayers(t).name()}, args...)...).exits(4).failure()
		for _, s := range servers {
			f.wantSource(t, s.Host())
		}
	})
}

// wantSource fails the test unless the failure names a source at host and why
// it failed.
func (f failureDoc) wantSource(t *testing.T, host string) {
	t.Helper()
	for _, s := range f.Sources {
		if strings.Contains(s.URI, host) {
			if s.Error == "" {
				t.Errorf("no error for %s", s.URI)
			}
			return
		}
	}
	t.Errorf("the failure doesn't name the source at %s: %+v", host, f)
}

// namesRangeWithin looks for "bytes A-B" (or the like) that overlaps the range.
func namesRangeWithin(text string, offset, length int64) bool {
	for _, m := range regexp.MustCompile(`(\d+)\s?(?:-|–|\.\.|to)\s?(\d+)`).FindAllStringSubmatch(text, -1) {
		from, err := strconv.ParseInt(m[1], 10, 64)
		if err != nil {
			continue
		}
		to, err := strconv.ParseInt(m[2], 10, 64)
		if err == nil && from <= to && from < offset+length && to >= offset {
			return true
		}
	}
	return false
}

// TestNowhere asks for what nobody has.
func TestNowhere(t *testing.T) {
	i := randomImage(t, 1<<20)
	registry := startRegistry(t, realserver.RegistryOptions{})
	i.push(t, registry.Host+"/app:1")
	removeFile(t, registry.BlobFile(i.layers[0].Digest.String()))
	a := startNginx(t, t.TempDir(), realserver.NginxOptions{})
	b := startNginx(t, t.TempDir(), realserver.NginxOptions{})
	empty := t.TempDir()
	from := []string{"--from", a.URL + "/", "--from", b.URL + "/{algorithm}/{encoded}", "--from", "file://" + empty}

	t.Run("layer", func(t *testing.T) {
		u := newUser(t)
		o := u.run(append([]string{"pull", registry.Host + "/app:1"}, from...)...).exits(3)
		o.says(i.layers[0].Digest.String())
		wantLineForEach(t, o, registry.Host, a.Host, b.Host, empty)
		wantSound(t, u)
	})
	t.Run("tag", func(t *testing.T) {
		u := newUser(t)
		o := u.run("pull", registry.Host+"/app:none").exits(3)
		wantLineForEach(t, o, registry.Host)
		wantOnlyStored(t, u)
	})
	t.Run("digest", func(t *testing.T) {
		u := newUser(t)
		o := u.run(append([]string{"fetch", "sha256:" + strings.Repeat("0", 64)}, from...)...).exits(3)
		wantLineForEach(t, o, a.Host, b.Host, empty)
		wantOnlyStored(t, u)
	})
	t.Run("json", func(t *testing.T) {
		f := newUser(t).run(append([]string{"pull", "--json", registry.Host + "/app:1"}, from...)...).exits(3).failure()
		for _, host := range []string{registry.Host, a.Host, b.Host, empty} {
			f.wantSource(t, host)
		}
	})
}

// wantLineForEach fails the test unless stderr has a line for every source, and
// after them a last line that says what to do.
func wantLineForEach(t *testing.T, o *outcome, sources ...string) {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(o.stderr), "\n")
	before := strings.Join(lines[:len(lines)-1], "\n")
	for _, s := range sources {
		if !strings.Contains(before, s) {
			t.Errorf("%s\nno line for the source %s before the last one", o, s)
		}
	}
	if strings.TrimSpace(lines[len(lines)-1]) == "" {
		t.Errorf("%s\nthe last line says nothing", o)
	}
}

// TestSingleFaults pulls from one bad source and one slow good one, for each way
// to be bad: the pull must succeed and store only what is right.
func TestSingleFaults(t *testing.T) {
	faults := map[string]faultserver.Fault{
		"wrong at once":          {Lie: &faultserver.Lie{Length: 1}},
		"wrong at the end":       {Lie: &faultserver.Lie{Offset: -1}},
		"other lies every time":  {Lie: &faultserver.Lie{Offset: 1 << 20, Length: 1000, Fresh: true}},
		"short bodies":           {Body: faultserver.BodyShort, After: 300_000},
		"truncated bodies":       {Body: faultserver.BodyTruncated, After: 300_000},
		"ranges ignored":         {Ranges: faultserver.RangesIgnored},
		"other ranges":           {Ranges: faultserver.RangesOther},
		"no Content-Range":       {Ranges: faultserver.RangesMissing},
		"malformed ranges":       {Ranges: faultserver.RangesMalformed},
		"multipart ranges":       {Ranges: faultserver.RangesMultipart},
		"wrong total":            {Ranges: faultserver.RangesWrongTotal},
		"ranges unsatisfiable":   {Ranges: faultserver.RangesUnsatisfiable},
		"throttled":              {Status: 429, RetryAfter: time.Hour},
		"throttled once":         {First: 1, Status: 429, RetryAfter: time.Second},
		"server error":           {Status: 503},
		"reset at accept":        {Reset: faultserver.ResetAccept},
		"reset after request":    {Reset: faultserver.ResetRequest},
		"reset in headers":       {Reset: faultserver.ResetHeaders},
		"reset in body":          {Reset: faultserver.ResetBody, After: 100_000},
		"no answer at all":       {StallHeaders: true},
		"forbidden":              {Status: 403},
		"redirect to the same":   {Redirect: &faultserver.Redirect{}},
		"redirect to link-local": {Redirect: &faultserver.Redirect{To: "http://169.254.169.254"}},
		"redirect to a file":     {Redirect: &faultserver.Redirect{To: "file://"}},
	}
	i := randomImage(t, 6<<20)
	partial := i.withoutLayers(t)
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad := startFaults(t, faultserver.Options{Blobs: i.blobs(t), Faults: []faultserver.Fault{fault}})
			good := startFaults(t, faultserver.Options{Blobs: i.blobs(t), Rate: 4 << 20})
			u := newUser(t)
			u.run("pull", partial.name(), "--from", bad.URL()+"/", "--from", good.URL()+"/").exits(0)
			wantStored(t, u, i, i.digests(t)...)
		})
	}
}

// TestOneSourceAlone pulls from a single source whose fault can be lived with.
func TestOneSourceAlone(t *testing.T) {
	faults := map[string]faultserver.Fault{
		"ranges ignored":   {Ranges: faultserver.RangesIgnored},
		"short at first":   {First: 2, Body: faultserver.BodyShort, After: 300_000},
		"reset at first":   {First: 2, Reset: faultserver.ResetBody, After: 100_000},
		"busy at first":    {First: 2, Status: 503},
		"throttled":        {First: 2, Status: 429, RetryAfter: time.Second},
		"throttled, dated": {First: 1, Status: 429, RetryAfter: 2 * time.Second, RetryAfterDate: true},
	}
	i := randomImage(t, 3<<20)
	partial := i.withoutLayers(t)
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startFaults(t, faultserver.Options{Blobs: i.blobs(t), Faults: []faultserver.Fault{fault}})
			u := newUser(t)
			u.run("pull", partial.name(), "--from", s.URL()+"/").exits(0)
			wantStored(t, u, i, i.digests(t)...)
			if fault.First > 0 && s.Stats().Bytes > 2*i.size(t) {
				t.Errorf("%d bytes were sent for an image of %d", s.Stats().Bytes, i.size(t))
			}
		})
	}
}

// TestEndlessAlone pulls from a source whose answers have the right bytes and
// then never end: the image is there, and no more was read than it has.
func TestEndlessAlone(t *testing.T) {
	i := randomImage(t, 1<<20)
	s := startFaults(t, faultserver.Options{
		Blobs:  i.blobs(t),
		Faults: []faultserver.Fault{{Body: faultserver.BodyEndless}},
	})
	u := newUser(t)
	u.run("pull", i.withoutLayers(t).name(), "--from", s.URL()+"/").exits(0)
	wantStored(t, u, i, i.digests(t)...)
	for _, r := range s.Requests() {
		if r.Bytes > r.Length+endlessBuffers {
			t.Errorf("a request for %d bytes was sent %d", r.Length, r.Bytes)
		}
	}
}

// endlessBuffers bounds what the kernels of both sides take from a server that
// writes as fast as it can, when nobody reads any more.
const endlessBuffers = 16 << 20
