package parcel

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Version is the version of the draft that is spoken here, and the value of
// {parcel.version}. There has been no other.
const Version = "0.0.0"

// Caps on the list of versions.
const (
	maxVersionList = 64 << 10 // bytes
	maxVersions    = 1000
)

// semver is a version (semver.org 2.0.0), with the "v" that the draft's example
// of a list writes before it and the draft's own version lacks.
var semver = regexp.MustCompile(`^v?(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+[0-9A-Za-z.-]+)?$`)

// version is one of a list, and how it was written there.
type version struct {
	text                string
	major, minor, patch int
	pre                 []string
}

func parseVersion(s string) (version, error) {
	m := semver.FindStringSubmatch(s)
	if m == nil || len(s) > 100 {
		return version{}, fmt.Errorf("%q is no version; want one such as v%s on each line", clip(s), Version)
	}
	v := version{text: s}
	v.major, _ = strconv.Atoi(m[1]) // of at most nine digits, as the expression says
	v.minor, _ = strconv.Atoi(m[2])
	v.patch, _ = strconv.Atoi(m[3])
	if m[4] != "" {
		v.pre = strings.Split(m[4], ".")
	}
	return v, nil
}

// supported reports whether what is said of [Version] holds for v: releases
// that differ in the last number only.
func (v version) supported() bool { return v.major == 0 && v.minor == 0 }

// compare orders versions by precedence (semver.org §11).
func (v version) compare(w version) int {
	if c := cmp.Or(cmp.Compare(v.major, w.major), cmp.Compare(v.minor, w.minor), cmp.Compare(v.patch, w.patch)); c != 0 {
		return c
	}
	if len(v.pre) == 0 || len(w.pre) == 0 {
		return cmp.Compare(len(w.pre), len(v.pre)) // a release comes after its previews
	}
	for i := range min(len(v.pre), len(w.pre)) {
		if c := comparePre(v.pre[i], w.pre[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(v.pre), len(w.pre))
}

// comparePre compares two identifiers of pre-releases: numbers come before
// words.
func comparePre(a, b string) int {
	aNumber, bNumber := strings.Trim(a, "0123456789") == "", strings.Trim(b, "0123456789") == ""
	switch {
	case aNumber && bNumber: // of any length
		a, b = strings.TrimLeft(a, "0"), strings.TrimLeft(b, "0")
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
	case aNumber:
		return -1
	case bNumber:
		return 1
	}
	return cmp.Compare(a, b)
}

// ParseVersions reads the file x-parcel and returns the version in it to go on
// with, as it is written there: the highest that is spoken here. A line that is
// no version, and a list without a common one, are errors (draft, "Image
// Discovery").
func ParseVersions(content []byte) (string, error) {
	if len(content) > maxVersionList {
		return "", fmt.Errorf("a list of %d bytes; the limit is %d", len(content), maxVersionList)
	}
	var best version
	n := 0
	for line := range strings.Lines(string(content)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			continue
		}
		if n++; n > maxVersions {
			return "", fmt.Errorf("more than %d versions", maxVersions)
		}
		v, err := parseVersion(line)
		if err != nil {
			return "", err
		}
		if v.supported() && (best.text == "" || v.compare(best) > 0) {
			best = v
		}
	}
	switch {
	case n == 0:
		return "", errNoVersions
	case best.text == "":
		return "", fmt.Errorf("none of the %d versions is spoken here; that would be %s", n, Version)
	}
	return best.text, nil
}
