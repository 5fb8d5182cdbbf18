package parcel_test

import (
	"fmt"

	"github.com/waybill-project/waybill/discovery/parcel"
)

func ExampleParseVersions() {
	version, err := parcel.ParseVersions([]byte("v1.0.0\nv0.0.0\n"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("https://example.com/.well-known/x-parcel." + version)
	// Output: https://example.com/.well-known/x-parcel.v0.0.0
}
