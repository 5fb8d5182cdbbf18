package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// journal is the open journal of an ingest. Its file is made with the first
// record: most small blobs never need one.
type journal struct {
	path string

	mu      sync.Mutex
	ledger  ledger            // what the records in f add up to
	numbers map[string]uint16 // of the ledger's sources
	f       *os.File          // nil before the first record
	size    int64             // bytes of good records in f
	buf     []byte            // for the records being made
	failed  error             // why nothing more can be recorded
}

// readJournal returns what the journal at path adds up to, and how many bytes
// of it are good: 0 where there is none, or none that can be read as one.
func readJournal(path string) (ledger, int64, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return ledger{}, 0, nil
	}
	if err != nil {
		return ledger{}, 0, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxJournal+1))
	if err != nil || len(b) > maxJournal {
		return ledger{}, 0, err
	}
	l, good := parseJournal(b)
	return l, int64(good), nil
}

// survivors leaves in l what can still be relied on in the boot named boot, with
// dataSize bytes of data on disk, and tells whether that is all there was.
func (l *ledger) survivors(boot string, dataSize int64) (all bool) {
	all = true
	if l.header.boot != boot || boot == "" {
		// What was not synced, or recorded again since, may be lost.
		all = false
		l.spans = slices.DeleteFunc(l.spans, func(sp span) bool { return sp.state != synced })
	}
	if l.spans.find(dataSize) < len(l.spans) {
		all = false
		l.spans.cut(dataSize, math.MaxInt64)
	}
	return all
}

// openJournal opens the journal at path for a blob of which dataSize bytes are
// on disk. Where it can't be read, or is about another blob or size, or nothing
// of what it says survives, it is emptied and fresh is true.
func openJournal(path string, header journalHeader, dataSize int64) (j *journal, fresh bool, err error) {
	l, good, err := readJournal(path)
	if err != nil {
		return nil, false, err
	}
	all := l.survivors(header.boot, dataSize)
	if good == 0 || l.header.digest != header.digest || l.header.size != header.size || len(l.spans) == 0 {
		j = &journal{path: path, ledger: ledger{header: header, sources: []string{""}}}
		j.numberSources()
		return j, true, j.remove()
	}
	l.header = header
	j = &journal{path: path, ledger: l, size: good}
	j.numberSources()
	if !all {
		return j, false, j.compact()
	}
	return j, false, j.open()
}

// open opens the file, cutting off what follows the good records.
func (j *journal) open() error {
	f, err := os.OpenFile(j.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, fileMode)
	if err != nil {
		return err
	}
	if err := f.Truncate(j.size); err != nil {
		f.Close()
		return err
	}
	if j.f != nil {
		j.f.Close()
	}
	j.f = f
	return nil
}

func (j *journal) numberSources() {
	j.numbers = make(map[string]uint16, len(j.ledger.sources))
	for i, name := range j.ledger.sources {
		j.numbers[name] = uint16(i)
	}
}

// record notes that [off,off+length) is held and came from source.
func (j *journal) record(off, length int64, source string) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.makeRoom(); err != nil {
		return err
	}
	b := j.buf[:0]
	number, known := j.numbers[source]
	if !known && j.ledger.hasRoom(source) {
		number = uint16(len(j.ledger.sources))
		b = appendRecord(b, recordSource, []byte(source))
	}
	isNew := len(b) > 0
	j.buf = appendExtent(b, number, off, length)
	if err := j.append(j.buf); err != nil {
		return err
	}
	if isNew {
		j.ledger.addSource(source)
		j.numbers[source] = number
	}
	j.ledger.spans.set(span{off: off, end: off + length, source: number})
	return nil
}

// forget notes that [off,off+length) is not held.
func (j *journal) forget(off, length int64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.makeRoom(); err != nil {
		return err
	}
	if err := j.append(appendForget(nil, off, length)); err != nil {
		return err
	}
	j.ledger.spans.cut(off, off+length)
	return nil
}

// begin notes that the data is about to be synced.
func (j *journal) begin() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.makeRoom(); err != nil {
		return err
	}
	if err := j.append(appendRecord(nil, recordBegin, nil)); err != nil {
		return err
	}
	j.ledger.spans.promote(written, syncing)
	return nil
}

// synced notes, durably, that the data recorded before begin is durable.
func (j *journal) synced() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.makeRoom(); err != nil {
		return err
	}
	if err := j.append(appendRecord(nil, recordSynced, nil)); err != nil {
		return err
	}
	j.ledger.spans.promote(syncing, synced)
	return syncFile(j.f)
}

// append writes records to the end of the file.
func (j *journal) append(records []byte) error {
	if j.failed != nil {
		return j.failed
	}
	if j.f == nil {
		if err := j.open(); err != nil {
			return err
		}
	}
	if j.size == 0 {
		records = append(appendHeader(nil, j.ledger.header), records...)
	}
	if n, err := j.f.Write(records); err != nil {
		// A torn record would hide those after it.
		if n > 0 && j.f.Truncate(j.size) != nil {
			j.failed = fmt.Errorf("%s: a write failed half-way: %w", j.path, err)
		}
		return err
	}
	j.size += int64(len(records))
	return nil
}

// makeRoom compacts the file where the largest records might make it exceed
// maxJournal.
func (j *journal) makeRoom() error {
	const largest = 256 + recordFrame + maxSourceName + recordFrame + 18
	if j.failed != nil || j.size <= maxJournal-largest {
		return j.failed
	}
	return j.compact()
}

// compact replaces the file by a shorter one that adds up to the same, or to a
// little less where that would be too long.
func (j *journal) compact() error {
	shorter := j.ledger
	shorter.spans = slices.Clone(j.ledger.spans)
	b := shorter.snapshot()
	if err := replaceFile(j.path+tempSuffix, j.path, b); err != nil {
		return err
	}
	j.ledger, j.size = shorter, int64(len(b))
	j.numberSources()
	if err := j.open(); err != nil {
		j.failed = err // j.f is the file that was replaced
		return err
	}
	return nil
}

// extents returns what is held.
func (j *journal) extents() []Extent {
	j.mu.Lock()
	defer j.mu.Unlock()
	var list []Extent
	for _, sp := range j.ledger.spans {
		source := j.ledger.sources[sp.source]
		if n := len(list); n > 0 && list[n-1].Offset+list[n-1].Length == sp.off && list[n-1].Source == source {
			list[n-1].Length += sp.end - sp.off
			continue
		}
		list = append(list, Extent{sp.off, sp.end - sp.off, source})
	}
	return list
}

// abandon removes the file, since nothing it says can be relied on because of
// err, and refuses all further records with err.
func (j *journal) abandon(err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.failed = err
	j.ledger.spans = nil
	j.remove()
}

// remove removes the file, durably.
func (j *journal) remove() error {
	err := os.Remove(j.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(j.path))
}

func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.failed = os.ErrClosed
	if j.f == nil {
		return nil
	}
	return j.f.Close()
}
