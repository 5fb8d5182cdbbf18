package pull_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/waybill-project/waybill/fetch"
	"github.com/waybill-project/waybill/locate"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/pull"
	"github.com/waybill-project/waybill/resolve"
	"github.com/waybill-project/waybill/store"
	"github.com/waybill-project/waybill/test/testimage"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/layout"
	"github.com/waybill-project/waybill/transport/tree"
)

// An image by its name in a layout, with one more place for its blobs.
func ExamplePuller_Start() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	source := filepath.Join(dir, "image")
	makeLayout(source)

	st, err := store.Open(filepath.Join(dir, "store"), store.Options{})
	if err != nil {
		log.Fatal(err)
	}
	p := &pull.Puller{
		Store: st,
		Fetch: fetch.Options{Transport: transport.Schemes{"oci": layout.Transport{}, "file": tree.Transport{}}},
		Names: resolve.Names{name.Layout: resolve.Local{Finder: layout.Transport{}}},
	}
	n, err := name.Parse("oci:" + source + ":app")
	if err != nil {
		log.Fatal(err)
	}
	more, err := locate.From("file://"+source+"/blobs", "example")
	if err != nil {
		log.Fatal(err)
	}
	session, err := p.Start(ctx, n, pull.Request{From: []locate.Locator{more}})
	if err != nil {
		log.Fatal(err)
	}
	record, err := session.Wait()
	if err != nil {
		log.Fatal(err)
	}
	for _, blob := range record.Blobs {
		fmt.Println(blob.MediaType, blob.Cached)
	}
	// Output:
	// application/vnd.oci.image.manifest.v1+json false
	// application/vnd.oci.image.config.v1+json false
	// application/vnd.oci.image.layer.v1.tar+gzip false
}

// makeLayout makes a layout with an image of one layer under the ref app.
func makeLayout(dir string) {
	l, err := testimage.NewLayout(dir)
	if err != nil {
		log.Fatal(err)
	}
	layer, err := l.AddLayer(testimage.Text(1, 1<<20), testimage.Gzip)
	if err != nil {
		log.Fatal(err)
	}
	desc, err := l.AddImage(testimage.Config(), layer)
	if err != nil {
		log.Fatal(err)
	}
	if err := l.Tag(desc, "app"); err != nil {
		log.Fatal(err)
	}
}
