package s3

import (
	"encoding/xml"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
)

// answer is a refusal of the server's, read.
type answer struct {
	status *httpclient.StatusError
	// What the body says (Amazon S3 API Reference, "Error responses"). The
	// body of an answer to HEAD says nothing.
	code, message, region string
	// size is that of the object, where the answer is about its range; else
	// -1.
	size int64
}

// readAnswer returns the refusal in err, or nil where it is something else.
func readAnswer(err error) *answer {
	var status *httpclient.StatusError
	if !errors.As(err, &status) {
		return nil
	}
	a := parseError(status.Body)
	a.status = status
	if a.region == "" {
		a.region = status.Header.Get("X-Amz-Bucket-Region")
	}
	if !validRegion(a.region) {
		a.region = ""
	}
	return a
}

// parseError reads the document with which S3 refuses. The client has cut it
// to some kilobytes, so the end may be missing; what comes before it counts.
func parseError(body string) *answer {
	a := &answer{size: -1}
	d := xml.NewDecoder(strings.NewReader(body))
	var path []string
	for {
		token, err := d.Token()
		if err != nil {
			return a
		}
		switch token := token.(type) {
		case xml.StartElement:
			const deepest = 16
			if len(path) == deepest {
				return a
			}
			path = append(path, token.Name.Local)
		case xml.EndElement:
			path = path[:len(path)-1]
		case xml.CharData:
			if len(path) == 2 && path[0] == "Error" {
				a.set(path[1], httpclient.OneLine(string(token)))
			}
		}
	}
}

// set keeps the content of an element. The first one of a name counts.
func (a *answer) set(element, value string) {
	keep := func(field *string) {
		if *field == "" {
			*field = value
		}
	}
	switch element {
	case "Code":
		keep(&a.code)
	case "Message":
		keep(&a.message)
	case "Region":
		keep(&a.region)
	case "ActualObjectSize":
		if n, err := strconv.ParseInt(value, 10, 64); err == nil && n >= 0 {
			a.size = n
		}
	}
}

// kinds says what the codes mean to a transport, where the status alone says
// something else or too little.
var kinds = map[string]error{
	"NoSuchKey":    transport.ErrNotFound,
	"NoSuchBucket": transport.ErrNotFound,

	"AccessDenied":          transport.ErrUnauthorized,
	"ExpiredToken":          transport.ErrUnauthorized,
	"InvalidAccessKeyId":    transport.ErrUnauthorized,
	"InvalidToken":          transport.ErrUnauthorized,
	"RequestTimeTooSkewed":  transport.ErrUnauthorized,
	"SignatureDoesNotMatch": transport.ErrUnauthorized,
	"TokenRefreshRequired":  transport.ErrUnauthorized,
	"XAdminUserNotFound":    transport.ErrUnauthorized, // versitygw's InvalidAccessKeyId, a 404

	"InvalidObjectState": transport.ErrPermanent, // archived, a 403

	"BandwidthLimitExceeded": transport.ErrThrottled,
	"RequestLimitExceeded":   transport.ErrThrottled,
	"ServiceUnavailable":     transport.ErrThrottled,
	"SlowDown":               transport.ErrThrottled,
	"SlowDownRead":           transport.ErrThrottled, // MinIO
	"TooManyRequests":        transport.ErrThrottled,

	"InternalError":    transport.ErrTemporary,
	"OperationAborted": transport.ErrTemporary,
	"RequestTimeout":   transport.ErrTemporary,
}

// kind returns what the refusal means to a transport; byStatus is what its
// status alone means.
func (a *answer) kind(byStatus error) error {
	if kind := kinds[a.code]; kind != nil {
		return kind
	}
	// S3 throttles with 503, with or without Retry-After.
	if a.status.Code == http.StatusServiceUnavailable {
		return transport.ErrThrottled
	}
	return byStatus
}

// stale reports whether other credentials than those used may be let in.
func (a *answer) stale() bool {
	return a.code == "ExpiredToken" || a.code == "TokenRefreshRequired" || a.code == "InvalidToken"
}

// ambiguous reports whether the object may not be there either: S3 says so
// only to those who may list the bucket.
func (a *answer) ambiguous() bool {
	return a.status.Code == http.StatusForbidden && (a.code == "AccessDenied" || a.code == "")
}

// skew returns how far the server's clock is ahead of now, where it refused
// for that.
func (a *answer) skew(now time.Time) (time.Duration, bool) {
	if a.code != "RequestTimeTooSkewed" {
		return 0, false
	}
	date, err := http.ParseTime(a.status.Header.Get("Date"))
	return date.Sub(now), err == nil
}

// said returns the server's own words.
func (a *answer) said() string {
	switch {
	case a.code == "":
		return a.status.Error()
	case a.message == "":
		return a.code
	}
	return a.code + ": " + a.message
}
