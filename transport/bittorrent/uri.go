package bittorrent

import (
	"encoding/base32"
	"encoding/hex"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/waybill-project/waybill/transport"
)

// The schemes of the URIs of this transport's routes.
const (
	SchemeMagnet  = "magnet"
	SchemeTorrent = "torrent"
)

const (
	// maxURI is the longest URI that is read, in bytes.
	maxURI = 64 << 10
	// maxNamed is how many trackers, web seeds or peers one torrent may name.
	// More are left out: they are places to look, and these are plenty.
	maxNamed = 100
)

// link is what a URI says, and of a torrent file what it says.
type link struct {
	uri string
	// v1 and v2 are the infohashes; one may be nil.
	v1 *[20]byte
	v2 *[32]byte
	// file is the path of the torrent file, for scheme torrent.
	file string
	// path is the file within the torrent that the fragment names, if it does.
	path string

	trackers, webseeds, peers []string

	// info is the bencoded info dictionary, where it is known, and layers its
	// v2 piece layers.
	info   []byte
	layers map[string]string
}

// hashes are the 20 bytes each that name the torrent to peers, trackers and the
// DHT: the v1 infohash, and the begin of the v2 one (BEP 52).
func (l *link) hashes() [][20]byte {
	var all [][20]byte
	if l.v1 != nil {
		all = append(all, *l.v1)
	}
	if l.v2 != nil {
		all = append(all, [20]byte(l.v2[:20]))
	}
	return all
}

// Check says what is wrong with a URI of this transport, without asking
// anybody. A torrent file is not opened.
func (t *Transport) Check(uri string) error {
	_, err := parse(uri)
	return err
}

// parse reads a URI.
func parse(uri string) (*link, error) {
	if len(uri) > maxURI {
		return nil, transport.Errorf(transport.ErrPermanent, uri[:100]+"…", "the URI is longer than the limit of %d bytes", maxURI)
	}
	scheme, rest, _ := strings.Cut(uri, ":")
	switch strings.ToLower(scheme) {
	case SchemeMagnet:
		return parseMagnet(uri)
	case SchemeTorrent:
		return parseTorrent(uri, rest)
	}
	return nil, transport.Errorf(transport.ErrPermanent, uri, "neither magnet: nor torrent:")
}

// parseTorrent reads torrent:FILE#PATH. FILE is as it is, without escapes; it
// ends at the first '#'.
func parseTorrent(uri, rest string) (*link, error) {
	file, path, _ := strings.Cut(rest, "#")
	file = strings.TrimPrefix(file, "//") // torrent:///DIR/FILE
	if file == "" {
		return nil, transport.Errorf(transport.ErrPermanent, uri, "no file; write torrent:FILE")
	}
	if unescaped, err := url.PathUnescape(path); err == nil {
		path = unescaped
	}
	return &link{uri: uri, file: file, path: path}, nil
}

// parseMagnet reads a magnet URI (BEP 9, BEP 53's x.pe, BEP 52's btmh).
func parseMagnet(uri string) (*link, error) {
	u, err := url.Parse(uri)
	if err != nil {
		// The parser's error quotes the URI.
		return nil, transport.Errorf(transport.ErrPermanent, SchemeMagnet+":…", "malformed magnet URI")
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, transport.Errorf(transport.ErrPermanent, uri, "malformed magnet URI: %w", err)
	}
	l := &link{uri: uri, path: u.Fragment, trackers: q["tr"], webseeds: q["ws"], peers: q["x.pe"]}
	for _, xt := range q["xt"] {
		if err := l.topic(xt); err != nil {
			return nil, transport.Errorf(transport.ErrPermanent, uri, "%w", err)
		}
	}
	if l.v1 == nil && l.v2 == nil {
		return nil, transport.Errorf(transport.ErrPermanent, uri, "no infohash; write magnet:?xt=urn:btih:HASH or magnet:?xt=urn:btmh:1220HASH")
	}
	for _, p := range l.peers {
		if _, err := netip.ParseAddrPort(p); err != nil && !isHostPort(p) {
			return nil, transport.Errorf(transport.ErrPermanent, uri, "x.pe=%s is not HOST:PORT", p)
		}
	}
	for _, tr := range l.trackers {
		if u, err := url.Parse(tr); err == nil && u.User != nil {
			return nil, transport.Errorf(transport.ErrPermanent, uri, "tr: %w", errUserinfo(tr))
		}
	}
	for _, ws := range l.webseeds {
		if _, err := webURL(ws); err != nil {
			return nil, transport.Errorf(transport.ErrPermanent, uri, "ws: %w", err)
		}
	}
	l.limit()
	return l, nil
}

// limit leaves out what is named too often or more than once.
func (l *link) limit() {
	for _, list := range []*[]string{&l.trackers, &l.webseeds, &l.peers} {
		var once []string
		for _, s := range *list {
			if len(once) < maxNamed && !slices.Contains(once, s) {
				once = append(once, s)
			}
		}
		*list = once
	}
}

// topic takes one xt parameter. Others than BitTorrent's are left alone: a
// magnet may name the same content in several ways.
func (l *link) topic(xt string) error {
	if enc, ok := cutPrefixFold(xt, "urn:btih:"); ok {
		hash, err := decodeV1(enc)
		if err != nil {
			return err
		}
		if l.v1 != nil && *l.v1 != hash {
			return fmt.Errorf("two v1 infohashes")
		}
		l.v1 = &hash
	} else if enc, ok := cutPrefixFold(xt, "urn:btmh:"); ok {
		b, err := hex.DecodeString(enc)
		// A multihash: 0x12 is SHA-256, 0x20 its length.
		if err != nil || len(b) != 34 || b[0] != 0x12 || b[1] != 0x20 {
			return fmt.Errorf("urn:btmh:%s is not 1220 and 64 hexadecimal digits", enc)
		}
		hash := [32]byte(b[2:])
		if l.v2 != nil && *l.v2 != hash {
			return fmt.Errorf("two v2 infohashes")
		}
		l.v2 = &hash
	}
	return nil
}

// decodeV1 reads a v1 infohash in hexadecimal or, as old magnets have it, in
// base 32.
func decodeV1(enc string) (hash [20]byte, err error) {
	var b []byte
	switch len(enc) {
	case 40:
		b, err = hex.DecodeString(enc)
	case 32:
		b, err = base32.StdEncoding.DecodeString(strings.ToUpper(enc))
	}
	if err != nil || len(b) != len(hash) {
		return hash, fmt.Errorf("urn:btih:%s is not 40 hexadecimal digits", enc)
	}
	return [20]byte(b), nil
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// isHostPort reports whether s is HOST:PORT with a name for a host.
func isHostPort(s string) bool {
	u, err := url.Parse("//" + s)
	return err == nil && u.Host == s && u.Hostname() != "" && u.Port() != "" && u.User == nil
}

// webURL reads the URL of a tracker or web seed over HTTP. User information is
// refused: a magnet is passed around, and no place for a password.
func webURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return nil, fmt.Errorf("malformed URL")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, fmt.Errorf("%s is not http:// or https://", transport.Redact(s))
	case u.User != nil:
		return nil, errUserinfo(s)
	}
	return u, nil
}

func errUserinfo(s string) error {
	return fmt.Errorf("%s holds user information; a torrent may not", transport.Redact(s))
}
