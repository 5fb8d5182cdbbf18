package image_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/image"
)

const (
	dConfig = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
	dLayer  = "sha256:0ba904eae8773b70c75333db4de2f3ac45a8ad4ddba1b242f0b3cfc199391dd8"
	dOther  = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

	jConfig   = `{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"` + dConfig + `","size":2}`
	jLayer    = `{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"` + dLayer + `","size":5}`
	jManifest = `{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"` + dOther + `","size":7}`
	manifest  = `{"schemaVersion":2,"config":` + jConfig + `,"layers":[` + jLayer + `]}`
	index     = `{"schemaVersion":2,"manifests":[` + jManifest + `]}`
)

// with returns a JSON object with a field added.
func with(object, field string) string {
	return strings.TrimSuffix(object, "}") + "," + field + "}"
}

func TestParse(t *testing.T) {
	const (
		ociManifest = ocispec.MediaTypeImageManifest
		ociIndex    = ocispec.MediaTypeImageIndex
	)
	tests := []struct {
		name, mediaType, content string
		want                     string   // media type
		children                 []string // digests
	}{
		{"OCI manifest", ociManifest, manifest, ociManifest, []string{dConfig, dLayer}},
		{"OCI manifest, detected", "", manifest, ociManifest, []string{dConfig, dLayer}},
		{"OCI manifest that says so", ociManifest, with(manifest, `"mediaType":"`+ociManifest+`"`), ociManifest, []string{dConfig, dLayer}},
		{"OCI index", ociIndex, index, ociIndex, []string{dOther}},
		{"OCI index, detected", "", index, ociIndex, []string{dOther}},
		{"Docker manifest, detected", "", with(manifest, `"mediaType":"`+image.MediaTypeDockerManifest+`"`), image.MediaTypeDockerManifest, []string{dConfig, dLayer}},
		{"Docker list, detected", "", with(index, `"mediaType":"`+image.MediaTypeDockerManifestList+`"`), image.MediaTypeDockerManifestList, []string{dOther}},
		{"Docker manifest served without saying so", image.MediaTypeDockerManifest, manifest, image.MediaTypeDockerManifest, []string{dConfig, dLayer}},
		{"no layers in the list", ociManifest, `{"schemaVersion":2,"config":` + jConfig + `,"layers":[]}`, ociManifest, []string{dConfig}},
		{"empty index", ociIndex, `{"schemaVersion":2,"manifests":[]}`, ociIndex, []string{}},
		{"unknown fields", ociManifest, with(manifest, `"x":{"Size":1,"Layers":{"a":[1,2]}}`), ociManifest, []string{dConfig, dLayer}},
		{"null where nothing is meant", ociManifest, with(manifest, `"manifests":null,"subject":null`), ociManifest, []string{dConfig, dLayer}},
		{"annotations in any case", ociManifest, with(manifest, `"annotations":{"Size":"1","size":"2","LAYERS":""}`), ociManifest, []string{dConfig, dLayer}},
		{"space around", ociManifest, "\n " + manifest + "\n", ociManifest, []string{dConfig, dLayer}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d, err := image.Parse(tt.mediaType, []byte(tt.content))
			if err != nil {
				t.Fatal(err)
			}
			got := []string{}
			for _, c := range d.Children() {
				got = append(got, c.Digest.String())
			}
			if d.MediaType != tt.want || d.IsIndex() != image.IsIndex(tt.want) || !reflect.DeepEqual(got, tt.children) {
				t.Errorf("got %s with %v, want %s with %v", d.MediaType, got, tt.want, tt.children)
			}
		})
	}
}

func TestParseReferrer(t *testing.T) {
	d, err := image.Parse("", []byte(with(manifest, `"artifactType":"application/vnd.example","subject":`+jManifest+`,"annotations":{"a":"b"}`)))
	if err != nil {
		t.Fatal(err)
	}
	if d.ArtifactType != "application/vnd.example" || d.Subject == nil || d.Subject.Digest != dOther || d.Annotations["a"] != "b" {
		t.Errorf("got %+v", d)
	}
	if len(d.Children()) != 2 {
		t.Errorf("the subject is a child: %v", d.Children())
	}
}

func TestParseRefuses(t *testing.T) {
	bigAnnotation, err := json.Marshal(strings.Repeat("x", image.MaxAnnotationBytes))
	if err != nil {
		t.Fatal(err)
	}
	manyAnnotations := map[string]string{}
	for i := range image.MaxAnnotations + 1 {
		manyAnnotations[fmt.Sprint(i)] = ""
	}
	annotations, err := json.Marshal(manyAnnotations)
	if err != nil {
		t.Fatal(err)
	}
	var members []string
	for i := range image.MaxMembers + 1 {
		members = append(members, fmt.Sprintf(`"%d":0`, i))
	}
	replace := func(old, new string) string { return strings.Replace(manifest, old, new, 1) }
	const ociManifest, ociIndex = ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex
	tests := []struct {
		name, mediaType, content, says string
	}{
		{"empty", "", "", "not JSON"},
		{"not JSON", "", "<html>", "not JSON at byte"},
		{"truncated", "", manifest[:len(manifest)-1], "not JSON"},
		{"trailing data", "", manifest + "{}", "not JSON at byte"},
		{"not UTF-8", "", with(manifest, "\"x\":\"\xff\""), "UTF-8"},
		{"an array", "", "[]", "another shape"},
		{"null", "", "null", "neither an image manifest nor an index"},
		{"too large", "", strings.Repeat(" ", image.MaxDocument+1), "limit is 33554432"},
		{"too deep", "", with(manifest, `"x":`+strings.Repeat("[", 64)+strings.Repeat("]", 64)), "deeper than 64"},
		{"layers and manifests", ociManifest, with(manifest, `"manifests":[]`), "CVE-2021-41190"},
		{"layers and manifests, as an index", ociIndex, with(index, `"layers":[]`), "CVE-2021-41190"},
		{"config and manifests", "", with(index, `"config":`+jConfig), "CVE-2021-41190"},
		{"states another type than served", ociIndex, with(index, `"mediaType":"`+ociManifest+`"`), "was served or described as"},
		{"states Docker, served as OCI", ociManifest, with(manifest, `"mediaType":"`+image.MediaTypeDockerManifest+`"`), "was served or described as"},
		{"manifest served as an index", ociIndex, manifest, "doesn't fit its media type"},
		{"index served as a manifest", ociManifest, index, "doesn't fit its media type"},
		{"manifest that says it is an index", "", with(manifest, `"mediaType":"`+ociIndex+`"`), "doesn't fit its media type"},
		{"states something else", "", with(manifest, `"mediaType":"text/plain"`), "neither an image manifest nor an index"},
		{"served as something else", "text/plain", manifest, "neither an image manifest nor an index"},
		{"schema 1", "", `{"schemaVersion":1,"name":"x","fsLayers":[]}`, "schema 1 manifests aren't supported"},
		{"schema 1 by media type", "application/vnd.docker.distribution.manifest.v1+prettyjws", "{}", "schema 1 manifests aren't supported"},
		{"fsLayers in schema 2", "", with(manifest, `"fsLayers":[]`), "schema 1 manifests aren't supported"},
		{"no schemaVersion", "", replace(`"schemaVersion":2,`, ""), "schemaVersion is 0"},
		{"schemaVersion 3", "", replace(`"schemaVersion":2`, `"schemaVersion":3`), "schemaVersion is 3"},
		{"no config", "", replace(`"config":`+jConfig+",", ""), "without config"},
		{"no layers", "", replace(`,"layers":[`+jLayer+"]", ""), "without layers"},
		{"layers is an object", "", replace("["+jLayer+"]", "{}"), "another shape"},
		{"duplicate key", "", with(manifest, `"layers":[]`), `"layers" is there twice`},
		{"duplicate key in a descriptor", "", replace(`"size":5`, `"size":5,"size":6`), `"size" is there twice`},
		{"key in another case", "", with(manifest, `"Manifests":[]`), `"Manifests" differs from "manifests" in case only`},
		{"key in another case in a descriptor", "", replace(`"size":5`, `"Size":5`), `"Size" differs from "size"`},
		{"key with a letter that folds", "", with(manifest, `"layerſ":[]`), "in case only"},
		{"negative size", "", replace(`"size":5`, `"size":-1`), "layers[0]: size -1 is negative"},
		{"absurd size", "", replace(`"size":5`, `"size":1125899906842625`), "above the limit of 1125899906842624"},
		{"size that overflows", "", replace(`"size":5`, `"size":9223372036854775808`), "another shape"},
		{"size of a million digits", "", replace(`"size":5`, `"size":`+strings.Repeat("1", 1_000_000)), "another shape"},
		{"long duplicate key", "", with(manifest, `"`+strings.Repeat("k", 100_000)+`":1,"`+strings.Repeat("k", 100_000)+`":1`), "is there twice"},
		{"long media type", "", with(manifest, `"mediaType":"`+strings.Repeat("x", 100_000)+`"`), "neither an image manifest nor an index"},
		{"fractional size", "", replace(`"size":5`, `"size":1.5`), "another shape"},
		{"digest that is a path", "", replace(dLayer, "sha256:../../etc/passwd"), "layers[0]: digest"},
		{"digest of another algorithm", "", replace(dLayer, "md5:0ba904eae8773b70c75333db4de2f3ac"), "unsupported digest algorithm"},
		{"no digest", "", replace(`"digest":"`+dConfig+`",`, ""), "config: digest"},
		{"no media type in a descriptor", "", replace(`"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip",`, ""), "layers[0]: no mediaType"},
		{"media type with a line break", "", replace("tar+gzip", `tar\r\nX: y`), `layers[0]: mediaType`},
		{"bad subject", "", with(manifest, `"subject":`+strings.Replace(jManifest, dOther, "x", 1)), "subject: digest"},
		{"too many annotations", "", with(manifest, `"annotations":`+string(annotations)), "1001 annotations; the limit is 1000"},
		{"large annotations", "", replace(`"size":5`, `"size":5,"annotations":{"a":`+string(bigAnnotation)+`}`), "bytes of annotations; the limit is 1048576"},
		{"too many descriptors", "", `{"schemaVersion":2,"manifests":[` + strings.Repeat("{},", image.MaxDescriptors) + "{}]}", "a list of more than 100000"},
		{"null entry", "", `{"schemaVersion":2,"manifests":[` + jManifest + `,null]}`, "manifests[1] isn't an object"},
		{"list as entry", "", `{"schemaVersion":2,"manifests":[[]]}`, "manifests[0] isn't an object"},
		{"two lists", "", `{"schemaVersion":2,"manifests":[],"manifests":[` + jManifest + `]}`, `the key "manifests" is there twice`},
		{"entry of another shape", "", `{"schemaVersion":2,"manifests":[` + jManifest + `,{"size":"5"}]}`, "manifests[1]: JSON of another shape"},
		{"object of many members", "", with(manifest, `"x":{`+strings.Join(members, ",")+"}"), "an object of more than 4096 members"},
		{"too many nulls", "", `{"schemaVersion":2,"layers":[` + strings.Repeat("null,", image.MaxDescriptors) + "null]}", "a list of more than 100000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := image.Parse(tt.mediaType, []byte(tt.content))
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("error %q doesn't say %q", err, tt.says)
			}
			if strings.Contains(err.Error(), "\n") || len(err.Error()) > 1000 {
				t.Errorf("not one short line: %q", err)
			}
		})
	}
}

func TestParseErrorKinds(t *testing.T) {
	if _, err := image.Parse("", []byte(`{"schemaVersion":1}`)); !errors.Is(err, image.ErrSchema1) {
		t.Errorf("schema 1: %v", err)
	}
	for _, content := range []string{`{}`, `{"schemaVersion":2}`, `{"architecture":"amd64","os":"linux","rootfs":{}}`} {
		if _, err := image.DetectMediaType(image.Bytes([]byte(content))); !errors.Is(err, image.ErrNotDocument) {
			t.Errorf("%s: %v", content, err)
		}
	}
}

func TestChildren(t *testing.T) {
	got, err := image.Children(ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip, Digest: dLayer}, []byte("\x1f\x8b"))
	if got != nil || err != nil {
		t.Errorf("a layer has children %v, %v", got, err)
	}
	got, err = image.Children(ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: dOther}, []byte(manifest))
	if err != nil || len(got) != 2 {
		t.Errorf("a manifest has children %v, %v", got, err)
	}
	_, err = image.Children(ocispec.Descriptor{MediaType: ocispec.MediaTypeImageManifest, Digest: dOther}, []byte(index))
	if err == nil || !strings.Contains(err.Error(), dOther) {
		t.Errorf("an index under a manifest's type: %v", err)
	}
}

func TestParseConfig(t *testing.T) {
	good := `{"architecture":"arm64","os":"linux","variant":"v8","config":{"Env":["A=b"],"Labels":{"env":"x","ENV":"y"},"Healthcheck":{"Test":["x"]}},
		"rootfs":{"type":"layers","diff_ids":["` + dLayer + `"]},"container_config":{"env":null},"Size":1}`
	c, err := image.ParseConfig([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if c.Architecture != "arm64" || c.OS != "linux" || c.Variant != "v8" || len(c.RootFS.DiffIDs) != 1 || c.Config.Labels["ENV"] != "y" {
		t.Errorf("got %+v", c)
	}
	for name, tt := range map[string]struct{ content, says string }{
		"not JSON":        {"x", "not JSON"},
		"bad diff_id":     {strings.Replace(good, dLayer, "sha256:..", 1), "diff_ids[0]"},
		"os in two cases": {strings.Replace(good, `"os"`, `"OS":"windows","os"`, 1), "in case only"},
		"os twice":        {strings.Replace(good, `"os"`, `"os":"windows","os"`, 1), "twice"},
		"too deep":        {`{"x":` + strings.Repeat("[", 70), "deeper than 64"},
		"too large":       {strings.Repeat(" ", image.MaxConfig+1), "limit is 8388608"},
	} {
		if _, err := image.ParseConfig([]byte(tt.content)); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v; want one saying %q", name, err, tt.says)
		}
	}
}

// Runes are cut where a document is read in parts; that makes them no worse, and
// bytes that are none no better.
func TestParseEncoding(t *testing.T) {
	t.Parallel()
	for _, r := range []string{"é", "€", "𝄞"} {
		for shift := range 5 {
			text := strings.Repeat("x", shift) + strings.Repeat(r, 70_000/len(r))
			content := []byte(with(index, `"x":"`+text+`"`))
			if _, err := image.Parse("", content); err != nil {
				t.Errorf("%s behind %d bytes: %v", r, shift, err)
			}
			at := bytes.LastIndex(content[:64<<10], []byte(r))
			for _, bad := range [][]byte{{0xff}, content[at : at+1]} {
				broken := slices.Concat(content[:at], bad, content[at+len(r):])
				if _, err := image.Parse("", broken); err == nil || !strings.Contains(err.Error(), "UTF-8") {
					t.Errorf("%s behind %d bytes, broken: %v", r, shift, err)
				}
			}
		}
	}
}

// What Parse accepts has only descriptors that are safe to use.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{manifest, index, with(manifest, `"annotations":{"a":"b"}`), with(index, `"subject":`+jManifest), `{"schemaVersion":1}`} {
		f.Add("", []byte(seed))
		f.Add(ocispec.MediaTypeImageManifest, []byte(seed))
	}
	f.Fuzz(func(t *testing.T, mediaType string, content []byte) {
		d, err := image.Parse(mediaType, content)
		if err != nil {
			return
		}
		if !json.Valid(content) {
			t.Error("accepted what isn't JSON")
		}
		if mediaType != "" && d.MediaType != mediaType {
			t.Errorf("served as %q, understood as %q", mediaType, d.MediaType)
		}
		if d.IsIndex() && (d.Config != nil || d.Layers != nil) || !d.IsIndex() && (d.Config == nil || d.Manifests != nil) {
			t.Errorf("both or neither: %+v", d)
		}
		for _, c := range d.Children() {
			if err := image.CheckDescriptor(c); err != nil {
				t.Error(err)
			}
		}
		// The list that is read an entry at a time is the one that is there.
		var whole ocispec.Index
		if err := json.Unmarshal(content, &whole); d.IsIndex() && (err != nil || len(whole.Manifests) != len(d.Manifests) ||
			len(whole.Manifests) > 0 && !reflect.DeepEqual(whole.Manifests, d.Manifests) || !reflect.DeepEqual(whole.Annotations, d.Annotations)) {
			t.Errorf("got %+v, want %+v (%v)", d, whole, err)
		}
		if d.MediaType != "" {
			again, err := image.Parse(d.MediaType, content)
			if err != nil || !reflect.DeepEqual(d, again) {
				t.Errorf("read again under %s: %+v, %v", d.MediaType, again, err)
			}
		}
	})
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(`{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["` + dLayer + `"]}}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		c, err := image.ParseConfig(content)
		if err != nil {
			return
		}
		for _, id := range c.RootFS.DiffIDs {
			if strings.ContainsAny(id.String(), "/.") {
				t.Errorf("unsafe diff_id %q", id)
			}
		}
	})
}
