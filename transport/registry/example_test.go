package registry_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/credentials"
	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/registry"
)

func ExampleClient_Open() {
	// Any registry will do; this one has one blob.
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("freight and its waybill"))
	}))
	defer srv.Close()
	host := strings.TrimPrefix(srv.URL, "http://")

	client := registry.New(registry.Options{Credentials: credentials.New(credentials.Options{})})
	blob := ocispec.Descriptor{Digest: digest.FromString("freight and its waybill"), Size: 23}
	body, err := client.Open(context.Background(), transport.Route{URI: "docker://" + host + "/team/app"}, blob, 16, 7)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	fmt.Printf("%s %v\n", b, err)
	// Output: waybill <nil>
}
