package waybill_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/waybill-project/waybill/waybill"
)

const (
	specDir    = "../spec"
	vectorsDir = specDir + "/vectors/waybill"
)

// kinds are the names the vectors have for errors (spec/waybill.md, appendix).
var kinds = map[string]error{
	"syntax":     waybill.ErrSyntax,
	"limit":      waybill.ErrLimit,
	"mediaType":  waybill.ErrMediaType,
	"invalid":    waybill.ErrInvalid,
	"pieces":     waybill.ErrPieces,
	"refused":    waybill.ErrRefused,
	"unknown":    waybill.ErrUnknown,
	"expired":    waybill.ErrExpired,
	"future":     waybill.ErrFuture,
	"superseded": waybill.ErrSuperseded,
	"conflict":   waybill.ErrConflict,
}

// kindOf returns the vectors' name of an error, or empty for none.
func kindOf(t *testing.T, err error) string {
	t.Helper()
	if err == nil {
		return ""
	}
	var found []string
	for name, kind := range kinds {
		if errors.Is(err, kind) {
			found = append(found, name)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%v is of the kinds %v, want one", err, found)
	}
	return found[0]
}

// place is an error as the vectors have it.
type place struct {
	Kind  string `json:"refused"`
	Where string `json:"where"`
}

func placeOf(t *testing.T, err error) place {
	t.Helper()
	var e *waybill.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is no *waybill.Error", err)
	}
	return place{kindOf(t, err), e.Where}
}

type validVector struct {
	File, Description, Canonical string
	Schema                       bool
	Queries                      []query
}

// query is what a document is asked, and what it answers.
type query struct {
	Digest  digest.Digest `json:"digest"`
	Size    int64         `json:"size"`
	Base    string        `json:"base"`
	Local   bool          `json:"local"`
	Entries []entry       `json:"entries"`
	Aliases []alias       `json:"aliases"`
	Pieces  *pieces       `json:"pieces"`
	Refused []place       `json:"carriersRefused"`
}

type entry struct {
	URI        string `json:"uri"`
	Protocol   string `json:"protocol"`
	Repository string `json:"repository"`
	Priority   int    `json:"priority"`
	Geo        string `json:"geo"`
	Stated     bool   `json:"stated"`
	place
}

type alias struct {
	Kind    string `json:"kind"`
	Value   string `json:"value"`
	Profile string `json:"profile"`
	File    string `json:"file"`
	place
}

type pieces struct {
	Count       int           `json:"count"`
	TableSize   int64         `json:"tableSize"`
	TableDigest digest.Digest `json:"tableDigest"`
	Entries     []entry       `json:"entries"`
	Refused     []place       `json:"entriesRefused"`
}

func TestValidVectors(t *testing.T) {
	var vectors []validVector
	readVectors(t, "valid.json", &vectors)
	var files []string
	schema := compileSchema(t)
	for _, v := range vectors {
		files = append(files, v.File)
		t.Run(v.File, func(t *testing.T) {
			content := readFile(t, filepath.Join(vectorsDir, v.File))
			d, err := waybill.Parse(content)
			if err != nil {
				t.Fatal(err)
			}
			checkSchema(t, schema, content, v.Schema)
			checkCanonical(t, content, v.Canonical)
			for i, q := range v.Queries {
				t.Run(fmt.Sprint(i), func(t *testing.T) { checkQuery(t, d, q) })
			}
		})
	}
	checkAllListed(t, "valid", files)
}

func TestInvalidVectors(t *testing.T) {
	var vectors []struct {
		File, Description, Kind, Where string
		Schema                         bool
	}
	readVectors(t, "invalid.json", &vectors)
	var files []string
	schema := compileSchema(t)
	for _, v := range vectors {
		files = append(files, v.File)
		t.Run(v.File, func(t *testing.T) {
			content := readFile(t, filepath.Join(vectorsDir, v.File))
			d, err := waybill.Parse(content)
			if err == nil {
				t.Fatalf("parsed as %+v", d)
			}
			if got, want := placeOf(t, err), (place{v.Kind, v.Where}); got != want {
				t.Errorf("got %+v, want %+v: %v", got, want, err)
			}
			checkLine(t, err)
			checkSchema(t, schema, content, v.Schema)
		})
	}
	checkAllListed(t, "invalid", files)
}

// TestExampleOfTheSpecification: the document shown in spec/waybill.md is one.
func TestExampleOfTheSpecification(t *testing.T) {
	_, after, _ := strings.Cut(string(readFile(t, specDir+"/waybill.md")), "```json\n")
	content, _, _ := strings.Cut(after, "```")
	d, err := waybill.Parse([]byte(content))
	if err != nil {
		t.Fatal(err)
	}
	checkSchema(t, compileSchema(t), []byte(content), true)
	if len(d.Consignments) != 1 || d.Consignments[0].Digest != digest.FromString("hello world") {
		t.Errorf("it is about %+v", d.Consignments)
	}
}

func TestInForceVectors(t *testing.T) {
	var vectors []struct {
		Name       string
		Now        time.Time
		Seen       map[string]waybill.Seen
		Candidates []struct {
			Signer          string
			Sequence        int64
			Digest          digest.Digest
			Issued, Expires time.Time
			Expect          string
		}
	}
	readVectors(t, "inforce.json", &vectors)
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			var candidates []waybill.Candidate
			var want, got []string
			for _, c := range v.Candidates {
				d := &waybill.Document{Issued: c.Issued, Expires: c.Expires, Sequence: c.Sequence}
				candidates = append(candidates, waybill.Candidate{Signer: c.Signer, Digest: c.Digest, Document: d})
				want = append(want, c.Expect)
			}
			seen := func(signer string) waybill.Seen { return v.Seen[signer] }
			for _, err := range waybill.Choose(candidates, v.Now, seen) {
				got = append(got, kindOf(t, err))
				if err != nil {
					checkLine(t, err)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// checkCanonical checks the canonical form, and that it says the same.
func checkCanonical(t *testing.T, content []byte, want string) {
	t.Helper()
	d, err := waybill.Parse(content)
	if err != nil {
		t.Fatal(err)
	}
	got, err := d.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("canonical form is\n%s, want\n%s", got, want)
	}
	again, err := waybill.Parse(got)
	if err != nil {
		t.Fatal(err)
	}
	checkSame(t, again, d)
	if second, err := again.Marshal(); err != nil || !bytes.Equal(second, got) {
		t.Errorf("written again it is\n%s, %v", second, err)
	}
}

func checkQuery(t *testing.T, d *waybill.Document, q query) {
	places, err := d.Places(waybill.From{Base: q.Base, Local: q.Local})
	if err != nil {
		t.Fatal(err)
	}
	desc := ocispec.Descriptor{Digest: q.Digest, Size: q.Size}
	var entries []entry
	for e, err := range places.Routes(desc) {
		entries = append(entries, toEntry(t, e, err))
	}
	compare(t, "entries", entries, q.Entries)

	var aliases []alias
	for a, err := range places.Aliases(desc) {
		if err != nil {
			aliases = append(aliases, alias{place: placeOf(t, err)})
			continue
		}
		aliases = append(aliases, alias{Kind: a.Kind, Value: a.Value, Profile: a.Profile, File: a.File})
	}
	compare(t, "aliases", aliases, q.Aliases)

	var refused []place
	for err := range places.Refused() {
		refused = append(refused, placeOf(t, err))
	}
	compare(t, "refused carriers", refused, q.Refused)

	hints, ok, err := places.Pieces(desc)
	if !ok {
		if q.Pieces != nil {
			t.Errorf("no pieces: %v", err)
		}
		return
	}
	got := pieces{Count: int((hints.Size-1)/hints.Length + 1), TableSize: hints.Table.Size, TableDigest: hints.Table.Digest}
	for _, e := range hints.Entries {
		got.Entries = append(got.Entries, toEntry(t, e, nil))
	}
	for _, err := range hints.Refused {
		got.Refused = append(got.Refused, placeOf(t, err))
	}
	compare(t, "pieces", []*pieces{&got}, []*pieces{q.Pieces})
}

func toEntry(t *testing.T, e waybill.Entry, err error) entry {
	t.Helper()
	if err != nil {
		if e.URI != "" {
			t.Errorf("refused entry has the URI %q", e.URI)
		}
		return entry{place: placeOf(t, err)}
	}
	if (e.Source == "") != e.Stated {
		t.Errorf("%s: Source is %q", e.URI, e.Source)
	}
	return entry{URI: e.URI, Protocol: e.Protocol, Repository: e.Repository, Priority: e.Priority, Geo: e.Geo, Stated: e.Stated, place: place{Where: e.Where}}
}

// compare reports where two lists differ.
func compare[T any](t *testing.T, what string, got, want []T) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		var g, w any
		if i < len(got) {
			g = got[i]
		}
		if i < len(want) {
			w = want[i]
		}
		if !reflect.DeepEqual(g, w) {
			t.Errorf("%s, number %d: got %+v, want %+v", what, i, g, w)
		}
	}
}

func compileSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	s, err := c.Compile(specDir + "/waybill.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// checkSchema checks that the schema accepts content, or doesn't. What isn't
// JSON to a reader of it isn't accepted.
func checkSchema(t *testing.T, s *jsonschema.Schema, content []byte, want bool) {
	t.Helper()
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(content))
	switch {
	case !utf8.Valid(content):
		err = errors.New("not UTF-8") // which the library repairs
	case err == nil:
		err = s.Validate(v)
	}
	if (err == nil) != want {
		t.Errorf("the schema says %v; accepted is to be %v", err, want)
	}
}

// checkAllListed checks that every file of a directory of vectors is used.
func checkAllListed(t *testing.T, dir string, listed []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(vectorsDir, dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(listed) {
		t.Errorf("%d files in %s, %d listed", len(files), dir, len(listed))
	}
}

func readVectors(t *testing.T, name string, into any) {
	t.Helper()
	readJSON(t, filepath.Join(vectorsDir, name), into)
}

func readJSON(t *testing.T, name string, into any) {
	t.Helper()
	if err := json.Unmarshal(readFile(t, name), into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return content
}
