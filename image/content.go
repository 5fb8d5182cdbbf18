package image

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Content is the verified content of a document or config. An index is read from
// it an entry at a time, so that one of very many needs no more memory than one of
// few: a file does best.
type Content interface {
	io.ReaderAt
	io.Closer
	// Size is how long it is, in bytes.
	Size() int64
}

// Bytes makes content in memory a [Content].
func Bytes(b []byte) Content {
	return inMemory{bytes.NewReader(b)}
}

type inMemory struct{ *bytes.Reader }

// Close implements [io.Closer].
func (inMemory) Close() error { return nil }

// readAll reads content that is wanted in memory.
func readAll(content Content, most int64) ([]byte, error) {
	if content.Size() > most {
		return nil, tooLarge(content.Size(), most)
	}
	return readSpan(content, span{0, content.Size()})
}

func tooLarge(size, most int64) error {
	return fmt.Errorf("%d bytes; the limit is %d", size, most)
}

// span is a part of a document, from the first byte to before the last.
type span struct{ from, to int64 }

func (s span) len() int64 { return s.to - s.from }

func readSpan(content io.ReaderAt, s span) ([]byte, error) {
	b := make([]byte, s.len())
	if _, err := io.ReadFull(io.NewSectionReader(content, s.from, s.len()), b); err != nil {
		return nil, fmt.Errorf("reading the document: %w", err)
	}
	return b, nil
}

// entries are the manifests of an index, of which only the places are kept. Each
// was found good when the index was read.
type entries struct {
	content io.ReaderAt
	at      []offsets
	ahead   []byte // what was read last, from behind
	behind  int64
	ext     members
}

// offsets are those of an entry. Four bytes each are enough for [MaxDocument].
type offsets struct{ from, to uint32 }

// readAhead is how much of an index is read at once, in bytes.
const readAhead = 64 << 10

// raw returns the JSON of an entry, good until the next call.
func (e *entries) raw(i int) ([]byte, error) {
	s := span{int64(e.at[i].from), int64(e.at[i].to)}
	if s.from < e.behind || s.to > e.behind+int64(len(e.ahead)) {
		end := int64(e.at[len(e.at)-1].to)
		ahead, err := readSpan(e.content, span{s.from, min(end, s.from+max(readAhead, s.len()))})
		if err != nil {
			return nil, err
		}
		e.ahead, e.behind = ahead, s.from
	}
	return e.ahead[s.from-e.behind : s.to-e.behind], nil
}

func (e *entries) len() int { return len(e.at) }

// extension returns what the walk's extension has of the entry i.
func (e *entries) extension(i int) (any, error) { return e.ext.read(i) }

// get decodes the entry i.
func (e *entries) get(i int) (ocispec.Descriptor, error) {
	var desc ocispec.Descriptor
	raw, err := e.raw(i)
	if err == nil {
		if err = json.Unmarshal(raw, &desc); err != nil {
			err = notShape(err, span{0, int64(e.at[i].from)})
		}
	}
	if err == nil {
		err = CheckDescriptor(desc)
	}
	if err != nil {
		return desc, fmt.Errorf("%s: %w", place{"manifests", i}, err)
	}
	return desc, nil
}

// all decodes every entry.
func (e *entries) all() ([]ocispec.Descriptor, error) {
	list := make([]ocispec.Descriptor, 0, e.len())
	types := map[string]string{}
	for i := range e.len() {
		desc, err := e.get(i)
		if err != nil {
			return nil, err
		}
		desc.MediaType = once(types, desc.MediaType)
		list = append(list, desc)
	}
	return list, nil
}

// check decodes every entry and keeps none.
func (e *entries) check() error {
	for i := range e.len() {
		if _, err := e.get(i); err != nil {
			return err
		}
	}
	return nil
}

// once returns the first string that was equal to s: a large document has one or
// two media types.
func once(known map[string]string, s string) string {
	if k, ok := known[s]; ok {
		return k
	}
	if len(known) < MaxMembers {
		known[s] = s
	}
	return s
}

// checkUTF8 finds out whether all of content is UTF-8.
func checkUTF8(content io.ReaderAt, size int64) error {
	buf := make([]byte, min(size, readAhead))
	rest := 0 // bytes of a rune that was cut off, at the beginning of buf
	for at := int64(0); at < size; {
		n := int(min(int64(len(buf)-rest), size-at))
		if n == 0 {
			return errNotUTF8
		}
		if _, err := io.ReadFull(io.NewSectionReader(content, at, int64(n)), buf[rest:rest+n]); err != nil {
			return fmt.Errorf("reading the document: %w", err)
		}
		at += int64(n)
		b := buf[:rest+n]
		whole := len(b)
		if at < size {
			whole -= cutOff(b)
		}
		if !utf8.Valid(b[:whole]) {
			return errNotUTF8
		}
		rest = copy(buf, b[whole:])
	}
	return nil
}

// cutOff returns how many bytes at the end of b are the beginning of a rune.
func cutOff(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if utf8.RuneStart(b[len(b)-n]) {
			if utf8.FullRune(b[len(b)-n:]) {
				return 0
			}
			return n
		}
	}
	return 0
}
