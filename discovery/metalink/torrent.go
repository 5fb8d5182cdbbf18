package metalink

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	// MaxTorrent is the largest .torrent file, in bytes.
	MaxTorrent = 8 << 20
	// MaxTrackers is how many trackers of one are used.
	MaxTrackers = 20
)

// Magnet returns the magnet link of a .torrent file (BEP 9, BEP 52): the hashes of
// its info dictionary and its trackers. One that is private (BEP 27) has none:
// without its file its peers can't be found.
func Magnet(torrent []byte) (string, error) {
	if len(torrent) > MaxTorrent {
		return "", fmt.Errorf("a torrent of %d bytes; the limit is %d", len(torrent), MaxTorrent)
	}
	top, err := dictionary(torrent)
	if err != nil {
		return "", err
	}
	info, err := dictionary(top["info"])
	if err != nil {
		return "", fmt.Errorf("info: %w", err)
	}
	if string(info["private"]) == "i1e" {
		return "", errors.New("a private torrent")
	}
	link := "magnet:?"
	_, v1 := info["pieces"]
	v2 := string(info["meta version"]) == "i2e"
	if v1 {
		link += fmt.Sprintf("xt=urn:btih:%x", sha1.Sum(top["info"]))
	}
	if v2 {
		if v1 {
			link += "&"
		}
		link += fmt.Sprintf("xt=urn:btmh:1220%x", sha256.Sum256(top["info"]))
	}
	if !v1 && !v2 {
		return "", errors.New("info: neither pieces (BEP 3) nor meta version 2 (BEP 52)")
	}
	for _, tracker := range trackers(top) {
		link += "&tr=" + url.QueryEscape(tracker)
	}
	return link, nil
}

// trackers returns those in announce and announce-list (BEP 12), at most
// [MaxTrackers], each once.
func trackers(top map[string][]byte) (all []string) {
	add := func(value []byte) {
		text, rest, err := text(value)
		tracker := string(text)
		if err != nil || len(rest) > 0 || len(all) == MaxTrackers || slices.Contains(all, tracker) {
			return
		}
		if strings.HasPrefix(tracker, "udp://") || strings.HasPrefix(tracker, "https://") || strings.HasPrefix(tracker, "http://") {
			all = append(all, tracker)
		}
	}
	add(top["announce"])
	tiers, _ := list(top["announce-list"]) // none where it is malformed
	for _, tier := range tiers {
		urls, _ := list(tier)
		for _, u := range urls {
			add(u)
		}
	}
	return all
}

// errBencode: it isn't what BEP 3 calls bencoding.
var errBencode = errors.New("not bencoded (BEP 3)")

// dictionary returns the values of a dictionary that is all of content, as they
// are written. Keys are in order, and so each there once.
func dictionary(content []byte) (map[string][]byte, error) {
	rest, ok := bytes.CutPrefix(content, []byte("d"))
	if !ok {
		return nil, errBencode
	}
	all, last := map[string][]byte{}, ""
	for len(rest) > 0 && rest[0] != 'e' {
		key, after, err := text(rest)
		if err != nil {
			return nil, err
		}
		if len(all) > 0 && string(key) <= last {
			return nil, fmt.Errorf("%w: the keys of a dictionary are out of order", errBencode)
		}
		last = string(key)
		if rest, err = skip(after, 1); err != nil {
			return nil, err
		}
		all[last] = after[:len(after)-len(rest)]
	}
	if string(rest) != "e" {
		return nil, errBencode
	}
	return all, nil
}

// list returns the elements of a list that is all of content.
func list(content []byte) (all [][]byte, err error) {
	rest, ok := bytes.CutPrefix(content, []byte("l"))
	if !ok {
		return nil, errBencode
	}
	for len(rest) > 0 && rest[0] != 'e' && len(all) < MaxTrackers {
		before := rest
		if rest, err = skip(rest, 1); err != nil {
			return nil, err
		}
		all = append(all, before[:len(before)-len(rest)])
	}
	return all, nil
}

// text reads a string, and returns what follows it.
func text(content []byte) (value, rest []byte, err error) {
	const digits = len("8388608") // MaxTorrent's
	colon := bytes.IndexByte(content[:min(len(content), digits+1)], ':')
	if colon < 1 {
		return nil, nil, errBencode
	}
	n, err := strconv.ParseUint(string(content[:colon]), 10, 31)
	if err != nil || int(n) > len(content)-colon-1 || colon > 1 && content[0] == '0' {
		return nil, nil, errBencode
	}
	content = content[colon+1:]
	return content[:n], content[n:], nil
}

// skip returns what follows the value that content begins with.
func skip(content []byte, depth int) ([]byte, error) {
	switch {
	case depth > MaxDepth:
		return nil, fmt.Errorf("nested deeper than the limit of %d", MaxDepth)
	case len(content) == 0:
		return nil, errBencode
	}
	switch content[0] {
	case 'i':
		end := bytes.IndexByte(content[:min(len(content), 24)], 'e')
		if end < 2 {
			return nil, errBencode
		}
		if _, err := strconv.ParseInt(string(content[1:end]), 10, 64); err != nil {
			return nil, errBencode
		}
		return content[end+1:], nil
	case 'l', 'd':
		rest, err := content[1:], error(nil)
		for len(rest) > 0 && rest[0] != 'e' {
			if rest, err = skip(rest, depth+1); err != nil {
				return nil, err
			}
		}
		if len(rest) == 0 {
			return nil, errBencode
		}
		return rest[1:], nil
	}
	_, rest, err := text(content)
	return rest, err
}
