package waybills

import (
	"fmt"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/discovery"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/waybill"
	"github.com/waybill-project/waybill/webdoc"
)

// Options configure a [Client].
type Options struct {
	// Docs gets documents from the web.
	Docs *webdoc.Client
	// Allowed says whether local policy lets an unsigned document of somebody
	// else lead to a host (HOST or HOST:PORT) that isn't its own, and how near
	// that may be. Nil allows none.
	Allowed func(host string) (transport.Remote, bool)
	// Trusted says whether local configuration trusts a host (HOST or
	// HOST:PORT). An SSH host in a document of somebody else is asked, as if the
	// user had named it, only then. Nil trusts none.
	Trusted func(host string) bool
	// Note, when set, is told what is ignored.
	Note func(discovery.Note)
	// Memory, when set, remembers which documents that were found were used last.
	Memory Memory
	// Now tells the time; nil means time.Now.
	Now func() time.Time
}

// Memory is what is remembered of documents from one run to the next
// (spec/waybill.md §8).
type Memory interface {
	// Seen returns what is remembered of a signer about an image.
	Seen(signer string, image digest.Digest) (waybill.Seen, error)
	// Remember has it remembered, until a time, in place of what was.
	Remember(signer string, image digest.Digest, what waybill.Seen, until time.Time) error
}

// MaxMemory is for how long a document that nobody signed is remembered at most:
// whoever can change what a place serves could raise the mark.
const MaxMemory = 30 * 24 * time.Hour

// Client reads waybills. It is safe for concurrent use.
type Client struct{ o Options }

// New returns a client.
func New(o Options) *Client {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Note == nil {
		o.Note = func(discovery.Note) {}
	}
	if o.Allowed == nil {
		o.Allowed = func(string) (transport.Remote, bool) { return 0, false }
	}
	if o.Trusted == nil {
		o.Trusted = func(string) bool { return false }
	}
	return &Client{o: o}
}

// maxNotes is how many things are told of one document.
const maxNotes = 1000

// teller tells what isn't used of one document, each thing once: a carrier that
// may not be asked is met with every blob.
type teller struct {
	client *Client
	where  string // the file, URL or place, as it is told

	mu   sync.Mutex
	told map[string]bool
}

func (t *teller) ignore(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	t.mu.Lock()
	if t.told == nil {
		t.told = map[string]bool{}
	}
	news := !t.told[text] && len(t.told) < maxNotes
	if news {
		t.told[text] = true
	}
	t.mu.Unlock()
	if news {
		t.client.o.Note(discovery.Note{Where: t.where, Text: text, Ignored: true})
	}
}
