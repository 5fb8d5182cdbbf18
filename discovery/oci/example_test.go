package oci_test

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/discovery/oci"
)

func ExampleParse() {
	name, err := oci.Parse("images.example/team/app#1.0")
	fmt.Println(name.Host, name.Path, name.Fragment, err)
	_, err = oci.Parse("images.example:5000/team/app")
	fmt.Println(err)
	// Output:
	// images.example team/app 1.0 <nil>
	// name "images.example:5000/team/app", character 15: a host-based name has no port
}

func ExampleEngine_Locator() {
	engine := oci.Engine{Protocol: oci.ProtocolCASTemplate, Template: "https://images.example/{algorithm}/{encoded:2}/{encoded}"}
	locator, err := engine.Locator("a discovery document")
	if err != nil {
		fmt.Println(err)
		return
	}
	for route, err := range locator.Locate(context.Background(), ocispec.Descriptor{Digest: digest.FromString("hello")}) {
		fmt.Println(route.URI, err)
	}
	// Output:
	// https://images.example/sha256/2c/2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824 <nil>
}
