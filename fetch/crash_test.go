package fetch_test

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/waybill-project/waybill/fetch"
	"github.com/waybill-project/waybill/internal/faultserver"
	"github.com/waybill-project/waybill/store"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/https"
)

// The crash test runs this test binary again as its child, which fetches one
// blob and is killed.
const childEnv = "WAYBILL_FETCH_TEST_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childEnv) == "" {
		flag.Parse()
		if n := flag.Lookup("test.parallel"); n.Value.String() == n.DefValue {
			flag.Set("test.parallel", "10") // they wait more than they work
		}
		os.Exit(m.Run())
	}
	if err := fetchAsChild(os.Args[1], os.Args[2], os.Args[3], os.Args[4:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func fetchAsChild(dir, blob, size string, urls []string) error {
	st, err := store.Open(dir, store.Options{})
	if err != nil {
		return err
	}
	web := https.New(httpclient.New(httpclient.Options{}))
	e := fetch.New(fetch.Options{Transport: transport.Schemes{"http": web}, Store: st})
	desc := ocispec.Descriptor{Digest: digest.Digest(blob)}
	if _, err := fmt.Sscan(size, &desc.Size); err != nil {
		return err
	}
	fmt.Println("begun")
	r, err := e.Fetch(context.Background(), desc, func(yield func(transport.Route, error) bool) {
		for _, u := range urls {
			if !yield(transport.Route{URI: u}, nil) {
				return
			}
		}
	})
	if err != nil {
		return err
	}
	fmt.Println("resumed", r.Resumed)
	return nil
}

// TestKill kills a fetch again and again, at any moment. The next goes on where
// it was; in the end every byte is right, and few were fetched twice.
func TestKill(t *testing.T) {
	t.Parallel()
	const rounds, size = 30, 20_000_000
	// What is fetched again after a kill: of each connection what had not
	// been entered in the journal, and what was on the way.
	const perKill = 3 * (2 << 20)
	random := rand.New(rand.NewPCG(1, 2))
	dir := t.TempDir()
	round, kills := 0, 0
	for seed := uint64(1); round < rounds; seed++ {
		b := faultserver.RandomBlob(seed, size)
		args := []string{dir, b.Digest.String(), fmt.Sprint(b.Size)}
		var servers []*faultserver.Server
		for range 3 {
			s := serve(t, faultserver.Options{Blobs: []faultserver.Blob{b}, Rate: 8_000_000})
			servers = append(servers, s)
			args = append(args, s.BlobURL(b.Digest))
		}
		mine := 0 // kills over this blob
		for done := false; !done; round++ {
			last := round >= rounds
			done = runChild(t, args, time.Duration(random.Int64N(int64(400*time.Millisecond))), last)
			if !done {
				mine++
			}
			if t.Failed() {
				t.Fatalf("round %d", round)
			}
		}
		kills += mine
		var sent int64
		for _, s := range servers {
			sent += s.Stats().Bytes
			s.Close()
		}
		t.Logf("%d kills, %d bytes sent again", mine, sent-size)
		r := newRigAt(t, dir)
		r.check(b)
		if again := sent - size; again > int64(mine)*perKill {
			t.Errorf("%d bytes were sent again after %d kills", again, mine)
		}
		for _, left := range r.leftovers() { // killed just after the commit: gc will
			if left.Recorded > 0 {
				t.Errorf("left: %+v", left)
			}
		}
	}
	if kills < rounds/3 {
		t.Errorf("only %d kills in %d rounds", kills, round)
	}
}

// runChild lets a child fetch, kills it after a while unless it is to finish,
// and reports whether it had finished before.
func runChild(t *testing.T, args []string, after time.Duration, finish bool) bool {
	t.Helper()
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), childEnv+"=1")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := false
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		switch {
		case lines.Text() != "begun":
			done = true
		case !finish:
			time.AfterFunc(after, func() { cmd.Process.Kill() })
		}
	}
	err = cmd.Wait()
	if stderr.Len() > 0 || err != nil && !strings.Contains(err.Error(), "killed") {
		t.Errorf("child: %v: %s", err, stderr.String())
	}
	return done
}
