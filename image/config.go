package image

import (
	"bytes"
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/blobdigest"
)

// ParseConfig reads an image configuration (image-spec config.md; Docker's is
// a superset whose other fields are ignored). Its rootfs.diff_ids are checked to
// be digests.
func ParseConfig(content []byte) (*ocispec.Image, error) {
	var c ocispec.Image
	if _, err := unmarshal(bytes.NewReader(content), int64(len(content)), &c, configSchema); err != nil {
		return nil, fmt.Errorf("image config: %w", err)
	}
	if n := len(c.RootFS.DiffIDs); n > MaxDescriptors {
		return nil, fmt.Errorf("image config: %d diff_ids; the limit is %d", n, MaxDescriptors)
	}
	for i, id := range c.RootFS.DiffIDs {
		if err := blobdigest.Validate(id); err != nil {
			return nil, fmt.Errorf("image config: rootfs.diff_ids[%d]: %w", i, err)
		}
	}
	return &c, nil
}
