package progress_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/waybill-project/waybill/progress"
)

func TestPlain(t *testing.T) {
	var out bytes.Buffer
	clock := &clock{epoch}
	r := progress.New(progress.Plain, &out, progress.Options{Now: clock.Now, Env: noEnv})
	r.Update(scene(0))
	r.Update(scene(0))
	r.Update(scene(3))
	liar := progress.Event{Time: epoch, Type: "quarantined", Source: "http://u:secret@liar.example/", Digest: digestOf("02"), Message: "wrong bytes"}
	r.Event(liar)
	liar.Time = epoch.Add(time.Second)
	r.Event(liar) // the same but for its time
	final := scene(10)
	final.Done, final.Phase = final.Size, "done"
	r.Close(final)
	const want = `example.com/app:v1: fetching 10%, 100.0 MB of 1.0 GB, 0 B/s, 1 of 6 blobs, 2 sources active
example.com/app:v1: fetching 22%, 220.0 MB of 1.0 GB, 40.0 MB/s, ETA 20s, 1 of 6 blobs, 2 sources active
quarantined sha256:020202020202 http://u:xxxxx@liar.example/: wrong bytes
example.com/app:v1: 1.0 GB, fetched 400.0 MB in 10s (40.0 MB/s)
  100.0 MB from docker://user:xxxxx@registry.example/app
  200.0 MB from https://cas.example/a/rather/long/way/to/blobs/
  999 B from sftp://host/layout, demoted: slower than the others
  5.0 MB from http://liar.example/, quarantined: wrong bytes at 1048576 of sha256:0202
  0 B from http://127.0.0.1/, refused: loopback named by a remote document
`
	if out.String() != want {
		t.Errorf("wrote:\n%s\nwant:\n%s", out.String(), want)
	}
}

func TestSummaries(t *testing.T) {
	for _, test := range []struct {
		name  string
		final progress.Snapshot
		want  string
	}{
		{"nothing to fetch", progress.Snapshot{Name: "a", Phase: "done", Size: 1500, Done: 1500}, "a: 1.5 kB, nothing to fetch\n"},
		{"failed", progress.Snapshot{Name: "a", Phase: progress.PhaseFailed, Size: 2e6, Done: 1e6, Network: 1e6}, "a: failed after 0.0s, with 1.0 MB of 2.0 MB here\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			clock := &clock{epoch}
			r := progress.New(progress.Plain, &out, progress.Options{Now: clock.Now})
			r.Close(test.final)
			if out.String() != test.want {
				t.Errorf("%q, want %q", out.String(), test.want)
			}
		})
	}
}

// jsonLine is what a reader of the stream may rely on.
type jsonLine struct {
	Type           string
	Time           time.Time
	Name, Phase    string
	Size, Done     int64
	Network        int64
	BytesPerSecond int64
	ETASeconds     *int64
	Blobs          []struct {
		Digest, MediaType, State string
		Size, Done               int64
	}
	Sources []struct {
		URI, Status, Reason string
		Bytes               int64
		BytesPerSecond      float64
	}
	Event, Digest, Source, Message string
}

func TestJSON(t *testing.T) {
	var out bytes.Buffer
	clock := &clock{epoch}
	r := progress.New(progress.JSON, &out, progress.Options{Now: clock.Now})
	r.Update(scene(3))
	const message = "a\x1b[2J\u009b\u202e\U000e0001\x7f\n<é>"
	r.Event(progress.Event{Type: "demoted", Source: "http://h/", Message: message})
	r.Close(scene(4))
	text := out.String()
	for _, c := range strings.ReplaceAll(text, "\n", "") {
		if !unicode.IsPrint(c) {
			t.Errorf("the stream has a raw %U", c)
		}
	}
	var lines []jsonLine
	for decoder := json.NewDecoder(strings.NewReader(text)); ; {
		var line jsonLine
		err := decoder.Decode(&line)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	if len(lines) != 3 || strings.Count(text, "\n") != 3 {
		t.Fatalf("%d objects in %d lines, want 3 in 3", len(lines), strings.Count(text, "\n"))
	}
	p, e, d := lines[0], lines[1], lines[2]
	if p.Type != "progress" || !p.Time.Equal(epoch.Add(3*time.Second)) || p.Name != "example.com/app:v1" || p.Phase != "fetching" ||
		p.Size != 1e9 || p.Done != 220e6 || p.Network != 120e6 || p.BytesPerSecond != 40e6 || p.ETASeconds == nil || *p.ETASeconds != 20 {
		t.Errorf("progress %+v", p)
	}
	if len(p.Blobs) != 6 || p.Blobs[1].Digest != digestOf("02") || p.Blobs[1].State != "fetching" || p.Blobs[1].Done != 120e6 {
		t.Errorf("blobs %+v", p.Blobs)
	}
	if len(p.Sources) != 6 || p.Sources[0].URI != "docker://user:xxxxx@registry.example/app" || p.Sources[2].Reason != "slower than the others" {
		t.Errorf("sources %+v", p.Sources)
	}
	if e.Type != "event" || e.Event != "demoted" || e.Source != "http://h/" || e.Message != message || !e.Time.Equal(epoch) {
		t.Errorf("event %+v", e)
	}
	if d.Type != "done" || d.Network != 160e6 {
		t.Errorf("done %+v", d)
	}
}

// TestRemoteTextCannotSteerTheTerminal puts hostile text into every field, and
// sees no control character come out that the renderer didn't write itself.
func TestRemoteTextCannotSteerTheTerminal(t *testing.T) {
	hostile := "x\x1b]0;t\x07\x1b[2J\r\n\x9b1m\u009b5n\u202e\u2066\xff\x7f"
	s := progress.Snapshot{
		Time: epoch.Add(3 * time.Second), Name: hostile, Phase: hostile, Size: 10, Done: 5, Network: 5,
		Blobs:   []progress.Blob{{Digest: hostile, MediaType: hostile, Size: 5, State: progress.BlobFetching}},
		Sources: []progress.Source{{URI: hostile, Status: progress.SourceStatus(hostile), Reason: hostile}},
	}
	for _, mode := range []progress.Mode{progress.Bar, progress.Plain, progress.JSON} {
		t.Run(string(mode), func(t *testing.T) {
			var out bytes.Buffer
			clock := &clock{epoch}
			r := progress.New(mode, &out, progress.Options{Now: clock.Now, NoColor: true, Size: func() (int, int) { return 200, 24 }})
			r.Update(s)
			r.Event(progress.Event{Type: hostile, Digest: hostile, Source: hostile, Message: hostile})
			r.Close(s)
			own := strings.NewReplacer("\x1b[K", "", "\x1b[J", "", "\x1b[3A\r", "", "\n", "")
			for _, c := range own.Replace(out.String()) {
				if !unicode.IsPrint(c) {
					t.Fatalf("%U came through: %q", c, out.String())
				}
			}
		})
	}
}

func TestETAIsSteady(t *testing.T) {
	var out bytes.Buffer
	clock := &clock{epoch}
	r := progress.New(progress.JSON, &out, progress.Options{Now: clock.Now})
	// 10 MB/s on average, in fits: 20 MB one moment and nothing the next.
	for i := range 300 {
		done := int64(i+1) / 2 * 4e6
		r.Update(progress.Snapshot{Time: epoch.Add(time.Duration(i+1) * 200 * time.Millisecond), Size: 1e9, Done: done, Network: done})
	}
	decoder := json.NewDecoder(&out)
	for i := range 300 {
		var line jsonLine
		if err := decoder.Decode(&line); err != nil {
			t.Fatal(err)
		}
		if i < 50 {
			continue
		}
		want := float64(1e9-line.Done) / 10e6
		if line.ETASeconds == nil || float64(*line.ETASeconds) < want*0.9 || float64(*line.ETASeconds) > want*1.1+1 {
			t.Fatalf("after %d updates the ETA is %v s, want about %.0f", i+1, line.ETASeconds, want)
		}
	}
}

func TestRatesThatAreNoNumbers(t *testing.T) {
	zero := 0.0
	for _, rate := range []float64{-1, 1 / zero, zero / zero} {
		var out bytes.Buffer
		r := progress.New(progress.JSON, &out, progress.Options{})
		r.Update(progress.Snapshot{Sources: []progress.Source{{BytesPerSecond: rate}}})
		if !strings.Contains(out.String(), `"bytesPerSecond":0`) {
			t.Errorf("%v is shown as %s", rate, out.String())
		}
	}
}

func TestAutoAndNoneAndUnknownModes(t *testing.T) {
	for _, test := range []struct {
		mode  progress.Mode
		lines int
	}{{progress.Auto, 1}, {progress.None, 0}} {
		var out bytes.Buffer
		r := progress.New(test.mode, &out, progress.Options{})
		r.Update(scene(3))
		if got := strings.Count(out.String(), "\n"); got != test.lines || strings.Contains(out.String(), "\x1b") {
			t.Errorf("%s: %q", test.mode, out.String())
		}
	}
	var mode progress.Mode
	for _, name := range []string{"auto", "bar", "plain", "json", "none"} {
		if err := mode.Set(name); err != nil || mode.String() != name {
			t.Errorf("%s: %v, %v", name, mode, err)
		}
	}
	err := mode.Set("fancy")
	if want := `progress mode "fancy" is unknown; use auto, bar, plain, json, none`; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestRunUpdatesUntilTheEnd(t *testing.T) {
	var out bytes.Buffer
	r := progress.New(progress.Plain, &out, progress.Options{Interval: time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	r.Run(ctx, func() progress.Snapshot {
		if n++; n == 3 {
			cancel()
		}
		return progress.Snapshot{Name: fmt.Sprint("update ", n)}
	})
	for _, want := range []string{"update 1:", "update 2:", "update 3:"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q isn't in %q", want, out.String())
		}
	}
}
