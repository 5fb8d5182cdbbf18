package fetch

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/waybill-project/waybill/internal/faultserver"
	"github.com/waybill-project/waybill/store"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/https"
)

var scenarios = flag.Uint64("scenarios", 24, "how many random scenarios TestStress goes through")

// TestStress fetches random blobs from random sources with random faults, one
// of which is always honest, through two engines on one store, gives up and
// begins again at random, damages partials, and wants the very bytes in the end.
func TestStress(t *testing.T) {
	before := engineGoroutines()
	t.Run("group", func(t *testing.T) {
		for seed := range *scenarios {
			t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
				t.Parallel()
				newStress(t, seed).run()
			})
		}
	})
	for range 100 {
		if len(engineGoroutines()) <= len(before) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("goroutines were left behind:\n%s", strings.Join(engineGoroutines(), "\n\n"))
}

// engineGoroutines returns the stacks of goroutines at work for an engine.
func engineGoroutines() []string {
	buf := make([]byte, 4<<20)
	buf = buf[:runtime.Stack(buf, true)]
	var out []string
	for _, stack := range strings.Split(string(buf), "\n\n") {
		if strings.Contains(stack, "fetch.(*transfer)") || strings.Contains(stack, "fetch.(*lane)") ||
			strings.Contains(stack, "fetch.(*hasher)") || strings.Contains(stack, "fetch.(*Task)") {
			out = append(out, stack)
		}
	}
	return out
}

type stress struct {
	t       *testing.T
	rand    *rand.Rand
	dir     string
	blob    faultserver.Blob
	servers []*faultserver.Server
	liars   map[string]bool
	engines []*Engine

	mu     sync.Mutex
	events []string
}

func newStress(t *testing.T, seed uint64) *stress {
	s := &stress{t: t, rand: rand.New(rand.NewPCG(seed, 0)), dir: t.TempDir(), liars: map[string]bool{}}
	size := int64(1) << (8 + s.rand.IntN(16)) // 256 bytes to 8 MiB
	s.blob = faultserver.RandomBlob(seed, size+s.rand.Int64N(size))
	s.serve(faultserver.Fault{}, 4<<20+s.rand.Int64N(32<<20))
	for range s.rand.IntN(6) {
		s.serve(s.fault(), s.rand.Int64N(2)*(1<<20+s.rand.Int64N(32<<20)))
	}
	s.rand.Shuffle(len(s.servers), func(i, j int) { s.servers[i], s.servers[j] = s.servers[j], s.servers[i] })
	for range 2 {
		s.engines = append(s.engines, s.engine())
	}
	t.Cleanup(func() {
		if t.Failed() {
			s.mu.Lock()
			defer s.mu.Unlock()
			t.Logf("%d bytes\n%s", s.blob.Size, strings.Join(s.events, "\n"))
		}
	})
	return s
}

func (s *stress) engine() *Engine {
	st, err := store.Open(s.dir, store.Options{})
	if err != nil {
		s.t.Fatal(err)
	}
	client := httpclient.New(httpclient.Options{CertDirs: []string{}})
	s.t.Cleanup(client.CloseIdleConnections)
	n := len(s.engines)
	return New(Options{
		Transport: transport.Schemes{"http": https.New(client)},
		Store:     st,
		FirstByte: 5 * time.Second, Stall: 5 * time.Second,
		Observe: func(ev Event) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.events = append(s.events, fmt.Sprintf("%s %d %s %s: %s", ev.Time.Format("05.000"), n, ev.Type, ev.Source, ev.Detail))
		},
	})
}

func (s *stress) serve(fault faultserver.Fault, rate int64) {
	opts := faultserver.Options{Blobs: []faultserver.Blob{s.blob}, Rate: rate, Faults: []faultserver.Fault{fault}}
	if s.rand.IntN(4) == 0 {
		opts.Latency = time.Duration(s.rand.IntN(300)) * time.Millisecond
	}
	server, err := faultserver.New(opts)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { server.Close() })
	s.servers = append(s.servers, server)
	s.liars[server.URL()] = fault.Lie != nil || fault.Body == faultserver.BodyEndless
	s.events = append(s.events, fmt.Sprintf("%s: rate %d latency %v fault %+v lie %+v", server.URL(), rate, opts.Latency, fault, fault.Lie))
}

// fault picks what is wrong with a source: one thing, or two.
func (s *stress) fault() faultserver.Fault {
	var f faultserver.Fault
	for range 1 + s.rand.IntN(2) {
		after := s.rand.Int64N(s.blob.Size)
		switch s.rand.IntN(22) {
		case 0:
			f.Lie = &faultserver.Lie{Offset: after, Length: 1 + s.rand.Int64N(100), Seed: s.rand.Uint64()}
		case 1:
			f.Lie = &faultserver.Lie{Offset: after, Seed: 7}
		case 2:
			f.Lie = &faultserver.Lie{Fresh: true}
		case 3:
			f.Body, f.After = faultserver.BodyShort, after
		case 4:
			f.Body, f.After = faultserver.BodyStall, after
		case 5:
			f.Body = faultserver.BodyEndless
		case 6:
			f.Body, f.After = faultserver.BodyTruncated, after
		case 7:
			f.Reset, f.After = faultserver.ResetBody, after
		case 8:
			f.Reset = faultserver.ResetAccept
		case 9:
			f.Reset = faultserver.ResetHeaders
		case 10:
			f.StallHeaders = true
		case 11, 12:
			f.Ranges = faultserver.RangesIgnored
		case 13:
			f.Ranges = faultserver.RangesOther
		case 14:
			f.Status = 500
		case 15:
			f.Status = 429
		case 16:
			f.Status = 401
		case 17:
			f.Status = 404
		case 18:
			f.Gzip = true
		case 19:
			f.Redirect = &faultserver.Redirect{}
		case 20:
			f.Rate = 1 + s.rand.Int64N(2000)
		}
	}
	if s.rand.IntN(3) == 0 {
		f.First = 1 + s.rand.IntN(4) // it gets better
	}
	return f
}

func (s *stress) run() {
	stop := watchInvariants(s.t, s.engines...)
	defer stop()
	for range s.rand.IntN(4) {
		s.giveUp()
		if s.rand.IntN(3) == 0 {
			s.damage()
		}
	}
	s.complete()
	s.clean()
}

// giveUp has some callers begin and leave again after a while; what those get
// who see the end is right.
func (s *stress) giveUp() {
	var wg sync.WaitGroup
	for range 1 + s.rand.IntN(4) {
		e := s.engines[s.rand.IntN(2)]
		patience := time.Duration(s.rand.Int64N(int64(300 * time.Millisecond)))
		read, known, routes := s.rand.IntN(2) == 0, s.rand.IntN(4) > 0, s.routes()
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			task := e.Start(ctx, s.describe(known), routes)
			if read {
				wg.Go(func() { s.read(task) })
			}
			if _, err := task.Wait(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
				s.t.Errorf("one who gave up got %v", err)
			}
		})
	}
	wg.Wait()
}

// read follows a fetch; it gets a wrong byte only if it is told in the end.
func (s *stress) read(task *Task) {
	rd := task.Reader()
	defer rd.Close()
	var got bytes.Buffer
	if _, err := io.Copy(&got, rd); err != nil {
		return
	}
	want := make([]byte, s.blob.Size)
	if _, err := s.blob.Content.ReadAt(want, 0); err != nil && err != io.EOF {
		s.t.Error(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		s.t.Errorf("a reader got %d bytes that are not the blob's, and no error", got.Len())
	}
}

// damage flips bits of a partial nobody is at.
func (s *stress) damage() {
	name := filepath.Join(s.dir, "ingest", "sha256", s.blob.Digest.Encoded(), "data")
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 8)
	at := s.rand.Int64N(s.blob.Size)
	n, _ := f.ReadAt(b, at)
	for i := range b[:n] {
		b[i] ^= 0x55
	}
	if _, err := f.WriteAt(b[:n], at); err != nil {
		s.t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, fmt.Sprintf("damaged %d bytes at %d", n, at))
}

func (s *stress) complete() {
	var wg sync.WaitGroup
	for range 1 + s.rand.IntN(3) {
		e, known, routes := s.engines[s.rand.IntN(2)], s.rand.IntN(4) > 0, s.routes()
		wg.Go(func() {
			task := e.Start(context.Background(), s.describe(known), routes)
			wg.Go(func() { s.read(task) })
			result, err := task.Wait()
			var fe *Error
			if errors.As(err, &fe) {
				s.t.Error(fe.Detail())
				return
			}
			if err != nil {
				s.t.Error(err)
				return
			}
			s.checkResult(result)
		})
	}
	wg.Wait()
}

// checkResult wants every byte accounted for once.
func (s *stress) checkResult(r *Result) {
	if r.Size != s.blob.Size {
		s.t.Errorf("size %d, want %d", r.Size, s.blob.Size)
	}
	sum, last := r.Resumed, int64(0)
	for _, sv := range r.Served {
		if sv.Offset < last || sv.Length <= 0 {
			s.t.Errorf("ranges out of order: %+v", r.Served)
		}
		sum, last = sum+sv.Length, sv.Offset+sv.Length
	}
	if !r.Cached && sum != r.Size {
		s.t.Errorf("served and resumed %d of %d bytes: %+v", sum, r.Size, r)
	}
}

// clean wants the store to hold the very bytes and nothing else, and nobody
// honest to be accused.
func (s *stress) clean() {
	st := s.engines[0].opts.Store
	for _, err := range st.Verify(context.Background()) {
		if err != nil {
			s.t.Error(err)
		}
	}
	if n, err := st.Stat(s.blob.Digest); err != nil || n != s.blob.Size {
		s.t.Errorf("in the store: %d, %v", n, err)
	}
	for info, err := range st.Ingests() {
		if err != nil || info.Active || info.Recorded > 0 {
			s.t.Errorf("left behind: %+v, %v", info, err)
		}
	}
	for _, e := range s.engines {
		for _, r := range e.Sources() {
			if r.Status == StatusQuarantined && !s.liars[r.URI] {
				s.t.Errorf("%s is honest and quarantined: %s", r.URI, r.Reason)
			}
		}
		e.mu.Lock()
		for key := range e.transfers {
			s.t.Errorf("a transfer of %v is left", key)
		}
		e.mu.Unlock()
	}
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, fd := range fds {
		if name, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && strings.HasPrefix(name, s.dir+"/") {
			s.t.Errorf("left open: %s", name)
		}
	}
}

func (s *stress) describe(known bool) ocispec.Descriptor {
	desc := ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer, Digest: s.blob.Digest, Size: -1}
	if known {
		desc.Size = s.blob.Size
	}
	return desc
}

// routes yields the servers, after a while each.
func (s *stress) routes() Routes {
	slow := s.rand.IntN(3) == 0
	return func(yield func(transport.Route, error) bool) {
		for _, server := range s.servers {
			if slow {
				time.Sleep(10 * time.Millisecond)
			}
			if !yield(transport.Route{URI: server.BlobURL(s.blob.Digest), Source: server.URL(), Origin: "test"}, nil) {
				return
			}
		}
	}
}
