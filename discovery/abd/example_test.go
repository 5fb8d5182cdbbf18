package abd_test

import (
	"fmt"

	"github.com/waybill-project/waybill/discovery/abd"
)

func ExampleHosts() {
	n, err := abd.Parse("com.coreos.etcd,os=linux,arch=amd64")
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, host := range abd.Hosts(n.Identifier) {
		fmt.Println(n.URL(host))
	}
	// Output:
	// https://etcd.coreos.com/.well-known/abd-index/com.coreos.etcd?arch=amd64&os=linux
	// https://coreos.com/.well-known/abd-index/com.coreos.etcd?arch=amd64&os=linux
}
