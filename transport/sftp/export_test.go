package sftp

import (
	"time"

	"github.com/waybill-project/waybill/transport/sftp/openssh"
)

// NewShortLived returns a transport whose connections last no longer than d in
// each respect.
func NewShortLived(o openssh.Options, d time.Duration) *Transport {
	return newTransport(o, times{quiet: d, drain: d, idle: d})
}

// Connections is how many connections t has.
func (t *Transport) Connections() int {
	t.pool.mu.Lock()
	defer t.pool.mu.Unlock()
	n := 0
	for _, h := range t.pool.hosts {
		n += len(h.conns)
	}
	return n
}

// MaxConns is how many there may be to one host.
const MaxConns = maxConns
