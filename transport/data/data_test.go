package data_test

import (
	"errors"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/data"
	"github.com/waybill-project/waybill/transport/local/localtest"
)

func TestOpen(t *testing.T) {
	route := transport.Route{URI: data.URI}
	tests := []struct {
		name           string
		data           string
		size           int64
		offset, length int64
		want           string
		kind           error
	}{
		{"whole", "0123", 4, 0, 4, "0123", nil},
		{"range", "0123", 4, 1, 2, "12", nil},
		{"size unknown", "0123", -1, 0, -1, "0123", nil},
		{"empty blob", "", 0, 0, -1, "", nil},
		{"no data", "", 4, 0, 4, "", transport.ErrNotFound},
		{"no data, size unknown", "", -1, 0, -1, "", transport.ErrNotFound},
		{"data of another size", "01234", 4, 0, 4, "", transport.ErrPermanent},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			desc := ocispec.Descriptor{Size: tt.size, Data: []byte(tt.data)}
			got, err := localtest.ReadAll(t.Context(), data.Transport{}, route, desc, tt.offset, tt.length)
			if string(got) != tt.want || !errors.Is(err, tt.kind) {
				t.Errorf("got %q, %v; want %q, %v", got, err, tt.want, tt.kind)
			}
			size, err := data.Transport{}.Size(t.Context(), route, desc)
			if notFound := errors.Is(tt.kind, transport.ErrNotFound); (err != nil) != notFound || !notFound && size != int64(len(tt.data)) {
				t.Errorf("size %d, %v", size, err)
			}
		})
	}
}
