package netclass

import (
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

// The vectors of spec/security.md §3 and §4, which other implementations read
// too.

// classes are the names the vectors have for classes.
var classes = map[string]Class{
	"loopback":   Loopback,
	"link-local": LinkLocal,
	"private":    Private,
	"public":     Public,
}

func TestAddressVectors(t *testing.T) {
	var vectors []struct{ Address, Class, Comment string }
	readVectors(t, "addresses.json", &vectors)
	for _, v := range vectors {
		t.Run(v.Address, func(t *testing.T) {
			if got := Of(netip.MustParseAddr(v.Address)); got != classOf(t, v.Class) {
				t.Errorf("got %v, want %s (%s)", got, v.Class, v.Comment)
			}
		})
	}
}

func TestHostVectors(t *testing.T) {
	var vectors []struct {
		Host  string
		Class *string // null: nothing can be told
	}
	readVectors(t, "hosts.json", &vectors)
	for _, v := range vectors {
		t.Run(v.Host, func(t *testing.T) {
			got, known := OfHost(v.Host)
			if known != (v.Class != nil) {
				t.Fatalf("got %v, %v", got, known)
			}
			if known && got != classOf(t, *v.Class) {
				t.Errorf("got %v, want %s", got, *v.Class)
			}
		})
	}
}

func TestDialVectors(t *testing.T) {
	var vectors []struct {
		Floor, Address, Class string
		Allowed               bool
	}
	readVectors(t, "dials.json", &vectors)
	for _, v := range vectors {
		t.Run(v.Floor+" "+v.Address, func(t *testing.T) {
			floor := classOf(t, v.Floor)
			err := (&Dialer{Floor: floor}).check(v.Address)
			if v.Allowed {
				if err != nil {
					t.Error(err)
				}
				return
			}
			var refused *RefusedError
			if !errors.As(err, &refused) {
				t.Fatalf("got %v", err)
			}
			if want := (RefusedError{v.Address, classOf(t, v.Class), floor}); *refused != want {
				t.Errorf("got %+v, want %+v", *refused, want)
			}
		})
	}
}

// TestRedirectVectors: the floor of each hop is the class of the address the hop
// before it was answered from.
func TestRedirectVectors(t *testing.T) {
	var vectors []struct {
		Comment, Floor string
		Hops           []struct {
			Address string
			Allowed bool
		}
	}
	readVectors(t, "redirects.json", &vectors)
	for _, v := range vectors {
		t.Run(v.Comment, func(t *testing.T) {
			floor := classOf(t, v.Floor)
			for i, hop := range v.Hops {
				if err := (&Dialer{Floor: floor}).check(hop.Address); (err == nil) != hop.Allowed {
					t.Errorf("hop %d to %s: %v; allowed is to be %v", i, hop.Address, err, hop.Allowed)
				}
				floor = Of(netip.MustParseAddrPort(hop.Address).Addr())
			}
		})
	}
}

func classOf(t *testing.T, name string) Class {
	t.Helper()
	c, ok := classes[name]
	if !ok || c.String() != name {
		t.Fatalf("unknown class %q", name)
	}
	return c
}

func readVectors(t *testing.T, name string, into any) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("../../spec/vectors/netclass", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(content, into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}
