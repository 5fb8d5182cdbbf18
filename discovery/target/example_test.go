package target_test

import (
	"fmt"

	"github.com/waybill-project/waybill/discovery/target"
)

func ExampleParse() {
	for _, uri := range []string{"docker://quay.io/coreos/etcd:1.0.0", "https://dl.example/etcd.tar", "file:///etc/shadow"} {
		t, err := target.Parse(uri)
		if err != nil {
			fmt.Println("refused:", err)
			continue
		}
		fmt.Println(t.Kind, t.URI)
	}
	// Output:
	// registry docker://quay.io/coreos/etcd:1.0.0
	// archive https://dl.example/etcd.tar
	// refused: scheme "file"; a document from elsewhere may use https, docker, ipfs, ftp here
}
