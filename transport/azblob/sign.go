package azblob

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// signature returns the value of Authorization that shows the knowledge of an
// account's key, for a request without body and query, as "Authorize with
// Shared Key" of Azure's REST reference has it (versions from 2009-09-19 on).
// byteRange is the request's Range header, or empty; of header the x-ms- lines
// are signed.
func signature(account string, key []byte, method, rawURL, byteRange string, header http.Header) (string, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(stringToSign(account, method, u, byteRange, header)))
	return "SharedKey " + account + ":" + base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}

// stringToSign returns what a signature is over.
func stringToSign(account, method string, u *url.URL, byteRange string, header http.Header) string {
	var lines []string
	for name, values := range header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "x-ms-") {
			lines = append(lines, name+":"+strings.Join(values, ","))
		}
	}
	// Azure sorts by its own collation, which for our few names is this order.
	slices.Sort(lines)
	return strings.Join(slices.Concat(
		// Content-Encoding, -Language, -Length, -MD5, -Type, Date (which
		// x-ms-date stands for) and four conditions are empty.
		[]string{method, "", "", "", "", "", "", "", "", "", "", byteRange},
		lines,
		// The path as sent. An emulator's begins with the account once more.
		[]string{"/" + account + u.EscapedPath()},
	), "\n")
}
