package image

import (
	"bytes"
	"fmt"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"
)

// Extension is a member of indexes, and of the descriptors in them, that the
// image-spec doesn't define (considerations.md, "Extensibility") and a [Walk] is to
// read.
type Extension struct {
	// Member is its name, exactly.
	Member string
	// Max is how long its value may be, in bytes.
	Max int64
	// Read makes of a value what is kept of it, in [Document.Extension] or
	// [Node.Extension]. It is called once for each index that is read, and once for
	// each entry that is followed, before anything below them is fetched.
	Read func(Value) any
}

// Above reads the extension in an index that is no blob, such as the index.json of a
// layout: of the first entry with the digest that has it, and the index's own. What
// has none is left out. An error is one of [Parse].
func (x *Extension) Above(entry digest.Digest, index []byte) ([]any, error) {
	content := Bytes(index)
	doc, list, err := read("", content, x, "")
	if err != nil {
		return nil, err
	}
	var all []any
	for _, m := range list.ext.at {
		desc, err := list.get(int(m.entry))
		if err != nil {
			return nil, err
		}
		if desc.Digest != entry {
			continue
		}
		of, err := list.extension(int(m.entry))
		if err != nil {
			return nil, err
		}
		if of != nil {
			all = append(all, of)
			break
		}
	}
	if doc.Extension != nil {
		all = append(all, doc.Extension)
	}
	return all, nil
}

// Value is what an [Extension] has in one place.
type Value struct {
	// Index is the digest of the index it stands in; empty for one that is no blob.
	Index digest.Digest
	// Path is where in it, such as "manifests[2].example".
	Path string
	// JSON is the value: one that is well-formed, without duplicate keys. Nil where
	// it is longer than Extension.Max.
	JSON []byte
	// Size is how long it is, in bytes, with the colon and the white space before it.
	Size int64
}

// member is where an extension stands in an index: the entry's number, or -1 for
// the index's own, and the span from behind the key to the end of the value.
type member struct {
	entry    int32
	from, to uint32
}

// members are those of an index, by their entries but for its own.
type members struct {
	extension *Extension
	index     digest.Digest
	content   io.ReaderAt
	own       *member
	at        []member
}

// find returns the one of an entry, nil where it has none.
func (m *members) find(entry int) *member {
	if entry < 0 {
		return m.own
	}
	i, ok := slices.BinarySearchFunc(m.at, int32(entry), func(m member, entry int32) int { return int(m.entry - entry) })
	if !ok {
		return nil
	}
	return &m.at[i]
}

// read returns what the extension makes of that of an entry, or with -1 of the
// index's own; nil where there is none.
func (m *members) read(entry int) (any, error) {
	found := m.find(entry)
	if m.extension == nil || found == nil {
		return nil, nil
	}
	v := Value{Index: m.index, Path: m.extension.Member, Size: int64(found.to - found.from)}
	if entry >= 0 {
		v.Path = fmt.Sprintf("%s.%s", place{"manifests", entry}, v.Path)
	}
	if v.Size <= m.extension.Max {
		raw, err := readSpan(m.content, span{int64(found.from), int64(found.to)})
		if err != nil {
			return nil, err
		}
		v.JSON = bytes.TrimLeft(raw, ": \t\r\n")
	}
	return m.extension.Read(v), nil
}
