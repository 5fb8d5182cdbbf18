package ipfs_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	unixfspb "github.com/ipfs/boxo/ipld/unixfs/pb"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/protobuf/proto"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/ipfs"
)

// fakeGateway is a gateway that serves a dag, and lies as told.
type fakeGateway struct {
	d *dag
	// car returns the answer to a request for a CAR; nil: 406.
	car func(w http.ResponseWriter, r *http.Request)
	// block may change a block.
	block func(c string, block []byte) []byte

	cars, raws atomic.Int64 // requests
}

func (g *fakeGateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	id := strings.TrimPrefix(r.URL.Path, "/ipfs/")
	if r.URL.Query().Get("format") == "car" {
		g.cars.Add(1)
		if g.car == nil {
			http.Error(w, "no CARs", http.StatusNotAcceptable)
			return
		}
		w.Header().Set("Content-Type", "application/vnd.ipld.car; version=1")
		g.car(w, r)
		return
	}
	g.raws.Add(1)
	block, ok := g.d.blocks[id]
	if !ok {
		http.Error(w, "no such block", http.StatusNotFound)
		return
	}
	if g.block != nil {
		block = g.block(id, block)
	}
	w.Header().Set("Content-Type", "application/vnd.ipld.raw")
	_, _ = w.Write(block)
}

// chunk is what the files of these tests are cut into.
const chunk = 256 << 10

// blobOf returns a blob and its file in a dag of its own, of ten leaves below
// nodes with four links each.
func blobOf(t testing.TB) (transporttest.Blob, *dag, cid.Cid) {
	b := transporttest.NewBlob(7, 10*chunk-17)
	d := newDAG(t)
	return b, d, d.file(b.Reader(), chunk, 4).cid
}

// read reads a blob whole.
func read(t testing.TB, tr transport.Transport, uri string, desc ocispec.Descriptor) ([]byte, error) {
	t.Helper()
	r, err := tr.Open(t.Context(), transport.Route{URI: uri}, desc, 0, desc.Size)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// dfs returns the CIDs of a file's blocks in the order of a CAR.
func dfs(d *dag, root cid.Cid) []string {
	order := []string{root.String()}
	for _, l := range linksOf(d, root) {
		order = append(order, dfs(d, l)...)
	}
	return order
}

func flipped(block []byte) []byte {
	block = bytes.Clone(block)
	block[len(block)/2] ^= 1
	return block
}

func TestLyingGateway(t *testing.T) {
	b, d, root := blobOf(t)
	order := dfs(d, root)
	victim := order[4] // a leaf in the middle
	sendCAR := func(order []string, change func([]byte) []byte) func(http.ResponseWriter, *http.Request) {
		car := d.carOf(root, order)
		if change != nil {
			car = change(car)
		}
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(car) }
	}
	without := slices.DeleteFunc(slices.Clone(order), func(c string) bool { return c == victim })
	backwards := slices.Clone(order)
	slices.Reverse(backwards)
	other := newDAG(t)
	strange := other.file(transporttest.NewBlob(8, 3*chunk).Reader(), chunk, 4)

	tests := []struct {
		name  string
		car   func(http.ResponseWriter, *http.Request)
		block func(string, []byte) []byte
		// want is in the error; empty where the blob comes all the same, by
		// block.
		want string
		kind error
	}{
		{name: "honest", car: sendCAR(order, nil)},
		{name: "no CARs"},
		{name: "a bit flipped in a block", block: func(c string, block []byte) []byte {
			if c == victim {
				return flipped(block)
			}
			return block
		}, want: "block " + victim + ": block does not match its CID", kind: transport.ErrPermanent},
		{name: "a bit flipped in a CAR", car: sendCAR(order, func(car []byte) []byte {
			at := bytes.Index(car, d.blocks[victim])
			car[at+5] ^= 1
			return car
		}), want: "block " + victim + ": block does not match its CID", kind: transport.ErrPermanent},
		{name: "a block that is too large", block: func(string, []byte) []byte { return make([]byte, ipfs.MaxBlock+1) },
			want: "larger than the limit of 2097152 bytes", kind: transport.ErrPermanent},
		{name: "a block cut short", block: func(_ string, block []byte) []byte { return block[:len(block)-1] },
			want: "does not match", kind: transport.ErrPermanent},
		{name: "a missing block in a CAR", car: sendCAR(without, nil)},
		{name: "a CAR with another root", car: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(other.carOf(strange.cid, dfs(other, strange.cid)))
		}},
		{name: "blocks out of order", car: sendCAR(backwards, nil)},
		{name: "a CAR of nothing", car: sendCAR(nil, nil)},
		{name: "a CAR cut short", car: sendCAR(order, func(car []byte) []byte { return car[:len(car)/2] })},
		{name: "no CAR at all", car: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 100)) }},
		{name: "an empty answer for a CAR", car: func(http.ResponseWriter, *http.Request) {}},
		{name: "a huge header", car: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(binary.AppendUvarint(nil, 1<<34))
		}},
		{name: "a huge length", car: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(append(d.carOf(root, nil), bytes.Repeat([]byte{0xff}, 100)...))
		}},
		{name: "a huge block in a CAR", car: func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write(binary.AppendUvarint(d.carOf(root, nil), ipfs.MaxBlock+1000))
		}},
		{name: "an endless CAR", car: func(w http.ResponseWriter, r *http.Request) {
			car := d.carOf(root, order)
			leaf := d.carOf(root, order[len(order)-1:])[len(d.carOf(root, nil)):]
			for _, err := w.Write(car); err == nil && r.Context().Err() == nil; _, err = w.Write(leaf) {
			}
		}},
		{name: "an endless CAR of something else", car: func(w http.ResponseWriter, r *http.Request) {
			leaf := other.carOf(strange.cid, other.order[:1])
			head := len(other.carOf(strange.cid, nil))
			for _, err := w.Write(leaf); err == nil && r.Context().Err() == nil; _, err = w.Write(leaf[head:]) {
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			g := &fakeGateway{d: d, car: tt.car, block: tt.block}
			url := serve(t, g.ServeHTTP)
			tr := newTransport(t, ipfs.Options{Gateways: []string{url}, Reading: ipfs.CARs})
			got, err := read(t, tr, "ipfs://"+root.String(), b.Descriptor())
			if tt.kind == nil {
				if err != nil || !bytes.Equal(got, b.Bytes()) {
					t.Fatalf("%d bytes, %v", len(got), err)
				}
				if g.cars.Load() == 0 {
					t.Error("no CAR was asked for")
				}
				return
			}
			if !errors.Is(err, tt.kind) || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), url) {
				t.Errorf("got %v", err)
			}
			if !bytes.HasPrefix(b.Bytes(), got) {
				t.Error("wrong bytes were handed out")
			}
		})
	}
}

// A liar costs itself and nobody else.
func TestLiarIsReplacedWithinOneOpen(t *testing.T) {
	b, d, root := blobOf(t)
	for name, reading := range map[string]ipfs.Reading{"blocks": ipfs.Blocks, "CARs": ipfs.CARs} {
		t.Run(name, func(t *testing.T) {
			order := dfs(d, root)
			car := d.carOf(root, order)
			lying := flipped(car)
			liar := &fakeGateway{d: d, block: func(_ string, block []byte) []byte { return flipped(block) },
				car: func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(lying) }}
			honest := &fakeGateway{d: d, car: func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(car) }}
			at := serve(t, liar.ServeHTTP)
			var warned []string
			tr := newTransport(t, ipfs.Options{Gateways: []string{at, serve(t, honest.ServeHTTP)}, Reading: reading,
				Warn: func(base, text string) { warned = append(warned, base+" "+text) }})
			for range 2 {
				got, err := read(t, tr, "ipfs://"+root.String(), b.Descriptor())
				if err != nil || !bytes.Equal(got, b.Bytes()) {
					t.Fatalf("%d bytes, %v", len(got), err)
				}
			}
			if asked := liar.raws.Load() + liar.cars.Load(); asked == 0 || asked > 3 {
				t.Errorf("the liar was asked %d times", asked)
			}
			if len(warned) != 1 || !strings.HasPrefix(warned[0], at+" block b") || !strings.HasSuffix(warned[0], "the gateway sends wrong data") {
				t.Errorf("told of the liar: %q", warned)
			}
		})
	}
}

// A gateway that leaves out of a CAR what it sent before (dups=n) is read all
// the same, in memory that doesn't grow.
func TestCARWithoutDuplicates(t *testing.T) {
	d := newDAG(t)
	content := slices.Concat(make([]byte, 3*chunk), bytes.Repeat([]byte{1}, chunk), make([]byte, 200*chunk), bytes.Repeat([]byte{2}, chunk))
	root := d.file(bytes.NewReader(content), chunk, 50).cid
	g := &fakeGateway{d: d, car: func(w http.ResponseWriter, r *http.Request) {
		seen := map[string]bool{}
		_, _ = w.Write(d.carOf(root, slices.DeleteFunc(dfs(d, root), func(c string) bool {
			defer func() { seen[c] = true }()
			return seen[c]
		})))
	}}
	tr := newTransport(t, ipfs.Options{Gateways: []string{serve(t, g.ServeHTTP)}, Reading: ipfs.CARs})
	desc := ocispec.Descriptor{Digest: digest.FromBytes(content), Size: int64(len(content))}
	got, err := read(t, tr, "ipfs://"+root.String(), desc)
	if err != nil || !bytes.Equal(got, content) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if g.raws.Load() > 20 {
		t.Errorf("%d blocks were asked for beside the CAR", g.raws.Load())
	}
}

// What is verified may still be malformed: whoever made the CID made it so.
func TestMalformedContent(t *testing.T) {
	d := newDAG(t)
	leaf := d.leaf([]byte("leaf"))
	file := func(claim uint64, sizes []uint64, children ...child) cid.Cid {
		return d.node(&unixfspb.Data{Type: unixfspb.Data_File.Enum(), Filesize: proto.Uint64(claim), Blocksizes: sizes}, children...)
	}
	deep := leaf
	for range 40 {
		deep = d.part(deep)
	}
	many := bytes.Repeat([]byte{0x12, 0}, 1<<16+1)
	forged := func(code uint64, length int) cid.Cid {
		sum, err := multihash.Sum([]byte("leaf"), code, length)
		if err != nil {
			t.Fatal(err)
		}
		c := cid.NewCidV1(cid.Raw, sum)
		d.keep(c, []byte("leaf"))
		return c
	}
	shard := func(fanout, hash uint64, children ...child) cid.Cid {
		return d.node(&unixfspb.Data{Type: unixfspb.Data_HAMTShard.Enum(), Fanout: &fanout, HashType: &hash}, children...)
	}
	tests := []struct {
		name, path string
		root       cid.Cid
		want       string
	}{
		{"not dag-pb", "", d.put(cid.DagProtobuf, []byte{0xff}), "not dag-pb"},
		{"not UnixFS", "", d.put(cid.DagProtobuf, []byte("\x0a\x02\xff\xff")), "not UnixFS"},
		{"no CID in a link", "", d.put(cid.DagProtobuf, []byte("\x12\x02\x0a\x00\x0a\x02\x08\x02")), "a link without a CID"},
		{"too many links", "", d.put(cid.DagProtobuf, many), "more than 65536 links"},
		{"more links than sizes", "", file(4, nil, leaf), "1 links and 0 sizes"},
		{"a size that is not the sum", "", file(5, []uint64{4}, leaf), "says it is a file of 5 bytes and holds 4"},
		{"sizes beyond all bounds", "", file(4, []uint64{1 << 63, 1 << 63}, leaf, leaf), "more than 8 EiB"},
		{"a leaf smaller than said", "", file(5, []uint64{5}, leaf), "is a file of 4 bytes, and the one above says a file of 5"},
		{"a leaf larger than said", "", file(3, []uint64{3}, leaf), "is a file of 4 bytes, and the one above says a file of 3"},
		{"a directory for a leaf", "", file(4, []uint64{4}, child{cid: d.directory(nil)}), "is a directory of 0 bytes"},
		{"too deep", "", deep.cid, "more than 32 nodes deep"},
		{"metadata", "", d.node(&unixfspb.Data{Type: unixfspb.Data_Metadata.Enum()}), "UnixFS type 3"},
		{"a weak hash", "", file(4, []uint64{4}, child{cid: forged(multihash.SHA1, -1)}), "hash function 0x11"},
		{"a hash cut short", "", file(4, []uint64{4}, child{cid: forged(multihash.SHA2_256, 4)}), "a hash of only 4 bytes"},
		{"another codec", "", file(4, []uint64{4}, child{cid: d.put(cid.DagCBOR, []byte{0})}), "has codec 0x71"},
		{"a symbolic link", "", d.node(&unixfspb.Data{Type: unixfspb.Data_Symlink.Enum(), Data: []byte("x")}), "symbolic link, which is not followed"},
		{"a symbolic link in a path", "/a/b", d.directory(map[string]cid.Cid{"a": d.node(&unixfspb.Data{Type: unixfspb.Data_Symlink.Enum(), Data: []byte("x")})}), "a is a symbolic link"},
		{"a shard of another hash", "/a", shard(256, 1), "hash function 0x1"},
		{"a shard of odd width", "/a", shard(100, 0x22), "width 100"},
		{"a shard with a nameless link", "/a", shard(256, 0x22, leaf), "too short a name"},
		{"a shard above another thing", "/a", shard(8, 0x22, child{name: slotOf("a", 8), cid: d.directory(nil)}), "not a shard of width 8"},
	}
	g := &fakeGateway{d: d}
	tr := newTransport(t, ipfs.Options{Gateways: []string{serve(t, g.ServeHTTP)}, Reading: ipfs.Blocks})
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := read(t, tr, "ipfs://"+tt.root.String()+tt.path, ocispec.Descriptor{Digest: digest.FromString("x"), Size: -1})
			if !errors.Is(err, transport.ErrPermanent) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// slotOf returns the slot of the first shard that a name is in.
func slotOf(name string, fanout uint64) string {
	return strings.ToUpper(strconv.FormatUint(murmur(name)>>61&(fanout-1), 16))
}

// A gateway that lied once is asked after all others from then on, however many
// of its other answers are right and however long ago it was.
func TestLiarStaysLast(t *testing.T) {
	b, d, root := blobOf(t)
	var lied atomic.Bool
	liar := &fakeGateway{d: d, block: func(_ string, block []byte) []byte {
		if lied.CompareAndSwap(false, true) {
			return flipped(block)
		}
		return block
	}}
	honest := &fakeGateway{d: d}
	tr := newTransport(t, ipfs.Options{Gateways: []string{serve(t, liar.ServeHTTP), serve(t, honest.ServeHTTP)}, Reading: ipfs.Blocks})
	for i := range 3 {
		if i == 1 {
			time.Sleep(1200 * time.Millisecond) // longer than a gateway that failed once is left alone
		}
		if got, err := read(t, tr, "ipfs://"+root.String(), b.Descriptor()); err != nil || !bytes.Equal(got, b.Bytes()) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	}
	if n := liar.raws.Load(); n != 1 {
		t.Errorf("the liar was asked %d times", n)
	}
	// It is asked where there is no other.
	honest.d = newDAG(t)
	if got, err := read(t, tr, "ipfs://"+root.String(), b.Descriptor()); err != nil || !bytes.Equal(got, b.Bytes()) {
		t.Errorf("from the liar alone: %d bytes, %v", len(got), err)
	}
}

// A gateway that fails while another serves is told of once, and so is a router.
func TestFailuresAreTold(t *testing.T) {
	b, d, root := blobOf(t)
	broken := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	empty := serve(t, (&fakeGateway{d: newDAG(t)}).ServeHTTP)
	full := serve(t, (&fakeGateway{d: d}).ServeHTTP)
	var warned []string
	warn := func(base, text string) { warned = append(warned, base+" "+text) }
	tr := newTransport(t, ipfs.Options{Gateways: []string{broken, empty, full}, Warn: warn})
	for range 2 {
		if _, err := read(t, tr, "ipfs://"+root.String(), b.Descriptor()); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{broken + " answered 500 Internal Server Error"}; !slices.Equal(warned, want) {
		t.Errorf("told %q, want %q", warned, want)
	}
	warned = nil
	tr = newTransport(t, ipfs.Options{Gateways: []string{empty}, Routers: []string{broken}, Warn: warn})
	for range 2 {
		if _, err := read(t, tr, "ipfs://"+root.String(), b.Descriptor()); !errors.Is(err, transport.ErrNotFound) {
			t.Errorf("got %v", err)
		}
	}
	tr = newTransport(t, ipfs.Options{Routers: []string{broken}})
	if _, err := read(t, tr, "ipfs://"+root.String(), b.Descriptor()); !errors.Is(err, transport.ErrTemporary) ||
		!strings.Contains(err.Error(), "no delegated router that answers: "+broken) {
		t.Errorf("with a broken router alone: %v", err)
	}
	if want := []string{broken + " delegated router: answered 500 Internal Server Error"}; !slices.Equal(warned, want) {
		t.Errorf("told %q, want %q", warned, want)
	}
}

// A few shards that lead to one another and hold nothing have no end, and are an
// error at once.
func TestEndlessShards(t *testing.T) {
	d := newDAG(t)
	data := &unixfspb.Data{Type: unixfspb.Data_HAMTShard.Enum(), HashType: proto.Uint64(0x22), Fanout: proto.Uint64(256)}
	top := d.node(data)
	for range 7 {
		var children []child
		for slot := range 256 {
			children = append(children, child{name: fmt.Sprintf("%02X", slot), cid: top})
		}
		top = d.node(data, children...)
	}
	tr := newTransport(t, ipfs.Options{Gateways: []string{serve(t, (&fakeGateway{d: d}).ServeHTTP)}})
	for e, err := range tr.Walk(t.Context(), "ipfs://"+top.String()) {
		if err == nil {
			t.Fatalf("there is %q", e.Path)
		}
		if !errors.Is(err, transport.ErrPermanent) || !strings.Contains(err.Error(), "a shard of a directory with nothing in it") {
			t.Errorf("got %v", err)
		}
	}
	// A directory that is one shard may be empty.
	for e, err := range tr.Walk(t.Context(), "ipfs://"+d.node(data).String()) {
		t.Errorf("there is %q, %v", e.Path, err)
	}
}
