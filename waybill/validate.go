package waybill

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/blobdigest"
)

// Validate checks a document by every rule of spec/waybill.md that is about the
// document as a whole, as [Parse] does. It is for documents made by hand. Errors
// are [*Error].
func (d *Document) Validate() error {
	if err := d.validateHead(); err != nil {
		return err
	}
	if len(d.Consignments) > MaxConsignments {
		return tooMany(pointer{"consignments"}, "consignments", MaxConsignments)
	}
	seen := make(map[digest.Digest]bool, len(d.Consignments))
	for i := range d.Consignments {
		c, where := &d.Consignments[i], pointer{"consignments", i}
		if err := c.validate(where); err != nil {
			return err
		}
		if seen[c.Digest] {
			return errorf(ErrInvalid, where.at("digest"), "a second consignment of %s", c.Digest)
		}
		seen[c.Digest] = true
	}
	if len(d.Carriers) > MaxCarriers {
		return tooMany(pointer{"carriers"}, "carriers", MaxCarriers)
	}
	for i, c := range d.Carriers {
		if err := c.validate(pointer{"carriers", i}); err != nil {
			return err
		}
	}
	return nil
}

func (d *Document) validateHead() error {
	if err := validateTime(d.Issued, pointer{"issued"}); err != nil {
		return err
	}
	if err := validateTime(d.Expires, pointer{"expires"}); err != nil {
		return err
	}
	switch {
	case !d.Expires.After(d.Issued):
		return errorf(ErrInvalid, pointer{"expires"}, "not later than issued")
	case d.Sequence < 0 || d.Sequence > MaxSequence:
		return errorf(ErrInvalid, pointer{"sequence"}, "the number %d isn't from 0 to %d", d.Sequence, int64(MaxSequence))
	}
	return nil
}

// validateTime checks that a time can be written, and isn't one nobody set.
func validateTime(t time.Time, where pointer) error {
	if year := t.UTC().Year(); year < 1970 || year > 9999 {
		return errorf(ErrInvalid, where, "the year %d isn't from 1970 to 9999", year)
	}
	return nil
}

func (c *Consignment) validate(where pointer) error {
	if err := validateDigest(c.Digest, where.at("digest")); err != nil {
		return err
	}
	if c.Size < 0 || c.Size > MaxSize {
		return errorf(ErrInvalid, where.at("size"), "the number %d isn't from 0 to %d", c.Size, int64(MaxSize))
	}
	if len(c.Aliases) > MaxAliases {
		return tooMany(where.at("aliases"), "aliases", MaxAliases)
	}
	for i, a := range c.Aliases {
		if err := a.validate(where.at("aliases", i)); err != nil {
			return err
		}
	}
	if c.Pieces != nil {
		if err := c.Pieces.validate(c.Size, where.at("pieces")); err != nil {
			return err
		}
	}
	return validateRoutes(c.Routes, where.at("routes"))
}

func validateDigest(d digest.Digest, where pointer) error {
	if err := blobdigest.Validate(d); err != nil {
		return &Error{Kind: ErrInvalid, Where: where.String(), Err: err}
	}
	return nil
}

func validateRoutes(routes []Route, where pointer) error {
	if len(routes) > MaxRoutes {
		return tooMany(where, "routes", MaxRoutes)
	}
	for i, r := range routes {
		if err := r.validate(where.at(i)); err != nil {
			return err
		}
	}
	return nil
}

func (r Route) validate(where pointer) error {
	if err := validateText(r.URI, "a URI", MaxURI, where.at("uri"), visible); err != nil {
		return err
	}
	if r.Priority < 1 || r.Priority > MaxPriority {
		return errorf(ErrInvalid, where.at("priority"), "the number %d isn't from 1 to %d", r.Priority, MaxPriority)
	}
	if r.Geo != "" && (len(r.Geo) != 2 || !lower(r.Geo[0]) || !lower(r.Geo[1])) {
		return errorf(ErrInvalid, where.at("geo"), "%q isn't two lower-case letters (ISO 3166-1)", clip(r.Geo))
	}
	return nil
}

func (c Carrier) validate(where pointer) error {
	if err := validateText(c.Protocol, "a protocol", MaxToken, where.at("protocol"), token); err != nil {
		return err
	}
	if err := validateText(c.URI, "a URI", MaxURI, where.at("uri"), visible); err != nil {
		return err
	}
	if c.Repository != "" {
		if err := validateText(c.Repository, "a repository", MaxRepository, where.at("repository"), visible); err != nil {
			return err
		}
	}
	if c.Priority < 0 || c.Priority > MaxPriority {
		return errorf(ErrInvalid, where.at("priority"), "the number %d isn't from 1 to %d", c.Priority, MaxPriority)
	}
	return nil
}

func (a Alias) validate(where pointer) error {
	if err := validateText(a.Kind, "a kind", MaxToken, where.at("kind"), token); err != nil {
		return err
	}
	if err := validateText(a.Value, "a value", MaxAlias, where.at("value"), visible); err != nil {
		return err
	}
	if a.Profile != "" {
		if err := validateText(a.Profile, "a profile", MaxToken, where.at("profile"), token); err != nil {
			return err
		}
	}
	return validateFile(a.File, where.at("file"))
}

// validateFile checks the name of a file within a torrent or directory. It is
// never a path here, but others may take it for one: so no absolute ones, and
// none that climb.
func validateFile(name string, where pointer) error {
	switch {
	case name == "":
		return nil
	case len(name) > MaxFile:
		return tooLong(where, "a file name", MaxFile)
	case !utf8.ValidString(name):
		return errorf(ErrInvalid, where, "not UTF-8")
	}
	for _, r := range name {
		// U+2028 and U+2029 are what writers of JSON disagree on; U+FFFD is
		// what readers put in place of half a surrogate pair.
		if r < ' ' || r >= 0x7f && r < 0xa0 || r == '\\' || r == '\u2028' || r == '\u2029' || r == utf8.RuneError {
			return errorf(ErrInvalid, where, "the file name holds %q", r)
		}
	}
	for step := range strings.SplitSeq(name, "/") {
		if step == "" || step == "." || step == ".." {
			return errorf(ErrInvalid, where, "%q isn't a relative path without empty, . and .. steps", clip(name))
		}
	}
	return nil
}

// validateText checks that s is neither empty nor too long and is made of bytes
// that allowed accepts.
func validateText(s, what string, limit int, where pointer, allowed func(byte) bool) error {
	switch {
	case s == "":
		return errorf(ErrInvalid, where, "missing")
	case len(s) > limit:
		return tooLong(where, what, limit)
	}
	for i := range len(s) {
		if !allowed(s[i]) {
			return errorf(ErrInvalid, where, "character %d of %s is %q", i+1, what, s[i])
		}
	}
	return nil
}

// visible reports whether c is printable ASCII other than space.
func visible(c byte) bool { return c > ' ' && c <= '~' }

// token reports whether c may stand in a kind, profile or protocol.
func token(c byte) bool {
	return lower(c) || digit(c) || c == '-' || c == '.' || c == '_' || c == '+'
}

func lower(c byte) bool { return c >= 'a' && c <= 'z' }
func digit(c byte) bool { return c >= '0' && c <= '9' }
