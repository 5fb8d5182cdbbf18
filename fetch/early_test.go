package fetch

import (
	"context"
	"io"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/internal/faultserver"
	"github.com/waybill-project/waybill/transport"
)

// What a transport knows of why a body ended too early is what the user is
// told.
func TestWhyABodyEndedEarly(t *testing.T) {
	for name, size := range map[string]int64{"small": 1000, "large": 3 << 20} {
		t.Run(name, func(t *testing.T) {
			b := faultserver.RandomBlob(1, size)
			e := engineOn(t, places{"p:x": func(_ context.Context, _ ocispec.Descriptor, offset, length int64) (io.ReadCloser, error) {
				content := io.NewSectionReader(b.Content, offset, length/2)
				return io.NopCloser(io.MultiReader(content, failing{})), nil
			}})
			_, err := e.Fetch(t.Context(), describeBlob(b), at("p:x"))
			if err == nil || !strings.Contains(detailOf(err), "the disk is on fire") {
				t.Errorf("got %v", detailOf(err))
			}
		})
	}
}

// failing is a reader of nothing.
type failing struct{}

func (failing) Read([]byte) (int, error) {
	return 0, transport.Errorf(transport.ErrPermanent, "p:x", "the disk is on fire: %w", io.ErrUnexpectedEOF)
}
