package resolve_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/resolve"
	"github.com/waybill-project/waybill/store"
	"github.com/waybill-project/waybill/transport"
)

const manifest = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]}`

var desc = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: digest.FromString(manifest), Size: int64(len(manifest))}

// script is a registry that fails as told and counts what it is asked.
type script struct {
	gets, heads int
	head        ocispec.Descriptor
	fail        []error // of the first requests
}

func (s *script) next() error {
	if len(s.fail) == 0 {
		return nil
	}
	err := s.fail[0]
	s.fail = s.fail[1:]
	return err
}

func (s *script) Get(context.Context, string, string, string) (ocispec.Descriptor, []byte, error) {
	s.gets++
	if err := s.next(); err != nil {
		return ocispec.Descriptor{}, nil, err
	}
	return desc, []byte(manifest), nil
}

func (s *script) Head(context.Context, string, string, string) (ocispec.Descriptor, error) {
	s.heads++
	if err := s.next(); err != nil {
		return ocispec.Descriptor{}, err
	}
	return s.head, nil
}

func TestRegistryAsksAsLittleAsPossible(t *testing.T) {
	other := desc
	other.Digest = digest.FromString("moved")
	gone := transport.Errorf(transport.ErrNotFound, "u", "gone")
	down := transport.Errorf(transport.ErrTemporary, "u", "down")
	for what, test := range map[string]struct {
		name        string
		known       ocispec.Descriptor
		script      script
		gets, heads int
		resolver    string
		err         error
	}{
		"a tag for the first time":       {name: "h.example/a:1", gets: 1, resolver: "registry"},
		"a tag that is known":            {name: "h.example/a:1", known: desc, script: script{head: desc}, heads: 1, resolver: "registry"},
		"a tag that moved":               {name: "h.example/a:1", known: other, script: script{head: desc}, heads: 1, gets: 1, resolver: "registry"},
		"a tag that went":                {name: "h.example/a:1", known: desc, script: script{fail: []error{gone}}, heads: 1, err: resolve.ErrNotFound},
		"a registry that can't do HEAD":  {name: "h.example/a:1", known: desc, script: script{fail: []error{down}}, heads: 1, gets: 1, resolver: "registry"},
		"a digest for the first time":    {name: "h.example/a@" + string(desc.Digest), gets: 1, resolver: "registry"},
		"a digest that is known":         {name: "h.example/a@" + string(desc.Digest), known: desc, resolver: "digest"},
		"a digest that the tag is not":   {name: "h.example/a:1@" + string(desc.Digest), known: other, gets: 1, resolver: "registry"},
		"a tag nobody knows":             {name: "h.example/a:1", script: script{fail: []error{gone}}, gets: 1, err: resolve.ErrNotFound},
		"a registry that is down":        {name: "h.example/a:1", script: script{fail: []error{down}}, gets: 1, err: transport.ErrTemporary},
		"a tag beside a digest is known": {name: "h.example/a:1@" + string(desc.Digest), known: desc, resolver: "digest"},
	} {
		t.Run(what, func(t *testing.T) {
			n, err := name.Parse(test.name)
			if err != nil {
				t.Fatal(err)
			}
			s := test.script
			got, err := resolve.Names{name.Registry: resolve.Registry{Client: &s}}.Resolve(context.Background(), n, test.known)
			if !errors.Is(err, test.err) || s.gets != test.gets || s.heads != test.heads {
				t.Fatalf("%v after %d GET and %d HEAD; want %v after %d and %d", err, s.gets, s.heads, test.err, test.gets, test.heads)
			}
			if err == nil && (got.Descriptor.Digest != desc.Digest || got.By.Resolver != test.resolver || got.By.Time.IsZero()) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestRetry(t *testing.T) {
	busy := &transport.Error{Kind: transport.ErrThrottled, URI: "u", RetryAfter: time.Millisecond, Err: errors.New("429")}
	never := &transport.Error{Kind: transport.ErrThrottled, URI: "u", RetryAfter: time.Hour, Err: errors.New("429")}
	down := transport.Errorf(transport.ErrTemporary, "u", "503")
	gone := transport.Errorf(transport.ErrNotFound, "u", "404")
	n, err := name.Parse("h.example/a:1")
	if err != nil {
		t.Fatal(err)
	}
	for what, test := range map[string]struct {
		fail []error
		gets int
		err  error
	}{
		"busy, then down, then well":       {[]error{busy, down}, 3, nil},
		"down for ever":                    {[]error{down, down, down, down, down}, 3, transport.ErrTemporary},
		"asks to be left alone for long":   {[]error{never}, 1, transport.ErrThrottled},
		"what isn't there won't be either": {[]error{gone}, 1, resolve.ErrNotFound},
	} {
		t.Run(what, func(t *testing.T) {
			s := script{fail: test.fail}
			told := 0
			r := resolve.Retry{Resolver: resolve.Registry{Client: &s}, Attempts: 3, Observe: func(error, time.Duration) { told++ }}
			_, err := r.Resolve(context.Background(), n, ocispec.Descriptor{})
			if !errors.Is(err, test.err) || s.gets != test.gets || told != test.gets-1 {
				t.Errorf("%v after %d requests, told %d times", err, s.gets, told)
			}
		})
	}
}

// mute never answers.
type mute struct{}

func (mute) Resolve(ctx context.Context, _ name.Name, _ ocispec.Descriptor) (resolve.Resolution, error) {
	<-ctx.Done()
	return resolve.Resolution{}, ctx.Err()
}

func TestRetryTimesOut(t *testing.T) {
	r := resolve.Retry{Resolver: mute{}, Attempts: 2, Timeout: time.Millisecond}
	_, err := r.Resolve(context.Background(), name.Name{}, ocispec.Descriptor{})
	if !errors.Is(err, transport.ErrTemporary) || !strings.Contains(err.Error(), "no answer in 1ms") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := (resolve.Retry{Resolver: mute{}}).Resolve(ctx, name.Name{}, ocispec.Descriptor{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: got %v", err)
	}
}

func TestStore(t *testing.T) {
	st, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	lease, err := st.Lease("test")
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release()
	if err := lease.Hold(desc.Digest); err != nil {
		t.Fatal(err)
	}
	if err := st.Put(desc.Digest, []byte(manifest)); err != nil {
		t.Fatal(err)
	}
	when := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := st.PutRef(store.Ref{Name: "h.example/a:1", Descriptor: desc, ResolvedBy: "docker://h.example/a", Time: when}); err != nil {
		t.Fatal(err)
	}
	for in, want := range map[string]error{
		"h.example/a:1":                        nil,
		"h.example/a:2":                        resolve.ErrNotFound,
		"h.example/b@" + string(desc.Digest):   nil,
		string(desc.Digest):                    nil,
		string(digest.FromString("not there")): resolve.ErrNotFound,
	} {
		n, err := name.Parse(in)
		if err != nil {
			t.Fatal(err)
		}
		got, err := resolve.Store{Refs: st}.Resolve(context.Background(), n, ocispec.Descriptor{})
		if !errors.Is(err, want) || want == nil && (got.Descriptor.Digest != desc.Digest || got.Descriptor.Size != desc.Size || got.Descriptor.MediaType != desc.MediaType) {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
}
