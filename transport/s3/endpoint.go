package s3

import (
	"errors"
	"net/netip"
	"net/url"
	"strings"
)

// defaultRegion is asked where nobody says which; where it's the wrong one,
// Amazon answers with the right one.
const defaultRegion = "us-east-1"

// parseEndpoint reads the address of a server. Its errors quote none of it.
func parseEndpoint(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return nil, errors.New("not http://HOST or https://HOST")
	case u.User != nil:
		return nil, errors.New("keys don't belong in a URL; see the page on S3 for where they do")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return nil, errors.New("query and fragment mean nothing in an endpoint")
	}
	// As a prefix of what is signed it must arrive as it was sent.
	if err := checkKey(strings.Trim(u.Path, "/")); err != nil {
		return nil, errors.New("its path can't be the start of a URL's")
	}
	return &url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimSuffix(u.Path, "/")}, nil
}

// validRegion reports whether s may be a region's name: it becomes a part of
// a host's.
func validRegion(s string) bool {
	return s != "" && len(s) <= 63 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == ""
}

// partitions are the parts of Amazon's cloud whose hosts have another domain
// than amazonaws.com, by the start of their regions' names.
var partitions = []struct{ prefix, domain string }{
	{"cn-", "amazonaws.com.cn"},
	{"eusc-", "amazonaws.eu"},
}

// amazon returns the endpoint of a region.
func amazon(region string) *url.URL {
	domain := "amazonaws.com"
	for _, p := range partitions {
		if strings.HasPrefix(region, p.prefix) {
			domain = p.domain
		}
	}
	return &url.URL{Scheme: "https", Host: "s3." + region + "." + domain}
}

// isAmazon reports whether host is one of Amazon's.
func isAmazon(host string) bool {
	host = strings.ToLower(host)
	for _, p := range partitions {
		if strings.HasSuffix(host, "."+p.domain) {
			return true
		}
	}
	return strings.HasSuffix(host, ".amazonaws.com")
}

// regionOf returns the region in the name of one of Amazon's hosts
// (s3.eu-west-1.amazonaws.com, s3.dualstack.eu-west-1.…, s3-eu-west-1.…), or
// "".
func regionOf(host string) string {
	if !isAmazon(host) {
		return ""
	}
	for label := range strings.SplitSeq(strings.ToLower(host), ".") {
		label = strings.TrimPrefix(label, "s3-")
		area, rest, _ := strings.Cut(label, "-")
		direction, number, ok := strings.Cut(rest, "-")
		if i := strings.LastIndexByte(number, '-'); i >= 0 { // us-gov-west-1
			number = number[i+1:]
		}
		if ok && (len(area) == 2 || area == "eusc") && direction != "" &&
			number != "" && strings.Trim(number, "0123456789") == "" {
			return label
		}
	}
	return ""
}

// address returns the URL of an object.
func address(p *place, endpoint *url.URL, key string) string {
	host, path := endpoint.Host, endpoint.Path
	if p.virtual(endpoint) {
		host = p.bucket + "." + host
	} else {
		path += "/" + p.bucket
	}
	return endpoint.Scheme + "://" + host + escape(path+"/"+key)
}

// virtual reports whether the bucket goes into the host's name. Amazon wants
// that; elsewhere it needs names in the DNS that few servers have.
func (p *place) virtual(endpoint *url.URL) bool {
	switch p.style {
	case stylePath:
		return false
	case styleVirtual:
		return true
	}
	if !isAmazon(endpoint.Hostname()) {
		return false
	}
	// Amazon's certificates are for one label, and hosts have no capitals.
	return !strings.ContainsAny(p.bucket, "._") && strings.ToLower(p.bucket) == p.bucket
}

// checkStyle reports whether the bucket can stand where it is wanted: there are
// no subdomains of an address.
func (p *place) checkStyle(endpoint *url.URL) error {
	if p.style != styleVirtual || endpoint == nil {
		return nil
	}
	if _, err := netip.ParseAddr(endpoint.Hostname()); err == nil {
		return errors.New("style=virtual needs an endpoint with a name, not an address; leave it out")
	}
	return nil
}

// escape percent-encodes a path as Signature Version 4 wants it: everything
// but unreserved characters (RFC 3986 §2.3) and slashes.
func escape(path string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(path) {
		c := path[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-._~/", c) >= 0:
			b.WriteByte(c)
		default:
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}
