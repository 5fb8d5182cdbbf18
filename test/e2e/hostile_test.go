package e2e

import (
	"archive/tar"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/internal/faultserver"
	"github.com/waybill-project/waybill/test/testimage"
)

// refused fails the test unless the run failed as bad input must: a clear last
// line, not a page, nothing on stdout, nothing listed, nothing wrong stored.
func (o *outcome) refused(u *user, texts ...string) {
	o.t.Helper()
	if o.code == 0 || o.code == 2 {
		o.t.Errorf("%s\nwant it refused", o)
	}
	if o.stdout != "" {
		o.t.Errorf("%s\nstdout must be empty", o)
	}
	lines := strings.Split(strings.TrimSpace(o.stderr), "\n")
	if lines[0] == "" || len(lines) > 12 {
		o.t.Errorf("%s\nwant a clear line, got %d lines", o, len(lines))
	}
	for _, line := range lines {
		if len(line) > 1000 {
			o.t.Errorf("%s\na line of %d bytes is not a clear one", o, len(line))
		}
	}
	o.says(texts...)
	wantSound(o.t, u)
	if _, err := os.Stat(u.store); err == nil {
		var ls []listedImage
		u.run("ls", "--json").exits(0).decode(&ls)
		if len(ls) != 0 {
			o.t.Errorf("it was refused, and is listed: %+v", ls)
		}
	}
}

// document is a manifest as only an attacker would write it.
type document map[string]any

// TestHostileManifests pulls images whose documents are not what they should be.
func TestHostileManifests(t *testing.T) {
	good := smallImage(t)
	var m ocispec.Manifest
	data, err := os.ReadFile(good.Path(good.desc.Digest))
	if err != nil {
		t.Fatal(err)
	}
	readJSON(t, data, &m)
	base := func() document {
		return document{"schemaVersion": 2, "mediaType": ocispec.MediaTypeImageManifest, "config": m.Config, "layers": m.Layers}
	}
	with := func(key string, value any) document {
		d := base()
		d[key] = value
		return d
	}
	layerWith := func(change func(*ocispec.Descriptor)) document {
		l := m.Layers[0]
		change(&l)
		return with("layers", []ocispec.Descriptor{l})
	}
	many := make([]ocispec.Descriptor, 100_001)
	for n := range many {
		many[n] = m.Layers[0]
	}
	tests := []struct {
		name      string
		mediaType string
		content   any // marshalled, or a string as it is
	}{
		{"layers and manifests", ocispec.MediaTypeImageManifest, with("manifests", []ocispec.Descriptor{good.desc})},
		{"not JSON", ocispec.MediaTypeImageManifest, "<html>\x1b[31mnot a manifest\x00</html>"},
		{"empty", ocispec.MediaTypeImageManifest, ""},
		{"JSON of another kind", ocispec.MediaTypeImageManifest, "[1,2,3]"},
		{"two documents", ocispec.MediaTypeImageManifest, "{}{}"},
		{"deep JSON", ocispec.MediaTypeImageManifest, strings.Repeat(`{"a":`, 200_000) + "1" + strings.Repeat("}", 200_000)},
		{"oversize", ocispec.MediaTypeImageManifest, with("annotations", document{"a": strings.Repeat("x", 5<<20)})},
		{"too many layers", ocispec.MediaTypeImageManifest, with("layers", many)},
		{"other media type", ocispec.MediaTypeImageManifest, with("mediaType", ocispec.MediaTypeImageIndex)},
		{"index as manifest", ocispec.MediaTypeImageManifest, document{"schemaVersion": 2, "manifests": []ocispec.Descriptor{good.desc}}},
		{"digest that climbs", ocispec.MediaTypeImageManifest, layerWith(func(d *ocispec.Descriptor) { d.Digest = "sha256:../../../../etc/passwd" })},
		{"digest that is short", ocispec.MediaTypeImageManifest, layerWith(func(d *ocispec.Descriptor) { d.Digest = "sha256:abc" })},
		{"digest of no algorithm", ocispec.MediaTypeImageManifest, layerWith(func(d *ocispec.Descriptor) { d.Digest = "md5:d41d8cd98f00b204e9800998ecf8427e" })},
		{"negative size", ocispec.MediaTypeImageManifest, layerWith(func(d *ocispec.Descriptor) { d.Size = -1 })},
		{"absurd size", ocispec.MediaTypeImageManifest, layerWith(func(d *ocispec.Descriptor) { d.Size = 1 << 62 })},
		{"size too small", ocispec.MediaTypeImageManifest, layerWith(func(d *ocispec.Descriptor) { d.Size-- })},
		{"size too large", ocispec.MediaTypeImageManifest, layerWith(func(d *ocispec.Descriptor) { d.Size++ })},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			i := &image{Layout: good.Layout}
			var err error
			if text, ok := test.content.(string); ok {
				i.desc, err = i.AddBlob(test.mediaType, strings.NewReader(text))
			} else {
				i.desc, err = i.AddJSON(test.mediaType, test.content)
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := i.Tag(i.desc, "bad"); err != nil {
				t.Fatal(err)
			}
			t.Run("layout", func(t *testing.T) {
				u := newUser(t)
				name := "oci:" + i.Dir + ":bad"
				u.run("pull", name).refused(u)
			})
			t.Run("registry", func(t *testing.T) {
				s := startFaults(t, faultserver.Options{Blobs: i.blobs(t), Tags: map[string]digest.Digest{"bad": i.desc.Digest}})
				u := newUser(t)
				u.run("pull", s.Host()+"/app:bad").refused(u, s.Host())
			})
		})
	}
}

// TestDeepIndexes nests indexes further than anybody does.
func TestDeepIndexes(t *testing.T) {
	i := randomImage(t, 1000)
	desc := i.desc
	for range 200 {
		var err error
		if desc, err = i.AddIndex(desc); err != nil {
			t.Fatal(err)
		}
	}
	if err := i.Tag(desc, "deep"); err != nil {
		t.Fatal(err)
	}
	u := newUser(t)
	u.run("pull", "oci:"+i.Dir+":deep").refused(u, "nest")
}

// TestLyingRegistry asks registries that answer about the right image wrongly.
func TestLyingRegistry(t *testing.T) {
	i := randomImage(t, 1000)
	tests := map[string]struct {
		blob  func(*faultserver.Blob)
		fault faultserver.Fault
	}{
		"other content type":      {blob: func(b *faultserver.Blob) { b.MediaType = ocispec.MediaTypeImageIndex }},
		"wrong manifest":          {fault: faultserver.Fault{Lie: &faultserver.Lie{Offset: -2, Length: 1}}},
		"challenge without realm": {fault: faultserver.Fault{Status: 401, Challenge: `Bearer service="x"`}},
		"realm in a private network": {fault: faultserver.Fault{Status: 401,
			Challenge: `Bearer realm="http://169.254.169.254/latest/meta-data",service="x"`}},
		"challenge without end": {fault: faultserver.Fault{Status: 401, Challenge: `Basic realm="` + strings.Repeat("x", 100_000)}},
		"unknown challenge":     {fault: faultserver.Fault{Status: 401, Challenge: `Negotiate abc`}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			blobs := i.blobs(t)
			for n := range blobs {
				if test.blob != nil && blobs[n].Digest == i.desc.Digest {
					test.blob(&blobs[n])
				}
			}
			s := startFaults(t, faultserver.Options{Blobs: blobs, Tags: map[string]digest.Digest{"1": i.desc.Digest}})
			s.SetFaults(test.fault)
			u := newUser(t)
			// The digest is pinned: what the registry says of it can be judged.
			u.run("pull", s.Host()+"/app@"+i.desc.Digest.String()).refused(u, s.Host())
		})
	}
}

// TestHostileLayouts opens directories and archives that aren't what they claim.
func TestHostileLayouts(t *testing.T) {
	good := randomImage(t, 100_000)
	archive := filepath.Join(t.TempDir(), "good.tar")
	peer(t, "tar", "-C", good.Dir, "-cf", archive, "oci-layout", "index.json", "blobs")
	whole, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	layout := func(change func(dir string)) string {
		dir := t.TempDir()
		copyTree(t, good.Dir, dir)
		change(dir)
		return "oci:" + dir
	}
	write := func(dir, name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	file := func(kind, content string) string {
		dir := t.TempDir()
		write(dir, "file.tar", content)
		return kind + ":" + filepath.Join(dir, "file.tar")
	}
	tarOf := func(list ...testimage.Entry) string {
		r, err := testimage.Tar(list...)
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	tests := map[string]string{
		"no such directory": "oci:" + t.TempDir() + "/none",
		"empty directory":   "oci:" + t.TempDir(),
		"no such ref":       good.name() + "-none",
		"no index":          layout(func(dir string) { removeFile(t, dir+"/index.json") }),
		"index not JSON":    layout(func(dir string) { write(dir, "index.json", "nonsense") }),
		"index of 64 MB":    layout(func(dir string) { write(dir, "index.json", strings.Repeat(" ", 64<<20)) }),
		"future version":    layout(func(dir string) { write(dir, "oci-layout", `{"imageLayoutVersion":"9.0.0"}`) }),
		"blob changed":      layout(func(dir string) { write(dir, "blobs/sha256/"+good.layers[0].Digest.Encoded(), "short") }),
		"blob is a directory": layout(func(dir string) {
			path := filepath.Join(dir, "blobs/sha256", good.layers[0].Digest.Encoded())
			removeFile(t, path)
			if err := os.Mkdir(path, 0o755); err != nil {
				t.Fatal(err)
			}
		}),
		"no such archive":        "oci-archive:" + t.TempDir() + "/none.tar",
		"empty archive":          file("oci-archive", ""),
		"archive of text":        file("oci-archive", strings.Repeat("not a tar at all ", 1000)),
		"truncated archive":      file("oci-archive", string(whole[:len(whole)/2])),
		"docker: empty":          file("docker-archive", ""),
		"docker: no manifest":    file("docker-archive", tarOf(testimage.Entry{Header: tar.Header{Name: "x"}, Content: "y"})),
		"docker: bad manifest":   file("docker-archive", tarOf(testimage.Entry{Header: tar.Header{Name: "manifest.json"}, Content: "nonsense"})),
		"docker: layers missing": file("docker-archive", tarOf(testimage.Entry{Header: tar.Header{Name: "manifest.json"}, Content: `[{"Config":"c.json","Layers":["l.tar"]}]`})),
		"docker: names outside": file("docker-archive", tarOf(testimage.Entry{Header: tar.Header{Name: "manifest.json"},
			Content: `[{"Config":"../../../../../etc/passwd","Layers":["/etc/passwd"]}]`})),
		"docker: link outside": file("docker-archive", tarOf(
			testimage.Entry{Header: tar.Header{Name: "manifest.json"}, Content: `[{"Config":"c.json","Layers":["l.tar"]}]`},
			testimage.Entry{Header: tar.Header{Name: "c.json"}, Content: `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}`},
			testimage.Entry{Header: tar.Header{Typeflag: tar.TypeSymlink, Name: "l.tar", Linkname: "/etc/passwd"}})),
	}
	for name, image := range tests {
		t.Run(name, func(t *testing.T) {
			u := newUser(t)
			u.run("pull", image).refused(u)
		})
	}
}

// TestHostileLayers unpacks layers that try to leave the root file system, or to
// fill the disk. Some are refused, some come to nothing; none may touch what is
// outside.
func TestHostileLayers(t *testing.T) {
	outside := t.TempDir()
	canary := filepath.Join(outside, "canary")
	if err := os.WriteFile(canary, []byte("sings"), 0o644); err != nil {
		t.Fatal(err)
	}
	up := strings.Repeat("../", 40)
	tests := map[string][]testimage.Entry{
		"absolute name":            {file(canary, "dead")},
		"name that climbs":         {file(up+canary, "dead")},
		"through a symlink":        {link(tar.TypeSymlink, "out", outside), file("out/canary", "dead")},
		"through a climbing link":  {link(tar.TypeSymlink, "out", up+outside), file("out/canary", "dead")},
		"through two symlinks":     {link(tar.TypeSymlink, "a", "."), link(tar.TypeSymlink, "a/b", outside), file("a/b/canary", "dead")},
		"over a symlink":           {link(tar.TypeSymlink, "file", canary), file("file", "dead")},
		"hardlink to outside":      {link(tar.TypeLink, "stolen", canary), file("stolen", "dead")},
		"hardlink that climbs":     {link(tar.TypeLink, "stolen", up+canary), file("stolen", "dead")},
		"hardlink through symlink": {link(tar.TypeSymlink, "out", outside), link(tar.TypeLink, "stolen", "out/canary"), file("stolen", "dead")},
		"whiteout that climbs":     {file(up+outside+"/.wh.canary", "")},
		"whiteout through symlink": {link(tar.TypeSymlink, "out", outside), file("out/.wh.canary", "")},
		"opaque through symlink":   {link(tar.TypeSymlink, "out", outside), file("out/.wh..wh..opq", "")},
		"whiteout of the parent":   {dir("d/"), file("d/.wh...", ""), file("d/.wh..", "")},
		"mode through symlink":     {link(tar.TypeSymlink, "out", canary), {Header: tar.Header{Name: "out", Typeflag: tar.TypeDir, Mode: 0o777}}},
		"same name many times":     {file("a", "1"), dir("a/"), link(tar.TypeSymlink, "a", outside), file("a/canary", "dead"), file("a", "2")},
		"root is a symlink":        {link(tar.TypeSymlink, "./", outside), file("canary", "dead")},
	}
	for name, list := range tests {
		t.Run(name, func(t *testing.T) {
			i := makeImage(t, entries(t, testimage.Gzip, list...))
			u := newUser(t)
			bundle := filepath.Join(u.home, "bundle")
			o := u.run("bundle", i.name(), bundle)
			if o.code != 0 {
				if _, err := os.Lstat(filepath.Join(bundle, "rootfs")); err == nil {
					t.Errorf("%s\nrefused, yet there is a rootfs", o)
				}
			}
			info, err := os.Lstat(canary)
			if err != nil {
				t.Fatalf("%s\nit reached outside: %v", o, err)
			}
			data, err := os.ReadFile(canary)
			if err != nil || string(data) != "sings" || info.Mode() != 0o644 || links(info) != 1 {
				t.Errorf("%s\nit reached outside: %q, %v with %d links, %v", o, data, info.Mode(), links(info), err)
			}
			if left, err := os.ReadDir(outside); err != nil || len(left) != 1 {
				t.Errorf("%s\nit reached outside: %v, %v", o, left, err)
			}
		})
	}
}

// TestBadLayers unpacks layers that are damaged though their digests are right.
func TestBadLayers(t *testing.T) {
	tests := map[string]struct {
		mediaType string
		content   string
	}{
		"not gzip":         {ocispec.MediaTypeImageLayerGzip, "this is not gzip"},
		"not zstd":         {ocispec.MediaTypeImageLayerZstd, "this is not zstd"},
		"not tar":          {ocispec.MediaTypeImageLayer, strings.Repeat("this is not a tar", 100)},
		"cut off":          {ocispec.MediaTypeImageLayerGzip, "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03"},
		"unknown kind":     {"application/vnd.example.layer", "x"},
		"encrypted":        {ocispec.MediaTypeImageLayerGzip + "+encrypted", "x"},
		"kind with escape": {"application/\x1b[2Jx", "x"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			i := makeImage(t)
			desc, err := i.AddBlob(test.mediaType, strings.NewReader(test.content))
			if err != nil {
				t.Fatal(err)
			}
			l := testimage.Layer{Descriptor: desc, DiffID: digest.FromString(test.content)}
			if i.desc, err = i.AddImage(testimage.Config(), l); err != nil {
				t.Fatal(err)
			}
			if err := i.Tag(i.desc, "app"); err != nil {
				t.Fatal(err)
			}
			u := newUser(t)
			bundle := filepath.Join(u.home, "bundle")
			o := u.run("bundle", i.name(), bundle)
			if o.code == 0 || strings.Contains(o.stderr, "\x1b") {
				t.Errorf("%s\nwant it refused in plain text", o)
			}
			if _, err := os.Lstat(filepath.Join(bundle, "rootfs")); err == nil {
				t.Errorf("%s\nthere is a rootfs", o)
			}
		})
	}
}

// TestBadConfigs has images whose configuration can't be used.
func TestBadConfigs(t *testing.T) {
	l, err := testimage.NewLayout(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	rootfs, err := l.AddLayer(testimage.Text(1, 1000), testimage.Gzip)
	if err != nil {
		t.Fatal(err)
	}
	diffIDs := fmt.Sprintf(`"rootfs":{"type":"layers","diff_ids":[%q]}`, rootfs.DiffID)
	tests := map[string]string{
		"not JSON":        "nonsense",
		"no diffIDs":      `{"os":"linux","architecture":"amd64"}`,
		"too many":        `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["` + rootfs.DiffID.String() + `","` + rootfs.DiffID.String() + `"]}}`,
		"bad diffID":      `{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["sha256:zz"]}}`,
		"unknown user":    `{"os":"linux","architecture":"amd64","config":{"User":"nobody-knows"},` + diffIDs + `}`,
		"numbers as text": `{"os":"linux","architecture":"amd64","config":{"Env":3},` + diffIDs + `}`,
	}
	for name, config := range tests {
		t.Run(name, func(t *testing.T) {
			c, err := l.AddBlob(ocispec.MediaTypeImageConfig, strings.NewReader(config))
			if err != nil {
				t.Fatal(err)
			}
			desc, err := l.AddJSON(ocispec.MediaTypeImageManifest, ocispec.Manifest{
				Versioned: specs.Versioned{SchemaVersion: 2},
				MediaType: ocispec.MediaTypeImageManifest,
				Config:    c, Layers: []ocispec.Descriptor{rootfs.Descriptor},
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := l.Tag(desc, "app"); err != nil {
				t.Fatal(err)
			}
			u := newUser(t)
			bundle := filepath.Join(u.home, "bundle")
			o := u.run("bundle", "oci:"+l.Dir+":app", bundle)
			if o.code == 0 {
				t.Errorf("%s\nwant it refused", o)
			}
			if _, err := os.Lstat(filepath.Join(bundle, "rootfs")); err == nil {
				t.Errorf("%s\nthere is a rootfs", o)
			}
		})
	}
}
