package fetch_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/waybill-project/waybill/fetch"
	"github.com/waybill-project/waybill/internal/faultserver"
)

func asError(err error, e **fetch.Error) bool { return errors.As(err, e) }

func TestSingleSource(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int64{
		"one byte": 1, "small": 1000, "largest small": 512 << 10, "smallest large": 512<<10 + 1,
		"odd": 3*mb + 17, "large": 64 * mb,
	} {
		t.Run(name, func(t *testing.T) {
			b := faultserver.RandomBlob(uint64(size), size)
			s := serve(t, faultserver.Options{Blobs: []faultserver.Blob{b}})
			r := newRig(t)
			result := r.fetch(b, s)
			if result.Cached || len(sourcesOf(result)) != 1 {
				t.Errorf("result: %+v", result)
			}
			// More than one connection, which a slow machine may make worth
			// while, costs the end of a claim, and a machine that stands
			// still for seconds a claim: never so much as the blob again.
			if sent := s.Stats().Bytes; sent < size || sent >= 2*size {
				t.Errorf("the server sent %d bytes for a blob of %d", sent, size)
			}
			if again := r.fetch(b, s); !again.Cached {
				t.Error("fetched twice")
			}
			if left := r.leftovers(); len(left) != 0 {
				t.Errorf("ingests left: %+v", left)
			}
		})
	}
}

func TestEmptyBlobAsksNobody(t *testing.T) {
	b := faultserver.BytesBlob(nil)
	r := newRig(t)
	r.fetch(b)
}

func TestEmbeddedData(t *testing.T) {
	b := faultserver.BytesBlob([]byte("hello"))
	desc := describe(b)
	desc.Data = []byte("hello")
	r := newRig(t)
	result, err := r.Fetch(context.Background(), desc, nil)
	if err != nil || result.Served[0].Source != "data:" {
		t.Fatalf("%+v, %v", result, err)
	}
	r.check(b)
}

func TestEmbeddedDataThatLies(t *testing.T) {
	b := faultserver.BytesBlob([]byte("hello"))
	desc := describe(b)
	desc.Data = []byte("hullo")
	s := serve(t, faultserver.Options{Blobs: []faultserver.Blob{b}})
	r := newRig(t)
	if _, err := r.Fetch(context.Background(), desc, routes(b, s)); err != nil {
		t.Fatal(err)
	}
	r.check(b)
	r = newRig(t)
	_, err := r.Fetch(context.Background(), desc, nil)
	if !errors.Is(err, fetch.ErrVerification) {
		t.Fatalf("without a source: %v", err)
	}
}

// Every source serves a part in proportion to its rate.
func TestStripes(t *testing.T) {
	b := faultserver.RandomBlob(7, 48*mb)
	blobs := []faultserver.Blob{b}
	servers := []*faultserver.Server{
		serve(t, faultserver.Options{Blobs: blobs, Rate: 4 * mb}),
		serve(t, faultserver.Options{Blobs: blobs, Rate: 8 * mb}),
		serve(t, faultserver.Options{Blobs: blobs, Rate: 16 * mb}),
	}
	r := newRig(t)
	result := r.fetch(b, servers...)
	bytes := map[string]int64{}
	for _, s := range result.BySource() {
		bytes[s.Source] = s.Length
	}
	for i, s := range servers {
		want := b.Size * []int64{1, 2, 4}[i] / 7
		if got := bytes[s.URL()]; got < want/2 || got > want*2 {
			t.Errorf("source %d served %d bytes; its share is about %d", i, got, want)
		}
	}
}

// Faults that cost their source, not the pull.
func TestFaults(t *testing.T) {
	size := int64(12 * mb)
	for name, test := range map[string]struct {
		fault  faultserver.Fault
		status fetch.Status // the faulty source's, where it is certain
		reason string
		alone  error // what comes of it without the good source
	}{
		"200 for a range":         {fault: faultserver.Fault{Ranges: faultserver.RangesIgnored}},
		"206 with another range":  {faultserver.Fault{Ranges: faultserver.RangesOther}, fetch.StatusDemoted, "", fetch.ErrUnavailable},
		"malformed Content-Range": {faultserver.Fault{Ranges: faultserver.RangesMalformed}, fetch.StatusDemoted, "Content-Range", fetch.ErrUnavailable},
		"multipart":               {faultserver.Fault{Ranges: faultserver.RangesMultipart}, fetch.StatusDemoted, "multipart", fetch.ErrUnavailable},
		"wrong total":             {faultserver.Fault{Ranges: faultserver.RangesWrongTotal}, fetch.StatusDemoted, "bytes", fetch.ErrUnavailable},
		"416":                     {faultserver.Fault{Ranges: faultserver.RangesUnsatisfiable}, fetch.StatusDemoted, "416", fetch.ErrUnavailable},
		"gzip":                    {faultserver.Fault{Gzip: true}, fetch.StatusDemoted, "gzip", fetch.ErrUnavailable},
		"endless body":            {faultserver.Fault{Body: faultserver.BodyEndless}, fetch.StatusDemoted, "sent more", fetch.ErrUnavailable},
		"404":                     {faultserver.Fault{Status: 404}, fetch.StatusUnused, "", fetch.ErrNotFound},
		"401":                     {faultserver.Fault{Status: 401, Challenge: `Basic realm="x"`}, fetch.StatusRefused, "401", fetch.ErrUnavailable},
		"403":                     {faultserver.Fault{Status: 403}, fetch.StatusRefused, "403", fetch.ErrUnavailable},
		"500 for ever":            {faultserver.Fault{Status: 500}, fetch.StatusDemoted, "500", fetch.ErrUnavailable},
		"429 once":                {fault: faultserver.Fault{Status: 429, RetryAfter: time.Second, First: 1}},
		"500 twice":               {fault: faultserver.Fault{Status: 500, First: 2}},
		"redirect loop":           {faultserver.Fault{Redirect: &faultserver.Redirect{}}, fetch.StatusDemoted, "redirect", fetch.ErrUnavailable},
		"reset before an answer":  {faultserver.Fault{Reset: faultserver.ResetRequest}, fetch.StatusDemoted, "", fetch.ErrUnavailable},
		"reset at accept":         {faultserver.Fault{Reset: faultserver.ResetAccept}, fetch.StatusDemoted, "", fetch.ErrUnavailable},
		"reset in headers":        {faultserver.Fault{Reset: faultserver.ResetHeaders}, fetch.StatusDemoted, "", fetch.ErrUnavailable},
		"reset in bodies":         {fault: faultserver.Fault{Reset: faultserver.ResetBody, After: 500_000}},
		"short bodies":            {fault: faultserver.Fault{Body: faultserver.BodyShort, After: 500_000}},
		"truncated bodies":        {faultserver.Fault{Body: faultserver.BodyTruncated, After: 100_000}, fetch.StatusDemoted, "announces", fetch.ErrUnavailable},
		"wrong bytes everywhere":  {faultserver.Fault{Lie: &faultserver.Lie{Seed: 1}}, fetch.StatusQuarantined, "wrong bytes", fetch.ErrVerification},
		"wrong bytes from half":   {faultserver.Fault{Lie: &faultserver.Lie{Offset: size / 2, Seed: 1}}, "", "", fetch.ErrVerification},
		"wrong bytes early":       {faultserver.Fault{Lie: &faultserver.Lie{Length: 4096, Seed: 1}}, "", "", fetch.ErrVerification},
		"wrong last byte":         {faultserver.Fault{Lie: &faultserver.Lie{Offset: -1, Seed: 1}}, "", "", fetch.ErrVerification},
		"other lies each time":    {faultserver.Fault{Lie: &faultserver.Lie{Seed: 1, Fresh: true}}, fetch.StatusQuarantined, "wrong bytes", fetch.ErrVerification},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := faultserver.RandomBlob(uint64(size), size)
			bad := serve(t, faultserver.Options{Blobs: []faultserver.Blob{b}, Faults: []faultserver.Fault{test.fault}})
			good := serve(t, faultserver.Options{Blobs: []faultserver.Blob{b}, Rate: 24 * mb})
			r := newRig(t)
			r.fetch(b, bad, good)
			rep := r.report(bad)
			if test.status != "" && rep.Status != test.status || !names(rep.Reason, test.reason) {
				t.Errorf("the faulty source is %s (%s), want %s (%s)", rep.Status, rep.Reason, test.status, test.reason)
			}
			if rep := r.report(good); rep.Status != fetch.StatusUsed {
				t.Errorf("the good source is %s (%s)", rep.Status, rep.Reason)
			}

			alone := newRig(t, func(o *fetch.Options) { o.Stall = 3 * time.Second })
			bad.SetFaults(test.fault)
			bad.ResetStats()
			if test.alone == nil {
				alone.fetch(b, bad)
				return
			}
			e := alone.refuse(test.alone, b, bad)
			if !mentions(e, bad, test.reason) {
				t.Errorf("the error doesn't say what the source did: %s", e.Detail())
			}
			if test.alone == fetch.ErrVerification && len(alone.leftovers()) != 0 {
				t.Error("a lie was left on disk")
			}
		})
	}
}

// Sources that stop or crawl are left behind.
func TestStalls(t *testing.T) {
	size := int64(24 * mb)
	for name, fault := range map[string]faultserver.Fault{
		"no answer":                {StallHeaders: true},
		"stalls in the body":       {Body: faultserver.BodyStall, After: 100_000},
		"one byte a second":        {Rate: 1},
		"a kilobyte a second":      {Rate: 1000},
		"answers after 30 seconds": {Latency: 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := faultserver.RandomBlob(3, size)
			bad := serve(t, faultserver.Options{Blobs: []faultserver.Blob{b}, Faults: []faultserver.Fault{fault}})
			good := serve(t, faultserver.Options{Blobs: []faultserver.Blob{b}, Rate: 8 * mb})
			r := newRig(t)
			r.fetch(b, bad, good)
			if got := r.report(bad); got.Bytes > mb {
				t.Errorf("the bad source served %d bytes", got.Bytes)
			}
		})
	}
}

func TestStallAloneFailsAndKeepsWhatCame(t *testing.T) {
	t.Parallel()
	b := faultserver.RandomBlob(3, 16*mb)
	bad := serve(t, faultserver.Options{Blobs: []faultserver.Blob{b},
		Faults: []faultserver.Fault{{Body: faultserver.BodyStall, After: 600_000, First: 1}, {StallHeaders: true}}})
	r := newRig(t, func(o *fetch.Options) { o.Stall, o.FirstByte = time.Second, time.Second })
	r.refuse(fetch.ErrUnavailable, b, bad)
	left := r.leftovers()
	if len(left) != 1 || left[0].Recorded < 500_000 {
		t.Fatalf("kept: %+v", left)
	}
	bad.SetFaults()
	result := r.fetch(b, bad)
	// What was received in all; a cut connection may have been sent more.
	if got := r.report(bad).Received; result.Resumed < 500_000 || got > b.Size+100_000 {
		t.Errorf("resumed %d, received %d in all of %d", result.Resumed, got, b.Size)
	}
}

func TestSourceDies(t *testing.T) {
	t.Parallel()
	b := faultserver.RandomBlob(5, 32*mb)
	dying := serve(t, faultserver.Options{Blobs: []faultserver.Blob{b}, Rate: 16 * mb, DieAfter: 6 * mb})
	other := serve(t, faultserver.Options{Blobs: []faultserver.Blob{b}, Rate: 16 * mb})
	r := newRig(t)
	r.fetch(b, dying, other)
	if sent := dying.Stats().Bytes + other.Stats().Bytes; sent > b.Size+4*mb {
		t.Errorf("%d bytes were sent for a blob of %d", sent, b.Size)
	}
}

func TestSourceComesBack(t *testing.T) {
	t.Parallel()
	b := faultserver.RandomBlob(6, 8*mb)
	s := serve(t, faultserver.Options{Blobs: []faultserver.Blob{b}, DieAfter: 3 * mb})
	go func() {
		for !s.Stats().Dead { // who isn't dead can't come back
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(500 * time.Millisecond)
		if err := s.Revive(); err != nil {
			t.Error(err)
		}
	}()
	newRig(t).fetch(b, s)
}

// One of several lies in one range only, which no sample finds.
func TestOneRangeOfOneSource(t *testing.T) {
	t.Parallel()
	b := faultserver.RandomBlob(8, 40*mb)
	blobs := []faultserver.Blob{b}
	for name, n := range map[string]int{"among two": 1, "among four": 3} {
		t.Run(name, func(t *testing.T) {
			// It lies in so many places that it is sure to serve one of them.
			var lies []faultserver.Fault
			for i := range 40 {
				lie := &faultserver.Lie{Offset: int64(i)*mb + 300_000, Length: 5, Seed: uint64(i)}
				lies = append(lies, faultserver.Fault{Lie: lie, Match: covers(lie.Offset)})
			}
			liar := serve(t, faultserver.Options{Blobs: blobs, Rate: 16 * mb, Faults: lies})
			servers := []*faultserver.Server{liar}
			for range n {
				servers = append(servers, serve(t, faultserver.Options{Blobs: blobs, Rate: 16 * mb}))
			}
			r := newRig(t)
			r.fetch(b, servers...)
			if rep := r.report(liar); rep.Status != fetch.StatusQuarantined || !strings.Contains(rep.Reason, "wrong bytes") {
				t.Errorf("the liar is %s (%s)", rep.Status, rep.Reason)
			}
			for _, s := range servers[1:] {
				if rep := r.report(s); rep.Status == fetch.StatusQuarantined {
					t.Errorf("an honest source is quarantined: %s", rep.Reason)
				}
			}
		})
	}
}

// covers matches requests for a range that has the byte at off in it.
func covers(off int64) func(*http.Request) bool {
	return func(r *http.Request) bool {
		var first, last int64
		_, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &first, &last)
		return err != nil || first <= off && off <= last
	}
}

func TestAllLie(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		size int64
		lies []faultserver.Lie
	}{
		"small, everywhere": {1000, []faultserver.Lie{{Seed: 1}, {Seed: 2}, {Seed: 3}}},
		"large, everywhere": {10 * mb, []faultserver.Lie{{Seed: 1}, {Seed: 2}, {Seed: 3}}},
		"each in one range": {10 * mb, []faultserver.Lie{{Offset: 5000, Length: 100}, {Offset: 6000, Length: 100}}},
		"all the same":      {10 * mb, []faultserver.Lie{{Offset: 5000, Length: 100}, {Offset: 5000, Length: 100}}},
	} {
		t.Run(name, func(t *testing.T) {
			b := faultserver.RandomBlob(9, test.size)
			var servers []*faultserver.Server
			for i := range test.lies {
				servers = append(servers, serve(t, faultserver.Options{Blobs: []faultserver.Blob{b}, Rate: 20 * mb,
					Faults: []faultserver.Fault{{Lie: &test.lies[i]}}}))
			}
			r := newRig(t)
			e := r.refuse(fetch.ErrVerification, b, servers...)
			for _, s := range servers {
				words := []string{"digest"}
				if name != "all the same" {
					words = append(words, "differs from", "in bytes ")
				}
				if !mentions(e, s, words...) {
					t.Errorf("%s isn't accused as it should be: %s", s.URL(), e.Detail())
				}
			}
			if len(r.leftovers()) != 0 {
				t.Error("lies were left on disk")
			}
		})
	}
}

func TestNobodyHasIt(t *testing.T) {
	b := faultserver.RandomBlob(10, 2*mb)
	r := newRig(t)
	e := r.refuse(fetch.ErrNotFound, b, serve(t, faultserver.Options{}), serve(t, faultserver.Options{}))
	if len(e.Sources) != 2 {
		t.Errorf("%s", e.Detail())
	}
	newRig(t).refuse(fetch.ErrNotFound, b)
}

// A blob is fetched once however many ask.
func TestCoalesces(t *testing.T) {
	t.Parallel()
	b := faultserver.RandomBlob(11, 20*mb)
	s := serve(t, faultserver.Options{Blobs: []faultserver.Blob{b}, Rate: 40 * mb})
	dir := t.TempDir()
	engines := []*rig{newRigAt(t, dir), newRigAt(t, dir)} // as two processes would be
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			if _, err := engines[i%2].Fetch(context.Background(), describe(b), routes(b, s)); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	// What a connection that was cut short had sent ahead doesn't count.
	if sent := s.Stats().Bytes; sent > b.Size+b.Size/2 {
		t.Errorf("%d bytes were sent for a blob of %d", sent, b.Size)
	}
}

// The one who gives up doesn't take the others with him.
func TestLeaving(t *testing.T) {
	t.Parallel()
	b := faultserver.RandomBlob(12, 8*mb)
	s := serve(t, faultserver.Options{Blobs: []faultserver.Blob{b}, Rate: 8 * mb})
	r := newRig(t)
	ctx, cancel := context.WithCancel(context.Background())
	first := r.Start(ctx, describe(b), routes(b, s))
	second := r.Start(context.Background(), describe(b), nil)
	time.Sleep(300 * time.Millisecond)
	cancel()
	if _, err := first.Wait(); !errors.Is(err, context.Canceled) {
		t.Errorf("the one who left got %v", err)
	}
	if _, err := second.Wait(); err != nil {
		t.Error(err)
	}
	r.check(b)
}

func TestCancelKeepsWhatCame(t *testing.T) {
	t.Parallel()
	b := faultserver.RandomBlob(13, 16*mb)
	s := serve(t, faultserver.Options{Blobs: []faultserver.Blob{b}, Rate: 8 * mb})
	r := newRig(t)
	if _, err := r.Fetch(soon(time.Second), describe(b), routes(b, s)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	sent := s.Stats().Bytes
	left := r.leftovers()
	if len(left) != 1 || left[0].Recorded < sent/2 {
		t.Fatalf("kept %+v of %d", left, sent)
	}
	result := r.fetch(b, s)
	if result.Resumed != left[0].Recorded {
		t.Errorf("resumed %d of %d", result.Resumed, left[0].Recorded)
	}
}

func TestReaderFollows(t *testing.T) {
	t.Parallel()
	b := faultserver.RandomBlob(14, 24*mb)
	blobs := []faultserver.Blob{b}
	slow := serve(t, faultserver.Options{Blobs: blobs, Rate: 6 * mb})
	slower := serve(t, faultserver.Options{Blobs: blobs, Rate: 3 * mb})
	r := newRig(t)
	task := r.Start(context.Background(), describe(b), routes(b, slow, slower))
	rd := task.Reader()
	defer rd.Close()
	one := make([]byte, 1)
	if _, err := io.ReadFull(rd, one); err != nil {
		t.Fatal(err)
	}
	if r.count(fetch.EventVerified) != 0 {
		t.Error("the first byte came only after the last")
	}
	sameBytes(t, io.MultiReader(strings.NewReader(string(one)), rd), io.NewSectionReader(b.Content, 0, b.Size))
	if _, err := task.Wait(); err != nil {
		t.Fatal(err)
	}
	late := r.Start(context.Background(), describe(b), nil).Reader()
	defer late.Close()
	sameBytes(t, late, io.NewSectionReader(b.Content, 0, b.Size))
}

// Who reads along with a lie is told when it is found out.
func TestReaderIsRewound(t *testing.T) {
	t.Parallel()
	b := faultserver.RandomBlob(15, 8*mb)
	blobs := []faultserver.Blob{b}
	liar := serve(t, faultserver.Options{Blobs: blobs, Rate: 8 * mb, Faults: []faultserver.Fault{{Lie: &faultserver.Lie{}}}})
	good := serve(t, faultserver.Options{Blobs: blobs, Rate: 8 * mb})
	r := newRig(t)
	task := r.Start(context.Background(), describe(b), routes(b, liar, good))
	rd := task.Reader()
	defer rd.Close()
	if _, err := io.Copy(io.Discard, rd); !errors.Is(err, fetch.ErrRewound) {
		t.Errorf("the reader got %v", err)
	}
	if _, err := task.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestHedge(t *testing.T) {
	t.Parallel()
	b := faultserver.RandomBlob(16, 1000)
	mute := serve(t, faultserver.Options{Blobs: []faultserver.Blob{b}, Faults: []faultserver.Fault{{StallHeaders: true}}})
	good := serve(t, faultserver.Options{Blobs: []faultserver.Blob{b}})
	r := newRig(t)
	r.fetch(b, mute, good)
	if r.count(fetch.EventHedged) == 0 {
		t.Error("nobody was asked beside the mute one")
	}
}

func TestUnknownSize(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int64{"small": 1000, "large": 3 * mb} {
		t.Run(name, func(t *testing.T) {
			b := faultserver.RandomBlob(17, size)
			s := serve(t, faultserver.Options{Blobs: []faultserver.Blob{b}})
			mute := serve(t, faultserver.Options{Blobs: []faultserver.Blob{b}, Faults: []faultserver.Fault{{StallHeaders: true}}})
			other := serve(t, faultserver.Options{})
			r := newRig(t)
			desc := describe(b)
			desc.Size = -1
			result, err := r.Fetch(context.Background(), desc, routes(b, mute, other, s))
			if err != nil {
				t.Fatal(detail(err))
			}
			if result.Size != size {
				t.Errorf("size %d", result.Size)
			}
			r.check(b)
		})
	}
}

// Nobody reads more than size+1 bytes of what never ends.
func TestEndlessIsCutOff(t *testing.T) {
	for name, size := range map[string]int64{"small": 1000, "large": 2 * mb} {
		t.Run(name, func(t *testing.T) {
			b := faultserver.RandomBlob(18, size)
			s := serve(t, faultserver.Options{Blobs: []faultserver.Blob{b}, Faults: []faultserver.Fault{{Body: faultserver.BodyEndless}}})
			good := serve(t, faultserver.Options{Blobs: []faultserver.Blob{b}, Latency: 100 * time.Millisecond})
			r := newRig(t)
			r.fetch(b, s, good)
			if got := r.report(s).Received; got == 0 || got > b.Size+1 {
				t.Errorf("read %d bytes of a blob of %d", got, b.Size)
			}
		})
	}
}
