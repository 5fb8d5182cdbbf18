package ipfs_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"maps"
	"slices"
	"testing"

	dagpb "github.com/ipfs/boxo/ipld/merkledag/pb"
	unixfspb "github.com/ipfs/boxo/ipld/unixfs/pb"
	"github.com/ipfs/go-cid"
	"github.com/multiformats/go-multihash"
	"github.com/spaolacci/murmur3"
	"google.golang.org/protobuf/proto"
)

// dag is content as blocks, made by hand: what no tool makes can be made.
type dag struct {
	t      testing.TB
	blocks map[string][]byte // by CID
	order  []string          // as they were put
}

func newDAG(t testing.TB) *dag { return &dag{t: t, blocks: map[string][]byte{}} }

// put keeps a block and returns its CID.
func (d *dag) put(codec uint64, block []byte) cid.Cid {
	d.t.Helper()
	c, err := cid.Prefix{Version: 1, Codec: codec, MhType: multihash.SHA2_256, MhLength: -1}.Sum(block)
	if err != nil {
		d.t.Fatal(err)
	}
	d.keep(c, block)
	return c
}

func (d *dag) keep(c cid.Cid, block []byte) {
	if d.blocks[c.String()] == nil {
		d.order = append(d.order, c.String())
	}
	d.blocks[c.String()] = block
}

// child is a link to a node.
type child struct {
	name string
	cid  cid.Cid
	size uint64 // of a file's part
}

// node puts a node of UnixFS.
func (d *dag) node(data *unixfspb.Data, children ...child) cid.Cid {
	d.t.Helper()
	return d.put(cid.DagProtobuf, encodeNode(d.t, data, children...))
}

func encodeNode(t testing.TB, data *unixfspb.Data, children ...child) []byte {
	t.Helper()
	node := &dagpb.PBNode{}
	for _, c := range children {
		node.Links = append(node.Links, &dagpb.PBLink{Hash: c.cid.Bytes(), Name: proto.String(c.name), Tsize: proto.Uint64(c.size)})
	}
	var err error
	if node.Data, err = proto.Marshal(data); err != nil {
		t.Fatal(err)
	}
	// As the codec wants it: links before data, and so not proto.Marshal.
	var block []byte
	for _, l := range node.Links {
		one, err := proto.Marshal(&dagpb.PBNode{Links: []*dagpb.PBLink{l}})
		if err != nil {
			t.Fatal(err)
		}
		block = append(block, one...)
	}
	rest, err := proto.Marshal(&dagpb.PBNode{Data: node.Data})
	if err != nil {
		t.Fatal(err)
	}
	return append(block, rest...)
}

// part puts a node of a file that has the given children.
func (d *dag) part(children ...child) child {
	d.t.Helper()
	data := &unixfspb.Data{Type: unixfspb.Data_File.Enum(), Filesize: proto.Uint64(0)}
	for _, c := range children {
		data.Blocksizes = append(data.Blocksizes, c.size)
		*data.Filesize += c.size
	}
	return child{cid: d.node(data, children...), size: *data.Filesize}
}

// leaf puts a part of a file as a raw block.
func (d *dag) leaf(content []byte) child {
	d.t.Helper()
	return child{cid: d.put(cid.Raw, content), size: uint64(len(content))}
}

// file puts what r yields, cut into chunks, width links to each node.
func (d *dag) file(r io.Reader, chunk, width int) child {
	d.t.Helper()
	var level []child
	buf, zeros := make([]byte, chunk), make([]byte, chunk)
	var zero *child
	for {
		n, err := io.ReadFull(r, buf)
		if n == 0 {
			break
		}
		isZero := bytes.Equal(buf[:n], zeros)
		switch {
		case isZero && zero != nil:
			level = append(level, *zero) // hashed once
		default:
			level = append(level, d.leaf(bytes.Clone(buf[:n])))
			if isZero {
				zero = &level[len(level)-1]
			}
		}
		if err != nil {
			break
		}
	}
	for len(level) > 1 {
		var above []child
		for some := range slices.Chunk(level, width) {
			above = append(above, d.part(some...))
		}
		level = above
	}
	return level[0]
}

// directory puts a directory.
func (d *dag) directory(entries map[string]cid.Cid) cid.Cid {
	d.t.Helper()
	var children []child
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		children = append(children, child{name: name, cid: entries[name]})
	}
	return d.node(&unixfspb.Data{Type: unixfspb.Data_Directory.Enum()}, children...)
}

// tree puts a directory with one file at ALGORITHM/HEX below blobs, and returns
// the layout's CID.
func (d *dag) layout(algorithm, hex string, c cid.Cid) cid.Cid {
	d.t.Helper()
	return d.directory(map[string]cid.Cid{"blobs": d.directory(map[string]cid.Cid{algorithm: d.directory(map[string]cid.Cid{hex: c})})})
}

// carOf returns a CAR with blocks in the given order.
func (d *dag) carOf(root cid.Cid, order []string) []byte {
	var car bytes.Buffer
	section := func(parts ...[]byte) {
		all := bytes.Join(parts, nil)
		car.Write(binary.AppendUvarint(nil, uint64(len(all))))
		car.Write(all)
	}
	// {"roots": [root], "version": 1} in DAG-CBOR.
	link := append([]byte{0}, root.Bytes()...)
	header := append([]byte("\xa2eroots\x81\xd8\x2a\x58"), byte(len(link)))
	section(append(append(header, link...), "gversion\x01"...))
	for _, s := range order {
		c, err := cid.Decode(s)
		if err != nil {
			d.t.Fatal(err)
		}
		section(c.Bytes(), d.blocks[s])
	}
	return car.Bytes()
}

// linksOf returns where a block leads to.
func linksOf(d *dag, c cid.Cid) []cid.Cid {
	d.t.Helper()
	if c.Prefix().Codec == cid.Raw {
		return nil
	}
	var n dagpb.PBNode
	if err := proto.Unmarshal(d.blocks[c.String()], &n); err != nil {
		d.t.Fatal(err)
	}
	var all []cid.Cid
	for _, l := range n.Links {
		to, err := cid.Cast(l.Hash)
		if err != nil {
			d.t.Fatal(err)
		}
		all = append(all, to)
	}
	return all
}

// murmur is the hash of names in a HAMT.
func murmur(name string) uint64 { return murmur3.Sum64([]byte(name)) }
