package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/anacrolix/torrent/metainfo"
	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/test/places"
	"github.com/waybill-project/waybill/test/realserver"
)

type locateDoc struct {
	Name  *string `json:"name"`
	Blobs []struct {
		Digest    digest.Digest `json:"digest"`
		Size      int64         `json:"size"`
		MediaType string        `json:"mediaType"`
		Routes    []struct {
			URI      string `json:"uri"`
			Priority *int   `json:"priority"`
			Origin   string `json:"origin"`
			Probe    *struct {
				OK             *bool    `json:"ok"`
				LatencyMs      *float64 `json:"latencyMs"`
				BytesPerSecond *int64   `json:"bytesPerSecond"`
				Ranges         *bool    `json:"ranges"`
				Size           *int64   `json:"size"`
				Error          string   `json:"error"`
			} `json:"probe"`
		} `json:"routes"`
	} `json:"blobs"`
}

// TestLocate shows every place of every blob, and with --probe how each does.
func TestLocate(t *testing.T) {
	t.Parallel()
	i := randomImage(t, 3e6)
	u := newUser(t)
	healthy := startPlace(t, places.S3, u, i)
	dead := startPlace(t, places.SSH, u, i)
	dead.Stop()
	empty := startNginx(t, t.TempDir(), realserver.NginxOptions{})
	from := []string{"--from", healthy.uri(), "--from", dead.uri(), "--from", empty.URL + "/"}

	var doc locateDoc
	u.run(append([]string{"locate", i.name(), "--json"}, from...)...).exits(0).decode(&doc)
	if doc.Name == nil || !strings.Contains(*doc.Name, i.Dir) || len(doc.Blobs) != 3 {
		t.Fatalf("got %+v", doc)
	}
	for _, b := range doc.Blobs {
		if len(b.Routes) != 4 || b.Routes[0].Probe != nil || b.Routes[0].Priority == nil {
			t.Errorf("%s: %+v", b.Digest, b.Routes)
		}
	}
	wantOnlyStored(t, u, i.desc.Digest) // only documents are fetched

	u.run(append([]string{"locate", i.name(), "--json", "--probe"}, from...)...).exits(0).decode(&doc)
	for _, b := range doc.Blobs {
		for _, r := range b.Routes {
			p := r.Probe
			if p == nil || p.OK == nil || p.LatencyMs == nil || p.BytesPerSecond == nil || p.Ranges == nil || p.Size == nil {
				t.Errorf("%s at %s: probe %+v lacks something", b.Digest, r.URI, p)
				continue
			}
			good := r.URI == healthy.uri() || strings.HasPrefix(r.URI, "oci:")
			if *p.OK != good || good == (p.Error != "") {
				t.Errorf("%s at %s: ok %v, %q", b.Digest, r.URI, *p.OK, p.Error)
			}
			if good && (*p.Size != b.Size || !*p.Ranges || *p.LatencyMs <= 0 || (*p.BytesPerSecond > 0) != (b.Size > 1e6)) {
				t.Errorf("%s at %s: %d bytes, ranges %v, %v ms, %d B/s", b.Digest, r.URI, *p.Size, *p.Ranges, *p.LatencyMs, *p.BytesPerSecond)
			}
		}
	}

	table := u.run(append([]string{"locate", string(i.layers[0].Digest), "--probe"}, from...)...).exits(0).stdout
	for _, want := range []string{healthy.uri(), "ssh: handshake failed", "404", "yes", "ms"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
	u.run("locate", string(i.layers[0].Digest)).exits(3).says("--from")
	u.run("locate", i.name()+"x").exits(3)
	u.run("locate", i.name(), "--size", "5").exits(2)

	// A manifest is in the store, and so is its size.
	u.run("locate", string(i.desc.Digest), "--from", healthy.uri(), "--probe", "--json").exits(0).decode(&doc)
	if len(doc.Blobs) != 1 || doc.Blobs[0].Size != i.desc.Size {
		t.Errorf("of a blob that is here: %+v, want %d bytes", doc.Blobs, i.desc.Size)
	}
}

// TestProgramOnPath: a scheme that only a program on the PATH knows.
func TestProgramOnPath(t *testing.T) {
	t.Parallel()
	i := randomImage(t, 2e6)
	u := newUser(t)
	page, err := os.ReadFile(filepath.Join(root, "docs", "transport-exec.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(page), "```python\n")
	program, _, ok := strings.Cut(rest, "```")
	if !ok {
		t.Fatal("docs/transport-exec.md has no program")
	}
	bin := filepath.Dir(u.file("bin/waybill-transport-demo", program))
	if err := os.Chmod(filepath.Join(bin, "waybill-transport-demo"), 0o755); err != nil {
		t.Fatal(err)
	}
	manifests := i.withoutLayers(t).name()
	u.run("pull", manifests, "--from", "demo://"+i.Dir+"/blobs").exits(2).says("waybill-transport-demo", "PATH")
	u.setenv("PATH", bin+":"+os.Getenv("PATH"))
	u.run("pull", manifests, "--from", "demo://"+i.Dir+"/blobs").exits(0)
	wantStored(t, u, i, i.digests(t)...)
}

// TestPullByFTP: a layout on an FTP server is a source and a name.
func TestPullByFTP(t *testing.T) {
	t.Parallel()
	i := smallImage(t)
	u := newUser(t)
	p, err := places.FTP(t.Context(), t.TempDir(), i.Dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop() })
	pullLayer(t, u, i, p.URI(p.Addr)).exits(0)
	other := newUser(t)
	other.run("pull", p.URI(p.Addr)+"#app").exits(0)
	wantStored(t, other, i, i.digests(t)...)
}

// TestTorrentAsName: the layout in a torrent names its images.
func TestTorrentAsName(t *testing.T) {
	t.Parallel()
	i := randomImage(t, 2e6)
	u := newUser(t)
	p, err := places.FastBitTorrent(t.Context(), t.TempDir(), i.Dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop() })
	who := places.User{Home: u.home}
	if err := p.Enable(&who, p.Addr); err != nil {
		t.Fatal(err)
	}
	u.configure(who.Config)
	if got := u.run("pull", p.URI(p.Addr)+"#app").exits(0).stdout; got != string(i.desc.Digest)+"\n" {
		t.Errorf("pulled %s, not %s", got, i.desc.Digest)
	}
	wantStored(t, u, i, i.digests(t)...)
	u.run("resolve", p.URI(p.Addr)+"#none").exits(3).says("none")
	u.run("pull", "torrent:"+filepath.Join(t.TempDir(), "none.torrent")).exits(3).says("no such file")
}

// TestSeed: what was pulled from a torrent is uploaded to others when asked for,
// and never otherwise.
func TestSeed(t *testing.T) {
	t.Parallel()
	i := randomImage(t, 2e6)
	u := newUser(t)
	u.configure("[bittorrent]\nlisten = \"127.0.0.1\"\ndht = false\nlocal-discovery = false\n")
	tracker, err := realserver.StartTracker(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tracker.Stop)
	file, layer := filepath.Join(t.TempDir(), "layer.torrent"), i.Path(i.layers[0].Digest)
	if err := realserver.CreateTorrent(t.Context(), file, layer, realserver.TorrentOptions{Trackers: []string{tracker.HTTP}}); err != nil {
		t.Fatal(err)
	}
	info, err := metainfo.LoadFromFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := tracker.Allow(info.HashInfoBytes().HexString()); err != nil {
		t.Fatal(err)
	}
	first, err := realserver.StartTransmission(t.Context(), t.TempDir(), realserver.TransmissionOptions{Host: "127.0.0.2"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { first.Stop() })
	if err := first.Add(t.Context(), file, filepath.Dir(layer)); err != nil {
		t.Fatal(err)
	}

	manifests := i.withoutLayers(t).name()
	u.run("pull", manifests, "--seed").exits(2).says("--from")
	u.run("pull", manifests, "--from", "torrent:"+file).exits(0) // it ends: nothing is seeded
	first.Stop()

	cmd := u.command(t.Context(), u.onStore([]string{"pull", manifests, "--seed", "--from", "torrent:" + file})...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	if err := realserver.Aria2Download(t.Context(), to, file); err != nil {
		t.Errorf("%v\n%s", err, &stderr)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("seeding ended with %v\n%s", err, &stderr)
	}
	want, err := os.ReadFile(layer)
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(to, filepath.Base(layer)))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("aria2 got %d bytes of %d: %v", len(got), len(want), err)
	}
}
