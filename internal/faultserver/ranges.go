package faultserver

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
)

// span is length bytes from offset on.
type span struct {
	offset, length int64
}

func (s span) contentRange(size int64) string {
	return fmt.Sprintf("bytes %d-%d/%d", s.offset, s.offset+s.length-1, size)
}

// rangeOutcome is what a Range header means for a blob.
type rangeOutcome int

const (
	rangeIgnored       rangeOutcome = iota // send the whole blob
	rangeSatisfiable                       // send the span
	rangeUnsatisfiable                     // 416
)

// rangeAsked reads the range r asks of a blob of size bytes whose entity tag is
// etag. Where the answer is rangeIgnored the span is the whole blob.
func rangeAsked(r *http.Request, etag string, size int64) (span, rangeOutcome) {
	whole := span{0, size}
	// RFC 9110 §14.2: a Range in another method than GET is ignored; §13.1.5:
	// so is one whose If-Range doesn't match.
	if r.Method != http.MethodGet {
		return whole, rangeIgnored
	}
	if ifRange := r.Header.Get("If-Range"); ifRange != "" && ifRange != etag {
		return whole, rangeIgnored
	}
	return parseRange(r.Header.Get("Range"), size)
}

// parseRange reads a Range header (RFC 9110 §14.1). One that is malformed, has
// another unit than bytes or several ranges is ignored, as §14.2 allows.
func parseRange(header string, size int64) (span, rangeOutcome) {
	whole := span{0, size}
	unit, set, ok := strings.Cut(header, "=")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return whole, rangeIgnored
	}
	first, last, ok := strings.Cut(strings.Trim(set, " \t"), "-")
	if !ok {
		return whole, rangeIgnored
	}
	if first == "" {
		return suffixRange(last, size)
	}
	start, ok := position(first)
	if !ok {
		return whole, rangeIgnored
	}
	end := int64(math.MaxInt64)
	if last != "" {
		if end, ok = position(last); !ok || end < start {
			return whole, rangeIgnored
		}
	}
	if start >= size {
		return span{}, rangeUnsatisfiable
	}
	return span{start, min(end, size-1) - start + 1}, rangeSatisfiable
}

// suffixRange is the last n bytes, or all there are.
func suffixRange(n string, size int64) (span, rangeOutcome) {
	length, ok := position(n)
	switch {
	case !ok:
		return span{0, size}, rangeIgnored
	case length == 0 || size == 0:
		// Content-Range can't say "no bytes", so an empty blob has no
		// satisfiable suffix.
		return span{}, rangeUnsatisfiable
	}
	length = min(length, size)
	return span{size - length, length}, rangeSatisfiable
}

// position reads digits only; a number beyond int64 is the largest of them.
func position(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return math.MaxInt64, true
	}
	return n, true
}

// other is a range that isn't s, as long as s where the blob is longer.
func (s span) other(size int64) span {
	switch {
	case s.offset > 0:
		return span{s.offset - 1, s.length}
	case s.length < size:
		return span{s.offset + 1, s.length}
	default:
		return span{s.offset, max(1, s.length-1)}
	}
}
