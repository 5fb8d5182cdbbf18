package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// journal is the open journal of an ingest. Its file is made with the first
// record: most small blobs never need one.
type journal struct {
	path string

	mu      sync.Mutex
	ledger  ledger
	numbers map[string]uint16 // of the ledger's sources
	f       *os.File          // nil before the first record
	size    int64             // bytes of good records in f
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

// openJournal opens the journal at path for a blob of which dataSize bytes are
// on disk. Where it is about another blob, size or nothing at all, the result
// is empty and fresh is true: the data must be emptied before anything is
// recorded. temp is where a compacted journal is written first.
func openJournal(path string, header journalHeader, dataSize int64) (j *journal, fresh bool, err error) {
	l, good, err := readJournal(path)
	if err != nil {
		return nil, false, err
	}
	j = &journal{path: path}
	if good == 0 || l.header.digest != header.digest || l.header.size != header.size {
		j.ledger = ledger{header: header, sources: []string{""}}
		j.numberSources()
		return j, true, j.remove()
	}
	j.ledger = l
	if l.header.boot != header.boot || header.boot == "" {
		j.ledger.afterPowerLoss()
	}
	short := j.ledger.spans.find(dataSize) < len(j.ledger.spans)
	j.ledger.spans.cut(dataSize, 1<<63-1)
	if l.header.boot != header.boot || short {
		j.ledger.header = header
		return j, false, j.compact()
	}
	j.numberSources()
	j.size = good
	return j, false, j.open()
}

// afterPowerLoss leaves in l what the disk surely has: what was synced, and not
// touched since.
func (l *ledger) afterPowerLoss() {
	kept := l.spans[:0]
	for _, sp := range l.spans {
		if sp.state == synced {
			kept = append(kept, sp)
		}
	}
	l.spans = kept
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
	var b []byte
	number, known := j.numbers[source]
	if !known {
		var ok bool
		if number, ok = j.ledger.addSource(source); ok {
			b = appendRecord(b, recordSource, []byte(source))
			j.numbers[source] = number
		}
	}
	// The ledger only knows what the file says.
	if err := j.append(appendExtent(b, number, off, length)); err != nil {
		return err
	}
	j.ledger.spans.set(span{off: off, end: off + length, source: number})
	return j.bound()
}

// forget notes that [off,off+length) is not held.
func (j *journal) forget(off, length int64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.append(appendForget(nil, off, length)); err != nil {
		return err
	}
	j.ledger.spans.cut(off, off+length)
	return j.bound()
}

// begin notes that what is recorded so far is about to be synced.
func (j *journal) begin() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.append(appendRecord(nil, recordBegin, nil)); err != nil {
		return err
	}
	j.ledger.spans.promote(written, syncing)
	return j.bound()
}

// synced notes that what was recorded before begin is durable, durably.
func (j *journal) synced() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.append(appendRecord(nil, recordSynced, nil)); err != nil {
		return err
	}
	j.ledger.spans.promote(syncing, synced)
	if err := j.bound(); err != nil {
		return err
	}
	return syncFile(j.f)
}

// append writes records to the end of the file.
func (j *journal) append(records []byte) error {
	if j.failed != nil {
		return j.failed
	}
	if j.f == nil {
		j.size = 0
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

// bound compacts the file when it has grown too long.
func (j *journal) bound() error {
	if j.size+recordFrame+maxSourceName+64 < maxJournal {
		return nil
	}
	return j.compact()
}

// compact replaces the file by a shorter one that adds up to the same, or to a
// little less where that would be too long.
func (j *journal) compact() error {
	b := j.ledger.snapshot()
	j.numberSources()
	if err := replaceFile(j.path+".tmp", j.path, b); err != nil {
		return err
	}
	j.size = int64(len(b))
	return j.open()
}

// extents returns what is held.
func (j *journal) extents() []Extent {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.ledger.extents()
}

func (l *ledger) extents() []Extent {
	var list []Extent
	for _, sp := range l.spans {
		source := l.sources[sp.source]
		if n := len(list); n > 0 && list[n-1].Offset+list[n-1].Length == sp.off && list[n-1].Source == source {
			list[n-1].Length += sp.end - sp.off
			continue
		}
		list = append(list, Extent{sp.off, sp.end - sp.off, source})
	}
	return list
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
