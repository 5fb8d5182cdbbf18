package ipfs

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"time"

	dagpb "github.com/ipfs/boxo/ipld/merkledag/pb"
	unixfspb "github.com/ipfs/boxo/ipld/unixfs/pb"
	"github.com/ipfs/go-cid"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Caps on nodes.
const (
	// maxLinks bounds the links of one node. A block of MaxBlock bytes could
	// hold a million empty ones.
	maxLinks = 1 << 16
	// maxDepth bounds the nodes above a leaf of a file. kubo's are at most
	// five deep.
	maxDepth = 32
)

// kind is what a node is.
type kind uint8

const (
	file kind = iota
	directory
	shard // a part of a directory that is a HAMT
	symlink
)

func (k kind) String() string {
	return [...]string{"file", "directory", "directory", "symbolic link"}[k]
}

// node is a block, read: a node of UnixFS
// (https://specs.ipfs.tech/unixfs/).
type node struct {
	kind  kind
	data  []byte // of a file, before what the links hold; a link's target; a shard's bit field
	links []link
	size  int64 // of a file, in bytes
	mode  *fs.FileMode
	mtime time.Time
	// fanout is the width of a shard.
	fanout int
}

// leaves is how large the leaves below a node of a file are whose bytes begin at
// start, where all but the last are of one size and the file was cut into such; else
// 0.
func (n *node) leaves(start int64) int64 {
	if len(n.links) < 2 || len(n.data) > 0 {
		return 0
	}
	size := n.links[0].size
	if size <= 0 || size > MaxBlock || start%size != 0 {
		return 0
	}
	for _, k := range n.links[:len(n.links)-1] {
		if k.size != size {
			return 0
		}
	}
	return size
}

// link leads from a node to another.
type link struct {
	name string
	cid  cid.Cid
	size int64 // of a file: how many of its bytes are below
}

// parseNode reads the block of a CID, verified before.
func parseNode(c cid.Cid, block []byte) (*node, error) {
	if c.Prefix().Codec == cid.Raw {
		return &node{kind: file, data: block, size: int64(len(block))}, nil
	}
	n, err := parsePB(block)
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", c, err)
	}
	return n, nil
}

// parsePB reads a block of codec dag-pb.
func parsePB(block []byte) (*node, error) {
	if err := countLinks(block); err != nil {
		return nil, err
	}
	var outer dagpb.PBNode
	if err := proto.Unmarshal(block, &outer); err != nil {
		return nil, errors.New("not dag-pb")
	}
	var inner unixfspb.Data
	if err := proto.Unmarshal(outer.GetData(), &inner); err != nil {
		return nil, errors.New("not UnixFS")
	}
	n := &node{data: inner.GetData()}
	for _, l := range outer.GetLinks() {
		c, err := cid.Cast(l.GetHash())
		if err != nil {
			return nil, errors.New("a link without a CID")
		}
		n.links = append(n.links, link{name: l.GetName(), cid: c})
	}
	if err := n.readMetadata(&inner); err != nil {
		return nil, err
	}
	switch inner.GetType() {
	case unixfspb.Data_Raw, unixfspb.Data_File:
		n.kind = file
		return n, n.readSizes(&inner)
	case unixfspb.Data_Directory:
		n.kind = directory
		return n, nil
	case unixfspb.Data_HAMTShard:
		n.kind = shard
		return n, n.readShard(&inner)
	case unixfspb.Data_Symlink:
		n.kind = symlink
		return n, nil
	}
	return nil, fmt.Errorf("UnixFS type %d is no file, directory or symbolic link", inner.GetType())
}

// countLinks keeps a node of very many links from becoming very many objects.
func countLinks(block []byte) error {
	const linksField = 2 // dag-pb: PBNode.Links
	count := 0
	for len(block) > 0 {
		number, _, n := protowire.ConsumeField(block)
		if n < 0 {
			return errors.New("not dag-pb")
		}
		block = block[n:]
		if number == linksField {
			count++
		}
		if count > maxLinks {
			return fmt.Errorf("more than %d links", maxLinks)
		}
	}
	return nil
}

// readMetadata takes the mode and the time of UnixFS 1.5.
func (n *node) readMetadata(d *unixfspb.Data) error {
	if d.Mode != nil {
		mode := unixMode(d.GetMode())
		n.mode = &mode
	}
	if t := d.GetMtime(); t != nil {
		if t.GetNanos() > 999_999_999 {
			return errors.New("a time with more than a second of nanoseconds")
		}
		n.mtime = time.Unix(t.GetSeconds(), int64(t.GetNanos()))
	}
	return nil
}

// unixMode returns the twelve bits of a mode; UnixFS uses no more.
func unixMode(bits uint32) fs.FileMode {
	mode := fs.FileMode(bits & 0o777)
	for bit, is := range map[uint32]fs.FileMode{0o4000: fs.ModeSetuid, 0o2000: fs.ModeSetgid, 0o1000: fs.ModeSticky} {
		if bits&bit != 0 {
			mode |= is
		}
	}
	return mode
}

// readSizes takes how many of a file's bytes are below each link.
func (n *node) readSizes(d *unixfspb.Data) error {
	if len(d.GetBlocksizes()) != len(n.links) {
		return fmt.Errorf("%d links and %d sizes", len(n.links), len(d.GetBlocksizes()))
	}
	n.size = int64(len(n.data))
	for i, s := range d.GetBlocksizes() {
		if s > math.MaxInt64-uint64(n.size) {
			return errors.New("sizes add up to more than 8 EiB")
		}
		n.links[i].size = int64(s)
		n.size += int64(s)
	}
	if d.Filesize != nil && d.GetFilesize() != uint64(n.size) {
		return fmt.Errorf("says it is a file of %d bytes and holds %d", d.GetFilesize(), n.size)
	}
	return nil
}
