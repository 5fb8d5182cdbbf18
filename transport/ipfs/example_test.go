package ipfs_test

import (
	"context"
	"fmt"

	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/ipfs"
)

// What is in a directory, from a gateway that need not be trusted.
func ExampleTransport_Walk() {
	t, err := ipfs.New(httpclient.New(httpclient.Options{}), ipfs.Options{Gateways: []string{"https://gateway.example"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer t.Close()
	for e, err := range t.Walk(context.Background(), "ipns://app.example.org/rootfs") {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(e.Type|e.Mode, e.Size, e.Path)
	}
}
