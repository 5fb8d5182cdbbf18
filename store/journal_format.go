package store

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/opencontainers/go-digest"
)

// A journal is a sequence of records, each
//
//	kind byte | length of payload uint16 | payload | CRC-32C of all before uint32
//
// with numbers in little-endian order. It begins with one recordHeader.
const (
	recordHeader = 1 // version byte, size int64, length of boot id byte, boot id, digest
	recordSource = 2 // a source's name; they are numbered from 1 as they come
	recordExtent = 3 // source uint16, offset int64, length int64
	recordForget = 4 // offset int64, length int64
	recordBegin  = 5 // an fdatasync of the data begins
	recordSynced = 6 // it has ended: all that was recorded before the last recordBegin is durable
)

const (
	journalVersion = 1
	recordFrame    = 1 + 2 + 4

	maxJournal     = 384 << 10 // bytes; one more record and it is compacted
	maxSpans       = 4096      // left by compacting
	maxSources     = 256       // in one journal
	maxSourceBytes = 64 << 10  // all names of one journal
	maxSourceName  = 4 << 10   // bytes of one name
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// journalHeader says what a journal is about.
type journalHeader struct {
	digest digest.Digest
	size   int64 // -1 is unknown
	boot   string
}

// ledger is what the records of a journal add up to.
type ledger struct {
	header      journalHeader
	sources     []string // [0] is "", the unknown source
	sourceBytes int
	spans       spans
}

// appendRecord appends a record to b.
func appendRecord(b []byte, kind byte, payload []byte) []byte {
	start := len(b)
	b = append(b, kind)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(payload)))
	b = append(b, payload...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

func appendHeader(b []byte, h journalHeader) []byte {
	p := []byte{journalVersion}
	p = binary.LittleEndian.AppendUint64(p, uint64(h.size))
	p = append(p, byte(len(h.boot)))
	p = append(p, h.boot...)
	p = append(p, h.digest...)
	return appendRecord(b, recordHeader, p)
}

func appendExtent(b []byte, source uint16, off, length int64) []byte {
	var p [18]byte
	binary.LittleEndian.PutUint16(p[:], source)
	binary.LittleEndian.PutUint64(p[2:], uint64(off))
	binary.LittleEndian.PutUint64(p[10:], uint64(length))
	return appendRecord(b, recordExtent, p[:])
}

func appendForget(b []byte, off, length int64) []byte {
	var p [16]byte
	binary.LittleEndian.PutUint64(p[:], uint64(off))
	binary.LittleEndian.PutUint64(p[8:], uint64(length))
	return appendRecord(b, recordForget, p[:])
}

// parseJournal adds up the records of b. It stops at the first that is torn or
// makes no sense, and returns how many bytes before it are good: 0 when there
// is no header, and then the ledger is empty.
func parseJournal(b []byte) (l ledger, good int) {
	kind, payload, n := nextRecord(b)
	if kind != recordHeader || !l.readHeader(payload) {
		return ledger{}, 0
	}
	l.sources = []string{""}
	for good = n; ; good += n {
		kind, payload, n = nextRecord(b[good:])
		if n == 0 || !l.apply(kind, payload) {
			return l, good
		}
	}
}

// nextRecord returns the record b begins with and its length in bytes, 0 if
// there is no intact one.
func nextRecord(b []byte) (kind byte, payload []byte, n int) {
	if len(b) < recordFrame {
		return 0, nil, 0
	}
	n = recordFrame + int(binary.LittleEndian.Uint16(b[1:]))
	if len(b) < n || binary.LittleEndian.Uint32(b[n-4:]) != crc32.Checksum(b[:n-4], castagnoli) {
		return 0, nil, 0
	}
	return b[0], b[3 : n-4], n
}

func (l *ledger) readHeader(p []byte) bool {
	if len(p) < 10 || p[0] != journalVersion {
		return false
	}
	size, bootLength := int64(binary.LittleEndian.Uint64(p[1:])), int(p[9])
	if size < -1 || len(p) < 10+bootLength {
		return false
	}
	boot, d := p[10:10+bootLength], p[10+bootLength:]
	l.header = journalHeader{digest.Digest(d), size, string(boot)}
	return true
}

// apply adds one record, and tells whether it makes sense.
func (l *ledger) apply(kind byte, p []byte) bool {
	switch kind {
	case recordSource:
		if !l.hasRoom(string(p)) {
			return false
		}
		l.addSource(string(p))
		return true
	case recordExtent:
		if len(p) != 18 {
			return false
		}
		source := binary.LittleEndian.Uint16(p)
		off, end, ok := l.readRange(p[2:])
		if !ok || int(source) >= len(l.sources) {
			return false
		}
		l.spans.set(span{off: off, end: end, source: source})
		return true
	case recordForget:
		if len(p) != 16 {
			return false
		}
		off, end, ok := l.readRange(p)
		if ok {
			l.spans.cut(off, end)
		}
		return ok
	case recordBegin:
		l.spans.promote(written, syncing)
		return len(p) == 0
	case recordSynced:
		l.spans.promote(syncing, synced)
		return len(p) == 0
	}
	return false
}

// hasRoom tells whether a new source can be given a number.
func (l *ledger) hasRoom(name string) bool {
	return name != "" && len(name) <= maxSourceName && len(l.sources) <= maxSources && l.sourceBytes+len(name) <= maxSourceBytes
}

// addSource gives a new source the next number.
func (l *ledger) addSource(name string) {
	l.sources = append(l.sources, name)
	l.sourceBytes += len(name)
}

func (l *ledger) readRange(p []byte) (off, end int64, ok bool) {
	off, length := int64(binary.LittleEndian.Uint64(p)), int64(binary.LittleEndian.Uint64(p[8:]))
	return off, off + length, l.header.validRange(off, length)
}

// validRange tells whether length bytes at off are in the blob, and are any.
func (h journalHeader) validRange(off, length int64) bool {
	return off >= 0 && length > 0 && off+length > off && (h.size < 0 || off+length <= h.size)
}

// snapshot returns a journal that adds up to l, after making that small enough.
func (l *ledger) snapshot() []byte {
	l.spans.shrink(maxSpans)
	l.dropUnusedSources()
	b := appendHeader(nil, l.header)
	for _, name := range l.sources[1:] {
		b = appendRecord(b, recordSource, []byte(name))
	}
	b = l.appendSpans(b, synced)
	b = appendRecord(b, recordBegin, nil)
	b = appendRecord(b, recordSynced, nil)
	b = l.appendSpans(b, syncing)
	b = appendRecord(b, recordBegin, nil)
	return l.appendSpans(b, written)
}

func (l *ledger) appendSpans(b []byte, state durability) []byte {
	for _, sp := range l.spans {
		if sp.state == state {
			b = appendExtent(b, sp.source, sp.off, sp.end-sp.off)
		}
	}
	return b
}

// dropUnusedSources renumbers the sources so that those nothing is held from
// are gone.
func (l *ledger) dropUnusedSources() {
	old := l.sources
	number := make([]uint16, len(old))
	l.sources, l.sourceBytes = []string{""}, 0
	for i, sp := range l.spans {
		if sp.source != 0 && number[sp.source] == 0 {
			number[sp.source] = uint16(len(l.sources))
			l.addSource(old[sp.source])
		}
		l.spans[i].source = number[sp.source]
	}
}
