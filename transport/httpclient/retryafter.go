package httpclient

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// MaxRetryAfter is the longest wait a server can ask for; what is longer
// counts as this.
const MaxRetryAfter = time.Hour

// ParseRetryAfter returns how long a Retry-After header asks to wait (RFC 9110
// §10.2.3: seconds or an HTTP date), between 0 and [MaxRetryAfter]. A date is
// measured from now. What is neither asks for nothing: 0.
func ParseRetryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	var d time.Duration
	if digits := value != "" && strings.Trim(value, "0123456789") == ""; digits {
		// On overflow ParseInt returns the largest number, which is capped.
		n, _ := strconv.ParseInt(value, 10, 64)
		d = time.Duration(min(n, int64(MaxRetryAfter/time.Second))) * time.Second
	} else if t, err := http.ParseTime(value); err == nil {
		d = t.Sub(now)
	}
	return min(max(d, 0), MaxRetryAfter)
}

// sentAt returns the time of an answer by the server's clock, by which it
// means its dates, or ours where it doesn't say.
func sentAt(resp *http.Response) time.Time {
	if t, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		return t
	}
	return time.Now()
}
