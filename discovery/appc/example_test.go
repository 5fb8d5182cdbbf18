package appc_test

import (
	"fmt"

	"github.com/waybill-project/waybill/discovery/appc"
)

func ExampleTag_Expand() {
	tags, err := appc.ParsePage([]byte(`<meta name="ac-discovery" content="example.com docker://registry.example.com/{name}:{version}">`))
	if err != nil {
		fmt.Println(err)
		return
	}
	n, err := appc.Parse("example.com/app:1.0.0,os=linux")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, tag := range tags {
		fmt.Println(tag.Expand(n))
	}
	// Output: docker://registry.example.com/example.com/app:1.0.0 1 <nil>
}
