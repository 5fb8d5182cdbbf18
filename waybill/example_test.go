package waybill_test

import (
	"fmt"
	"log"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/waybill"
)

func Example() {
	content := []byte(`{
		"mediaType": "application/vnd.waybill.v1+json",
		"issued": "2026-01-01T00:00:00Z", "expires": "2026-04-01T00:00:00Z", "sequence": 3,
		"consignments": [{
			"digest": "sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9", "size": 11,
			"routes": [
				{"uri": "../blobs/hello", "priority": 2},
				{"uri": "file:///etc/shadow", "priority": 1}
			]
		}],
		"carriers": [{"protocol": "oci-distribution-v1", "uri": "https://mirror.example", "repository": "team/app"}]
	}`)
	doc, err := waybill.Parse(content)
	if err != nil {
		log.Fatal(err)
	}
	if err := doc.InForce(time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)); err != nil {
		log.Fatal(err)
	}
	places, err := doc.Places(waybill.From{Base: "https://one.example/app/waybill.json"})
	if err != nil {
		log.Fatal(err)
	}
	desc := ocispec.Descriptor{Digest: digest.FromString("hello world"), Size: 11}
	for entry, err := range places.Routes(desc) {
		if err != nil {
			fmt.Println("refused:", err)
			continue
		}
		fmt.Printf("%d %s %q\n", entry.Priority, entry.URI, entry.Protocol)
	}
	// Output:
	// refused: waybill, /consignments/0/routes/1: file:///etc/shadow: scheme "file"; a document from elsewhere may use docker, ftp, http, https, ipfs, ipfs+https, magnet, sftp, ssh
	// 2 https://one.example/blobs/hello ""
	// 999999 https://mirror.example "oci-distribution-v1"
}

func ExampleDocument_Marshal() {
	blob := "hello world"
	size := int64(len(blob))
	pieces, err := waybill.HashPieces(strings.NewReader(blob), size, "sha256", 1<<20)
	if err != nil {
		log.Fatal(err)
	}
	doc := waybill.Document{
		Issued:  time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		Expires: time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC),
		Consignments: []waybill.Consignment{{
			Digest: digest.FromString(blob),
			Size:   size,
			Pieces: pieces,
			Routes: []waybill.Route{{URI: "https://one.example/hello", Priority: 1}},
		}},
	}
	content, err := doc.Marshal()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.60s… (%d bytes)\n", content, len(content))
	// Output:
	// {"consignments":[{"digest":"sha256:b94d27b9934d3e08a52e52d7d… (483 bytes)
}
