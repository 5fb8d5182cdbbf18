package httprange

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ContentRange is the value of a Content-Range header in bytes (RFC 9110
// §14.4).
type ContentRange struct {
	// First and Last are the positions of the first and last byte sent; both
	// -1 in the form of a 416 answer, where only the size is stated.
	First, Last int64
	// Size is that of the whole, or -1 where the server does not know ("*").
	Size int64
}

// String returns the header's value.
func (c ContentRange) String() string {
	size := "*"
	if c.Size >= 0 {
		size = strconv.FormatInt(c.Size, 10)
	}
	if c.First < 0 {
		return "bytes */" + size
	}
	return fmt.Sprintf("bytes %d-%d/%s", c.First, c.Last, size)
}

var errContentRange = errors.New("malformed Content-Range")

// ParseContentRange parses a Content-Range header in bytes. A range that is
// empty, or does not fit the size stated with it, is malformed (RFC 9110
// §14.4); so is one in another unit.
func ParseContentRange(s string) (ContentRange, error) {
	unit, rest, ok := strings.Cut(s, " ")
	if !ok || !strings.EqualFold(unit, "bytes") {
		return ContentRange{}, errContentRange
	}
	positions, size, ok := strings.Cut(rest, "/")
	if !ok {
		return ContentRange{}, errContentRange
	}
	c := ContentRange{First: -1, Last: -1, Size: -1}
	if size != "*" {
		if c.Size, ok = digits(size); !ok {
			return ContentRange{}, errContentRange
		}
	}
	if positions == "*" {
		if c.Size < 0 {
			return ContentRange{}, errContentRange
		}
		return c, nil
	}
	first, last, ok := strings.Cut(positions, "-")
	if !ok {
		return ContentRange{}, errContentRange
	}
	var okFirst, okLast bool
	c.First, okFirst = digits(first)
	c.Last, okLast = digits(last)
	if !okFirst || !okLast || c.First > c.Last || c.Size >= 0 && c.Last >= c.Size {
		return ContentRange{}, errContentRange
	}
	return c, nil
}

// digits parses 1*DIGIT; ParseInt alone would take signs.
func digits(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}
