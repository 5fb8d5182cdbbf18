package fetch_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/fetch"
	"github.com/waybill-project/waybill/locate"
	"github.com/waybill-project/waybill/store"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/https"
	"github.com/waybill-project/waybill/transport/tree"
)

// One blob from a web server and a directory at once.
func ExampleEngine_Fetch() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	// What: a digest and a size, from somebody who is trusted.
	content := bytes.Repeat([]byte("freight "), 1<<18)
	desc := ocispec.Descriptor{Digest: digest.FromBytes(content), Size: int64(len(content))}

	// Where: a directory of blobs, and a web server that serves it.
	blobs := filepath.Join(dir, "blobs")
	if err := os.MkdirAll(filepath.Join(blobs, "sha256"), 0o755); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(blobs, "sha256", desc.Digest.Encoded()), content, 0o644); err != nil {
		log.Fatal(err)
	}
	srv := httptest.NewServer(http.FileServer(http.Dir(blobs)))
	defer srv.Close()
	var places []locate.Locator
	for _, uri := range []string{srv.URL + "/", "file://" + blobs} {
		place, err := locate.From(uri, "example")
		if err != nil {
			log.Fatal(err)
		}
		places = append(places, place)
	}

	st, err := store.Open(filepath.Join(dir, "store"), store.Options{})
	if err != nil {
		log.Fatal(err)
	}
	engine := fetch.New(fetch.Options{
		Store: st,
		Transport: transport.Schemes{
			"http": https.New(httpclient.New(httpclient.Options{})),
			"file": tree.Transport{},
		},
	})
	result, err := engine.Fetch(ctx, desc, locate.All(places...).Locate(ctx, desc))
	if err != nil {
		log.Fatal(err)
	}
	var sum int64
	for _, part := range result.BySource() {
		sum += part.Length // of part.Source
	}
	fmt.Println(result.Size, "bytes verified,", sum, "of them served now")
	// Output: 2097152 bytes verified, 2097152 of them served now
}
