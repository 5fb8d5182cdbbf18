package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/internal/faultserver"
	"github.com/waybill-project/waybill/test/realserver"
	"github.com/waybill-project/waybill/waybill"
)

// billOf writes a waybill that says where the image's layers are.
func billOf(t *testing.T, i *image, at string, change ...func(*waybill.Document)) []byte {
	t.Helper()
	d := &waybill.Document{Issued: time.Now().Add(-time.Hour), Expires: time.Now().Add(time.Hour), Sequence: 1}
	for _, l := range i.layers {
		f, err := os.Open(i.Path(l.Digest))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		pieces, err := waybill.HashPieces(f, info.Size(), digest.SHA256, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		d.Consignments = append(d.Consignments, waybill.Consignment{
			Digest: l.Digest, Size: info.Size(), Pieces: pieces,
			Routes: []waybill.Route{{URI: at + "/blobs/sha256/" + l.Digest.Encoded(), Priority: 1}},
		})
	}
	for _, f := range change {
		f(d)
	}
	b, err := d.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func saved(t *testing.T, b []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "app.waybill.json")
	if err := os.WriteFile(path, b, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestWaybill: an image whose origin has only its manifest and config is pulled
// from where a waybill says its layers are, and is the same image. A waybill
// that is of no use is ignored with a warning, and the image comes from its
// origin.
func TestWaybill(t *testing.T) {
	t.Parallel()
	i := randomImage(t, 3<<20, 5<<20)
	web := startNginx(t, i.Dir, realserver.NginxOptions{})
	origin := i.withoutLayers(t)
	good := billOf(t, i, web.URL)
	manifest, err := waybill.Manifest(good, ocispec.Descriptor{MediaType: i.desc.MediaType, Digest: i.desc.Digest, Size: i.desc.Size})
	if err != nil {
		t.Fatal(err)
	}
	other, err := waybill.Manifest(good, ocispec.Descriptor{MediaType: i.desc.MediaType, Digest: digest.FromString("other"), Size: 5})
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range [][]byte{good, manifest} {
		u := newUser(t)
		path := saved(t, content)
		u.run("pull", origin.name()).exits(3)
		if got := u.run("pull", origin.name(), "--waybill", path).exits(0).stdout; got != string(i.desc.Digest)+"\n" {
			t.Errorf("pulled %s, not %s", got, i.desc.Digest)
		}
		wantStored(t, u, i, i.digests(t)...)
		var story explainDoc
		u.run("explain", "--json").exits(0).decode(&story)
		if !strings.Contains(u.run("explain", "-v").exits(0).stdout, "hashes of its pieces") {
			t.Error("explain doesn't tell of the pieces")
		}
		for _, s := range story.Sources {
			if strings.HasPrefix(s.URI, web.URL) && (s.Status != "used" || !strings.Contains(s.Origin, path)) {
				t.Errorf("%+v", s)
			}
		}
	}
	for what, content := range map[string][]byte{
		"expired":       billOf(t, i, web.URL, func(d *waybill.Document) { d.Expires = time.Now().Add(-time.Minute) }),
		"another image": other,
		"JSON":          []byte("{ garbage"),
	} {
		u := newUser(t)
		u.run("pull", i.name(), "--waybill", saved(t, content)).exits(0).says(what)
		wantStored(t, u, i, i.digests(t)...)
	}
	// The carrier has the manifest too, which the waybill itself says nothing of.
	carrier := billOf(t, i, web.URL, func(d *waybill.Document) {
		d.Carriers = []waybill.Carrier{{Protocol: waybill.ProtocolCASTemplate, URI: web.URL + "/blobs/{algorithm}/{encoded}"}}
	})
	gone := newUser(t)
	gone.run("pull", "127.0.0.1:9/app@"+string(i.desc.Digest), "--waybill", saved(t, carrier)).exits(0)
	wantStored(t, gone, i, i.digests(t)...)
	u := newUser(t)
	u.run("pull", i.name(), "--waybill", filepath.Join(t.TempDir(), "none")).exits(2).says("no such file")
}

// TestWaybillFromTheWeb: one from the network leads to its own origin, and
// nowhere else without leave.
func TestWaybillFromTheWeb(t *testing.T) {
	t.Parallel()
	i := randomImage(t, 3<<20)
	origin := i.withoutLayers(t)
	blobs := startNginx(t, i.Dir, realserver.NginxOptions{})
	dir := t.TempDir()
	copyTree(t, i.Dir, dir)
	for name, content := range map[string][]byte{"own.json": billOf(t, i, ".."), "other.json": billOf(t, i, blobs.URL)} {
		if err := os.MkdirAll(filepath.Join(dir, "bills"), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "bills", name), content, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	web := startNginx(t, dir, realserver.NginxOptions{})
	u := newUser(t)
	u.run("pull", origin.name(), "--waybill", web.URL+"/bills/own.json").exits(0)
	wantStored(t, u, i, i.digests(t)...)
	v := newUser(t)
	v.run("pull", origin.name(), "--waybill", web.URL+"/bills/other.json").exits(3).says("isn't signed")
	v.configure("[host.\"" + strings.TrimPrefix(blobs.URL, "http://") + "\"]\ntrusted = true\n")
	v.run("pull", origin.name(), "--waybill", web.URL+"/bills/other.json").exits(0)
}

// TestLieAtThePiece: with a waybill, who lies is found while the blob comes.
func TestLieAtThePiece(t *testing.T) {
	t.Parallel()
	i := randomImage(t, 40<<20)
	liar := startFaults(t, faultserver.Options{Blobs: i.blobs(t), Rate: 8 << 20})
	liar.SetBlobFaults(i.layers[0].Digest, faultserver.Fault{Lie: &faultserver.Lie{}})
	honest := startFaults(t, faultserver.Options{Blobs: i.blobs(t), Rate: 8 << 20})
	u := newUser(t)
	u.run("pull", i.withoutLayers(t).name(), "--waybill", saved(t, billOf(t, i, "http://127.0.0.1:9")),
		"--from", liar.URL()+"/blobs/", "--from", honest.URL()+"/blobs/").exits(0)
	wantStored(t, u, i, i.digests(t)...)
	var story struct {
		Events []struct{ Type, Source, Detail string }
	}
	readJSON(t, []byte(u.run("explain", "--json").exits(0).stdout), &story)
	var types []string
	for _, e := range story.Events {
		if e.Type == "demoted" && strings.HasPrefix(e.Source, liar.URL()) && strings.Contains(e.Detail, "otherwise than") || e.Type == "quarantined" {
			types = append(types, e.Type)
		}
	}
	if strings.Join(types, " ") != "demoted quarantined" {
		all, _ := json.Marshal(story.Events)
		t.Errorf("the liar was %v: %s", types, all)
	}
}
