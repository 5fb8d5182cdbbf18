package locate_test

import (
	"context"
	"fmt"
	"iter"
	"runtime"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/locate"
	"github.com/waybill-project/waybill/transport"
)

// mute is a locator that never answers.
var mute = locate.Func(func(ctx context.Context, _ ocispec.Descriptor) iter.Seq2[transport.Route, error] {
	return func(func(transport.Route, error) bool) { <-ctx.Done() }
})

// locators are twelve, of every kind that asks nobody, the first three of which
// never answer if silent is set.
func locators(t testing.TB, silent bool) locate.Locator {
	t.Helper()
	list := []locate.Locator{locate.URLs(nil)}
	for _, uri := range []string{
		"docker://registry.example/app", "docker://mirror.example/app", "https://h.example/blobs/", "https://cdn.example/{algorithm}/{encoded:2}/{encoded}",
		"ni://h.example", "sftp://h.example/srv", "s3://bucket/prefix", "oci:/srv/layout",
	} {
		l, err := locate.From(uri, "--from")
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, l)
	}
	for i := range 3 {
		if silent {
			list = append([]locate.Locator{mute}, list...)
			continue
		}
		l, err := locate.From(fmt.Sprintf("file:///srv/%d", i), "--from")
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, l)
	}
	return locate.All(list...)
}

// descriptor is the i-th of an index.
func descriptor(i int) ocispec.Descriptor {
	return ocispec.Descriptor{
		Digest: digest.FromString(fmt.Sprint(i)), Size: int64(i),
		URLs: []string{fmt.Sprintf("https://foreign.example/%d", i), fmt.Sprintf("https://ann:pw@foreign.example/%d", i)},
	}
}

// heap returns how many bytes of it are in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Nothing is kept of a blob that was located: of the 100,000 of a large index as
// little as of the first thousand.
func TestMemoryIsFlat(t *testing.T) {
	const blobs, leeway = 100_000, 512 << 10
	l := locators(t, false)
	var early, most int64
	routes, began := 0, time.Now()
	for i := range blobs {
		for _, err := range l.Locate(t.Context(), descriptor(i)) {
			if err != nil {
				t.Fatal(err)
			}
			routes++
		}
		if (i+1)%10_000 == 0 || i == 1000 {
			used := heap()
			if early == 0 {
				early = used
			}
			most = max(most, used)
		}
	}
	if want := blobs * 12; routes != want {
		t.Errorf("%d routes, want %d", routes, want)
	}
	if most-early > leeway {
		t.Errorf("%d bytes in use after 1,000 blobs, %d at most after more", early, most)
	}
	t.Logf("%d blobs, %d routes: %.1f µs for a blob; heap %.2f MiB after 1,000, at most %.2f MiB after more; %d goroutines at the end",
		blobs, routes, float64(time.Since(began).Microseconds())/blobs, float64(early)/(1<<20), float64(most)/(1<<20), runtime.NumGoroutine())
}

// Three of twelve locators never answer: what the others know is there all the
// same. (Were it held up, this would not end.)
func TestSilentLocators(t *testing.T) {
	l := locators(t, true)
	before := runtime.NumGoroutine()
	var first, worst time.Duration
	const blobs = 200
	for i := range blobs {
		began, n := time.Now(), 0
		for _, err := range l.Locate(t.Context(), descriptor(i)) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == 1 {
				took := time.Since(began)
				first, worst = first+took, max(worst, took)
			}
			if n == 9 {
				break
			}
		}
	}
	t.Logf("first route of a blob after %v on average, %v at worst", first/blobs, worst)
	if now := runtime.NumGoroutine(); now > before+10 {
		t.Errorf("%d goroutines, %d before", now, before)
	}
}

// BenchmarkFirstRoute is how soon the first route of a blob is there: of a lone
// locator that knows it at once, and of twelve of which three never answer.
func BenchmarkFirstRoute(b *testing.B) {
	alone, err := locate.From("https://h.example/blobs/", "--from")
	if err != nil {
		b.Fatal(err)
	}
	for name, l := range map[string]locate.Locator{"alone": alone, "twelve, three silent": locators(b, true)} {
		b.Run(name, func(b *testing.B) {
			for i := 0; b.Loop(); i++ {
				for range l.Locate(b.Context(), descriptor(i)) {
					break
				}
			}
		})
	}
}
