package registry

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/waybill-project/waybill/transport/httpclient"
)

var aRepository = repository{Place: Place{Host: "registry.example"}, name: "team/app"}

func TestExpiredGrantIsNotSent(t *testing.T) {
	const origin = "https://registry.example"
	a := newAuthorizer(nil)
	for _, tt := range []struct {
		expires time.Time
		want    string
	}{
		{time.Time{}, "Bearer x"},
		{time.Now().Add(time.Hour), "Bearer x"},
		{time.Now().Add(-time.Second), ""},
	} {
		a.remember(grantKey{demandKey{origin: origin, place: aRepository.Place}, aRepository.scope()}, grant{value: "Bearer x", expires: tt.expires})
		if got, err := a.remembered(context.Background(), aRepository, endpoint{base: origin}); got != tt.want || err != nil {
			t.Errorf("with expiry %v, remembered %q, %v; want %q", tt.expires, got, err, tt.want)
		}
	}
}

func TestMemoryOfGrantsIsBounded(t *testing.T) {
	a := newAuthorizer(nil)
	expired, lasting := grant{"x", time.Now().Add(-time.Hour)}, grant{"y", time.Now().Add(time.Hour)}
	for i := range maxGrants {
		g := expired
		if i == 7 {
			g = lasting
		}
		a.remember(grantKey{demandKey{origin: fmt.Sprint(i)}, ""}, g)
	}
	a.remember(grantKey{demandKey{origin: "new"}, ""}, lasting)
	if n := len(a.grants); n != 2 {
		t.Errorf("%d grants are kept, want the 2 that last", n)
	}
	for i := range 3 * maxGrants {
		a.remember(grantKey{demandKey{origin: fmt.Sprint(i)}, ""}, lasting)
	}
	if n := len(a.grants); n > maxGrants {
		t.Errorf("%d grants are kept, more than %d", n, maxGrants)
	}
}

func TestTargetsAreBoundedAndAge(t *testing.T) {
	var ts targets
	storage := &httpclient.Response{Response: &http.Response{}, URL: &url.URL{Scheme: "https", Host: "storage.example"}}
	key := func(i int) targetKey { return targetKey{aRepository, fmt.Sprint(i)} }
	for i := range 2 * maxTargets {
		ts.put(key(i), aRepository, storage)
	}
	if n := len(ts.m); n != maxTargets {
		t.Errorf("%d targets are kept, want %d", n, maxTargets)
	}
	for k, v := range ts.m {
		v.expires = time.Now().Add(-time.Second)
		ts.m[k] = v
	}
	if _, ok := ts.get(key(0)); ok {
		t.Error("a target is used after it expired")
	}
	ts.put(key(-1), aRepository, storage)
	if n := len(ts.m); n != 1 {
		t.Errorf("%d targets are kept, want the new one only", n)
	}
	// The registry itself takes credentials, and is not a target.
	itself := &httpclient.Response{Response: &http.Response{}, URL: &url.URL{Scheme: "https", Host: "registry.example"}}
	ts.put(key(-2), aRepository, itself)
	if _, ok := ts.get(key(-2)); ok {
		t.Error("the registry itself is remembered as a target")
	}
}

func TestNobodyAtTheDefaultPortMeansNoTLS(t *testing.T) {
	refused := fmt.Errorf("dial: %w", os.NewSyscallError("connect", syscall.ECONNREFUSED))
	for host, want := range map[string]bool{"localhost": true, "localhost:5000": false, "[::1]": true, "[::1]:5000": false} {
		if got := noTLS(repository{Place: Place{Host: host}}, refused); got != want {
			t.Errorf("noTLS(%s) = %v, want %v", host, got, want)
		}
	}
}
