package httpclient_test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
)

// BenchmarkProtocol compares HTTP/1.1 and HTTP/2 for large bodies over TLS on
// the loopback interface: the measurement the package comment cites.
func BenchmarkProtocol(b *testing.B) {
	const size = 128 << 20
	block := make([]byte, 1<<20)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", strconv.Itoa(size))
		for range size / len(block) {
			_, _ = w.Write(block)
		}
	}))
	srv.EnableHTTP2 = true
	srv.StartTLS()
	defer srv.Close()

	pools := []struct {
		name   string
		http2  bool
		config *http.HTTP2Config
	}{
		{"http1", false, nil},
		{"http2", true, nil},
		{"http2-large-frames", true, &http.HTTP2Config{
			MaxReadFrameSize: 1 << 20, MaxReceiveBufferPerConnection: 64 << 20, MaxReceiveBufferPerStream: 32 << 20,
		}},
	}
	for _, p := range pools {
		for _, n := range []int{1, 4} {
			b.Run(fmt.Sprintf("%s/at-once=%d", p.name, n), func(b *testing.B) {
				pool := &http.Transport{
					TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
					Protocols:       new(http.Protocols), HTTP2: p.config, DisableCompression: true,
				}
				pool.Protocols.SetHTTP1(!p.http2)
				pool.Protocols.SetHTTP2(p.http2)
				defer pool.CloseIdleConnections()
				b.SetBytes(int64(n * size))
				for b.Loop() {
					var wg sync.WaitGroup
					for range n {
						wg.Go(func() { drain(b, pool, srv.URL) })
					}
					wg.Wait()
				}
			})
		}
	}
}

// drain reads one body into a buffer of 1 MiB.
func drain(b *testing.B, pool *http.Transport, url string) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		b.Error(err)
		return
	}
	resp, err := pool.RoundTrip(req)
	if err != nil {
		b.Error(err)
		return
	}
	defer resp.Body.Close()
	for buf := make([]byte, 1<<20); err == nil; {
		_, err = resp.Body.Read(buf)
	}
	if err != io.EOF {
		b.Error(err)
	}
}
