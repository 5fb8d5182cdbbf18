package httprange_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/httprange"
)

// countNew returns a ConnState that sends to conns for every new connection.
func countNew(conns chan<- struct{}) func(net.Conn, http.ConnState) {
	return func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns <- struct{}{}
		}
	}
}

func ExampleOpen() {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("freight and its waybill"))
	}))
	defer srv.Close()

	client := httpclient.New(httpclient.Options{})
	body, err := httprange.Open(context.Background(), client, httprange.Request{
		URL: srv.URL, Size: 23, Offset: 16, Length: 7,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer body.Close()
	b, err := io.ReadAll(body)
	fmt.Printf("%s %v\n", b, err)
	// Output: waybill <nil>
}
