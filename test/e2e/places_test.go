package e2e

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/waybill-project/waybill/test/places"
	"github.com/waybill-project/waybill/test/realserver"
)

// How fast the link to a place is, in bytes per second: slow where a server is
// to die while it sends.
const (
	linkRate   = 10e6
	slowerLink = 5e6
)

// place is a real server that holds an image, behind a slow link.
type place struct {
	*places.Place
	relay *realserver.Relay
}

// uri is how the place is named to --from.
func (p place) uri() string { return p.URI(p.relay.Addr) }

// startPlace starts a server with the image, and makes it known to the user.
func startPlace(t *testing.T, start places.Starter, u *user, i *image) place {
	t.Helper()
	return startPlaceAt(t, start, u, i, slowerLink)
}

func startPlaceAt(t *testing.T, start places.Starter, u *user, i *image, rate int) place {
	t.Helper()
	p, err := start(t.Context(), t.TempDir(), i.Dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Stop() })
	relay, err := realserver.StartRelay("127.0.0.1:0", p.Addr, rate)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(relay.Stop)
	who := places.User{Home: u.home}
	if err := p.Enable(&who, relay.Addr); err != nil {
		t.Fatal(err)
	}
	u.env = append(u.env, who.Env...)
	u.configure(who.Config)
	return place{p, relay}
}

// configure adds to the user's configuration file.
func (u *user) configure(text string) {
	u.t.Helper()
	old, err := os.ReadFile(filepath.Join(u.home, configFile))
	if err != nil && !os.IsNotExist(err) {
		u.t.Fatal(err)
	}
	u.file(configFile, string(old)+text)
}

const configFile = ".config/waybill/config.toml"
