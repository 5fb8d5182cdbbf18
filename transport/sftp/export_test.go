package sftp

import (
	"time"

	"github.com/waybill-project/waybill/transport/sftp/openssh"
)

// NewShortLived returns a transport whose connections last no longer than d in
// each respect.
func NewShortLived(o openssh.Options, d time.Duration) *Transport {
	return newTransport(o, times{patience: usual.patience, quiet: d, drain: d, idle: d})
}

// NewImpatient returns a transport whose Prepare waits no longer than d for a
// host that asks nothing.
func NewImpatient(o openssh.Options, d time.Duration) *Transport {
	lasts := usual
	lasts.patience = d
	return newTransport(o, lasts)
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
