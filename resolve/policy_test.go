package resolve_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/resolve"
	"github.com/waybill-project/waybill/store"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/layout"
)

// says is a resolver with one answer: a digest of the text, or an error.
type says struct {
	text string
	err  error
}

func (s says) Resolve(context.Context, name.Name, ocispec.Descriptor) (resolve.Resolution, error) {
	if s.err != nil {
		return resolve.Resolution{}, s.err
	}
	d := ocispec.Descriptor{Digest: digest.FromString(s.text), Size: int64(len(s.text))}
	return resolve.Resolution{Descriptor: d, By: resolve.Testimony{Resolver: "says", URI: "u:" + s.text, Time: time.Now()}}, nil
}

var (
	tag      = name.Name{Kind: name.Registry, Host: "h.example", Repository: "a", Tag: "1"}
	unknown  = says{err: resolve.ErrNotFound}
	down     = says{err: transport.Errorf(transport.ErrTemporary, "u", "connection refused")}
	busy     = says{err: transport.Errorf(transport.ErrThrottled, "u", "429")}
	denied   = says{err: transport.Errorf(transport.ErrUnauthorized, "u", "401")}
	forged   = says{err: transport.Errorf(transport.ErrPermanent, "u", "bad certificate")}
	blocked  = says{err: transport.Errorf(transport.ErrRefused, "u", "blocked")}
	one, two = says{text: "one"}, says{text: "two"}
)

func witnesses(all ...resolve.Resolver) []resolve.Witness {
	var ws []resolve.Witness
	for _, r := range all {
		ws = append(ws, resolve.Witness{Name: "registry", URI: "docker://" + string(rune('a'+len(ws))), Resolver: r})
	}
	return ws
}

func TestFirst(t *testing.T) {
	for what, test := range map[string]struct {
		ask   []resolve.Resolver
		want  string
		err   error
		notes int
	}{
		"the first that answers":               {[]resolve.Resolver{one, two}, "one", nil, 0},
		"the next where it isn't known":        {[]resolve.Resolver{unknown, two}, "two", nil, 1},
		"the next where nobody answers":        {[]resolve.Resolver{down, denied, two}, "two", nil, 2},
		"a refusal is final":                   {[]resolve.Resolver{blocked, two}, "", transport.ErrRefused, 0},
		"nobody knows":                         {[]resolve.Resolver{unknown, unknown}, "", resolve.ErrNotFound, 1},
		"one who might know couldn't be asked": {[]resolve.Resolver{unknown, down, denied}, "", transport.ErrTemporary, 2},
		"nobody to ask":                        {nil, "", transport.ErrRefused, 0},
		"one who is silent, and another":       {[]resolve.Resolver{mute{}, two}, "two", nil, 1},
	} {
		t.Run(what, func(t *testing.T) {
			notes := 0
			whole := time.Minute
			if slices.Contains(test.ask, resolve.Resolver(mute{})) {
				whole = time.Second
			}
			f := resolve.First{Witnesses: witnesses(test.ask...), Attempt: resolve.Patience{Whole: whole}, Note: func(string, string) { notes++ }}
			got, err := f.Resolve(t.Context(), tag, ocispec.Descriptor{})
			if !errors.Is(err, test.err) || err == nil && got.By.URI != "u:"+test.want || notes != test.notes {
				t.Errorf("got %+v, %v, %d notes", got.By, err, notes)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (resolve.First{Witnesses: witnesses(mute{}, one)}).Resolve(ctx, tag, ocispec.Descriptor{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestAgree(t *testing.T) {
	kept := func(r resolve.Resolver) resolve.Witness { return resolve.Witness{Name: resolve.StoreName, Resolver: r} }
	for what, test := range map[string]struct {
		ask  []resolve.Witness
		by   int
		err  error
		says []string
	}{
		"the same":                    {witnesses(one, one, one), 3, nil, nil},
		"another":                     {witnesses(one, two), 0, resolve.ErrDisagree, []string{"u:one says " + string(digest.FromString("one")) + " (says, 20", "u:two says " + string(digest.FromString("two"))}},
		"one doesn't know":            {witnesses(one, unknown), 0, resolve.ErrDisagree, []string{"docker://b doesn't know it (registry, 20"}},
		"nobody knows":                {witnesses(unknown, unknown), 0, resolve.ErrNotFound, nil},
		"one can't be asked":          {witnesses(one, down), 0, transport.ErrTemporary, []string{"not all can be asked: registry"}},
		"the store has no opinion":    {append(witnesses(one), kept(unknown)), 1, nil, nil},
		"the store has another":       {append(witnesses(one), kept(two)), 0, resolve.ErrDisagree, nil},
		"only the store knows":        {append(witnesses(unknown), kept(two)), 0, resolve.ErrDisagree, nil},
		"there is only one":           {witnesses(one), 0, transport.ErrRefused, []string{"only one to ask"}},
		"there is nobody":             {nil, 0, transport.ErrRefused, nil},
		"nobody knows, the store too": {append(witnesses(unknown), kept(unknown)), 0, resolve.ErrNotFound, nil},
	} {
		t.Run(what, func(t *testing.T) {
			got, err := resolve.Agree{Witnesses: test.ask}.Resolve(t.Context(), tag, ocispec.Descriptor{})
			if !errors.Is(err, test.err) || err == nil && len(got.By.All()) != test.by {
				t.Fatalf("got %+v, %v", got.By, err)
			}
			for _, s := range test.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%v doesn't say %q", err, s)
				}
			}
			if errors.Is(err, resolve.ErrDisagree) && (!errors.Is(err, transport.ErrRefused) || errors.Is(err, resolve.ErrNotFound)) {
				t.Errorf("%v is of the wrong kind", err)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := (resolve.Agree{Witnesses: witnesses(mute{}, one)}).Resolve(ctx, tag, ocispec.Descriptor{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// records is the store's refs.
type records map[string]store.Ref

func (r records) Ref(n string) (store.Ref, error) {
	ref, ok := r[n]
	if !ok {
		return ref, store.ErrNotFound
	}
	return ref, nil
}

func (records) ReadBlob(digest.Digest, int64) ([]byte, error) { return nil, store.ErrNotFound }

func TestAged(t *testing.T) {
	const old = "old"
	when := time.Now().Add(-49 * time.Hour)
	have := records{tag.String(): resolve.Ref(tag, ocispec.Descriptor{Digest: digest.FromString(old)}, resolve.Testimony{
		Resolver: "registry", URI: "docker://h.example/a", Time: when,
		Also: []resolve.Testimony{{Resolver: "mirrors", URI: "docker://ann:s3cret@m.example/a", Time: when}},
	})}
	for what, test := range map[string]struct {
		upstream  resolve.Resolver
		freshness resolve.Freshness
		none      bool // no record
		want      string
		err       error
		warned    bool
	}{
		"fresh, upstream answers":     {one, resolve.Fresh, false, "one", nil, false},
		"fresh, upstream is down":     {down, resolve.Fresh, false, "", transport.ErrTemporary, false},
		"unset is fresh":              {down, "", false, "", transport.ErrTemporary, false},
		"stale-ok, upstream answers":  {one, resolve.StaleOK, false, "one", nil, false},
		"stale-ok, upstream is down":  {down, resolve.StaleOK, false, old, nil, true},
		"stale-ok, upstream is busy":  {busy, resolve.StaleOK, false, old, nil, true},
		"stale-ok, upstream is mute":  {mute{}, resolve.StaleOK, false, old, nil, true},
		"stale-ok, the tag is gone":   {unknown, resolve.StaleOK, false, "", resolve.ErrNotFound, false},
		"stale-ok, nobody is let in":  {denied, resolve.StaleOK, false, "", transport.ErrUnauthorized, false},
		"stale-ok, not who it was":    {forged, resolve.StaleOK, false, "", transport.ErrPermanent, false},
		"stale-ok, refused":           {blocked, resolve.StaleOK, false, "", transport.ErrRefused, false},
		"stale-ok, no agreement":      {resolve.Agree{Witnesses: witnesses(one, two)}, resolve.StaleOK, false, "", resolve.ErrDisagree, false},
		"stale-ok, not all can agree": {resolve.Agree{Witnesses: witnesses(one, down)}, resolve.StaleOK, false, old, nil, true},
		"stale-ok, never seen":        {down, resolve.StaleOK, true, "", transport.ErrTemporary, false},
		"pinned":                      {one, resolve.Pinned, false, old, nil, false},
		"pinned, never seen":          {one, resolve.Pinned, true, "one", nil, false},
	} {
		t.Run(what, func(t *testing.T) {
			var warning string
			whole := time.Minute
			if test.upstream == resolve.Resolver(mute{}) {
				whole = time.Millisecond
			}
			a := resolve.Aged{Upstream: test.upstream, Refs: have, Freshness: test.freshness, Patience: resolve.Patience{Whole: whole},
				Note: func(where, text string) { warning = where + ": " + text }}
			if test.none {
				a.Refs = records{}
			}
			// As the program asks: what stands in must not wait for a Retry.
			retried := 0
			r := resolve.Retry{Resolver: a, Attempts: 2, Observe: func(error, time.Duration) { retried++ }}
			got, err := r.Resolve(t.Context(), tag, ocispec.Descriptor{})
			if !errors.Is(err, test.err) || err == nil && got.Descriptor.Digest != digest.FromString(test.want) || err == nil && retried > 0 {
				t.Fatalf("got %+v, %v after %d retries", got, err, retried)
			}
			if (warning != "") != test.warned || test.warned && (!strings.Contains(warning, "docker://h.example/a: ") || !strings.Contains(warning, "2 days old")) {
				t.Errorf("warned %q", warning)
			}
			if test.want == old {
				also := []string{got.By.Resolver}
				for _, w := range got.By.Also {
					also = append(also, w.Resolver+" "+w.URI)
				}
				if !got.By.Time.Equal(when) || !slices.Equal(also, []string{"store", "mirrors docker://ann:xxxxx@m.example/a"}) {
					t.Errorf("said by %q at %v", also, got.By.Time)
				}
			}
		})
	}
	broken := resolve.Aged{Upstream: one, Refs: corrupt{}, Freshness: resolve.Pinned}
	if _, err := broken.Resolve(t.Context(), tag, ocispec.Descriptor{}); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("a record that can't be read: %v", err)
	}
}

// corrupt is a store whose records can't be read.
type corrupt struct{ records }

func (corrupt) Ref(string) (store.Ref, error) { return store.Ref{}, store.ErrCorrupt }

// Names of IPNS and DNSLink say by what they were answered.
func TestPlacesSayWhoAnswered(t *testing.T) {
	for uri, want := range map[string]string{
		"ipns://k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8": "ipns",
		"ipns://images.example.org/app":                                         "dnslink",
		"sftp://host/dir":                                                       "oci",
	} {
		n, err := name.Parse(uri)
		if err != nil {
			t.Fatal(err)
		}
		got, err := resolve.Local{Finder: finds{}}.Resolve(t.Context(), n, ocispec.Descriptor{})
		if err != nil || got.By.Resolver != want || got.By.URI != uri || got.By.Time.IsZero() {
			t.Errorf("%s: said by %+v, %v", uri, got.By, err)
		}
	}
}

type finds struct{}

func (finds) Resolve(context.Context, name.Name) (layout.Found, error) {
	return layout.Found{Descriptor: desc}, nil
}
