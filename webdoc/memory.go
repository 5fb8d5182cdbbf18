package webdoc

import (
	"container/list"
	"sync"
)

const (
	// MaxKept is how many answers a [Client] remembers.
	MaxKept = 1000
	// MaxKeptBytes is how large they may be together, in bytes.
	MaxKeptBytes = 64 << 20
	// answerBytes is what an answer takes besides its content and header.
	answerBytes = 1 << 10
)

// answer is one request's, under way until done is closed.
type answer struct {
	request Request
	done    chan struct{}
	doc     *Document
	err     error

	// size is what it takes in memory, 0 while it is under way.
	size int64
	// at is its place in the order of use, nil where it isn't kept.
	at *list.Element
}

// memory keeps answers. When there are too many, or they are too large together,
// those that nobody wanted for the longest time are forgotten. The zero value
// is empty.
type memory struct {
	mu    sync.Mutex
	of    map[Request]*answer
	order list.List // of *answer, the one used last in front
	bytes int64
}

// enter returns the answer to a request, and whether it is the caller's to get.
func (m *memory) enter(r Request) (a *answer, mine bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if a := m.of[r]; a != nil {
		m.order.MoveToFront(a.at)
		return a, false
	}
	a = &answer{request: r, done: make(chan struct{})}
	if m.of == nil {
		m.of = map[Request]*answer{}
	}
	m.of[r] = a
	a.at = m.order.PushFront(a)
	m.shrink()
	return a, true
}

// settle is called when an answer is there, and says whether it is worth keeping.
func (m *memory) settle(a *answer, keep bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !keep {
		m.forget(a)
		return
	}
	a.size = a.bytes()
	m.bytes += a.size
	m.shrink()
}

// shrink forgets answers until what is left is within the limits. Those under
// way stay: others wait for them.
func (m *memory) shrink() {
	for at := m.order.Back(); at != nil && (len(m.of) > MaxKept || m.bytes > MaxKeptBytes); {
		a, next := at.Value.(*answer), at.Prev()
		if a.size > 0 {
			m.forget(a)
		}
		at = next
	}
}

// forget drops an answer.
func (m *memory) forget(a *answer) {
	delete(m.of, a.request)
	m.order.Remove(a.at)
	m.bytes -= a.size
}

// bytes returns what an answer takes in memory.
func (a *answer) bytes() int64 {
	size := int64(answerBytes)
	if a.err != nil {
		size += int64(len(a.err.Error()))
	}
	if a.doc == nil {
		return size
	}
	size += int64(len(a.doc.Content))
	for name, values := range a.doc.Header {
		for _, v := range values {
			size += int64(len(name) + len(v))
		}
	}
	return size
}
