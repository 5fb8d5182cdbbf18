package data_test

import (
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/conformance/transporttest"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/data"
)

func TestConformance(t *testing.T) {
	none := "the blob is in its descriptor"
	transporttest.Run(t, func(t *testing.T) transporttest.Harness {
		return transporttest.Harness{
			Transport: data.Transport{},
			Put: func(testing.TB, transporttest.Blob) transport.Route {
				return transport.Route{URI: data.URI}
			},
			Describe: func(b transporttest.Blob) ocispec.Descriptor {
				desc := b.Descriptor()
				desc.Data = b.Bytes()
				return desc
			},
			MaxSize: 4 << 20, // what fits into a manifest, see image.MaxDocument
			Missing: func(testing.TB) (transport.Route, ocispec.Descriptor) {
				return transport.Route{URI: data.URI}, transporttest.NewBlob(1, 10).Descriptor()
			},
			Impossible: map[transporttest.Fault]string{
				transporttest.Denied: none, transporttest.Throttled: none, transporttest.Temporary: none,
				transporttest.Permanent: none, transporttest.ShortBody: none,
			},
		}
	})
}

func TestCheck(t *testing.T) {
	for uri, ok := range map[string]bool{"data:": true, "data:,x": true, "file:///x": false, "": false} {
		if err := (data.Transport{}).Check(uri); (err == nil) != ok {
			t.Errorf("%q: %v", uri, err)
		}
	}
}
