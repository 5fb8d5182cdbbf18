package metalink

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/waybill-project/waybill/blobdigest"
)

// another reports, as an error, that an answer says of what it is about that it
// has another digest than the blob: by Repr-Digest (RFC 9530 §3) or its ancestor
// Digest (RFC 3230, which RFC 6249 §6 knows). What can't be read says nothing.
func (p *place) another(h http.Header) error {
	for _, field := range []string{"Repr-Digest", "Digest"} {
		for _, item := range strings.Split(strings.Join(h.Values(field), ","), ",") {
			name, value, ok := strings.Cut(strings.TrimSpace(item), "=")
			algorithm, known := hashNames[strings.ToLower(name)]
			if !ok || !known || algorithm != p.desc.Digest.Algorithm() {
				continue
			}
			hash, err := base64.StdEncoding.DecodeString(strings.Trim(value, ":"))
			if d := digest.NewDigestFromBytes(algorithm, hash); err == nil && blobdigest.Validate(d) == nil && d != p.desc.Digest {
				return fmt.Errorf("its %s says that it is %s, not %s", field, d, p.desc.Digest)
			}
		}
	}
	return nil
}
