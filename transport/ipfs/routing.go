package ipfs

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ipfs/go-cid"

	"github.com/waybill-project/waybill/transport/httpclient"
	"github.com/waybill-project/waybill/transport/netclass"
)

// Caps on what routers say.
const (
	maxProvidersBody = 1 << 20  // bytes of an answer
	maxProviderLine  = 64 << 10 // bytes of one record
	maxProviders     = 100      // looked at in one answer
	maxAddresses     = 32       // looked at of one provider
	maxUsed          = 16       // gateways used of one answer
	maxRemembered    = 1000     // CIDs whose providers are kept
	// routerTimeout bounds one question, and rememberProviders how long the
	// answer holds.
	routerTimeout     = 10 * time.Second
	rememberProviders = 5 * time.Minute
)

// The protocol that a provider speaks whose addresses are trustless gateways,
// and the media types of answers (IPIP-337, IPIP-417).
const (
	protocolGateway = "transport-ipfs-gateway-http"
	mediaJSON       = "application/json"
	mediaNDJSON     = "application/x-ndjson"
)

// providers remembers which gateways routers named.
type providers struct {
	mu sync.Mutex
	of map[string]provided
}

type provided struct {
	urls  []string
	until time.Time
}

// findProviders adds the gateways that routers know to have the session's root.
// It asks once for each session; whoever comes meanwhile waits for the answer.
func (s *session) findProviders(ctx context.Context) {
	s.routing.Lock()
	defer s.routing.Unlock()
	if s.routed || s.only || !s.root.Defined() || len(s.t.routers) == 0 || ctx.Err() != nil {
		return
	}
	s.routed = true
	urls := s.t.providersOf(ctx, s.root)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range urls {
		e, err := parseEndpoint(u)
		if err != nil || e.authorization != "" {
			continue
		}
		// A stranger named it, so it must be in the public network.
		if g := s.t.gateway(*e, netclass.Public); !slices.Contains(s.gateways, g) {
			s.gateways = append(s.gateways, g)
		}
	}
}

// providersOf asks the routers, all at once, for gateways that have c. Routers
// that fail name none.
func (t *Transport) providersOf(ctx context.Context, c cid.Cid) []string {
	key := string(c.Hash())
	t.providers.mu.Lock()
	known, ok := t.providers.of[key]
	t.providers.mu.Unlock()
	if ok && time.Now().Before(known.until) {
		return known.urls
	}
	ctx, cancel := context.WithTimeout(ctx, routerTimeout)
	defer cancel()
	found := make([][]string, len(t.routers))
	var wg sync.WaitGroup
	for i, router := range t.routers {
		wg.Go(func() { found[i] = t.askRouter(ctx, router, c) })
	}
	wg.Wait()
	urls := slices.Concat(found...)
	if len(urls) == 0 {
		return nil // it may be known the next time
	}
	t.providers.mu.Lock()
	defer t.providers.mu.Unlock()
	if t.providers.of == nil || len(t.providers.of) >= maxRemembered {
		t.providers.of = map[string]provided{}
	}
	t.providers.of[key] = provided{urls, time.Now().Add(rememberProviders)}
	return urls
}

// askRouter asks one router, GET /routing/v1/providers/CID.
func (t *Transport) askRouter(ctx context.Context, router endpoint, c cid.Cid) []string {
	resp, err := t.client.Do(ctx, &httpclient.Request{
		URL:           router.base + "/routing/v1/providers/" + c.String() + "?filter-protocols=" + protocolGateway,
		Header:        header(mediaNDJSON + ", " + mediaJSON),
		Authorization: router.authorization,
	})
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	// What was read before an error is as good as the rest.
	urls, _ := parseProviders(io.LimitReader(resp.Body, maxProvidersBody), mediaType)
	return urls
}

// provider is a record of the schema "peer", as far as we need it.
type provider struct {
	Addrs     []string
	Protocols []string
}

// parseProviders returns the URLs of the gateways in a router's answer. With an
// error it returns those before it.
func parseProviders(r io.Reader, mediaType string) ([]string, error) {
	switch mediaType {
	case mediaJSON:
		var answer struct{ Providers []json.RawMessage }
		if err := json.NewDecoder(r).Decode(&answer); err != nil {
			return nil, fmt.Errorf("providers: %w", err)
		}
		var urls []string
		for i, raw := range answer.Providers {
			if i == maxProviders {
				break
			}
			urls = appendGateways(urls, raw)
		}
		return urls, nil
	case mediaNDJSON:
		var urls []string
		lines := bufio.NewScanner(r)
		lines.Buffer(nil, maxProviderLine)
		for i := 0; i < maxProviders && lines.Scan(); i++ {
			urls = appendGateways(urls, bytes.TrimSpace(lines.Bytes()))
		}
		return urls, lines.Err()
	}
	return nil, errors.New("providers: neither JSON nor NDJSON")
}

// appendGateways appends the URLs of the gateways in one record. One that is
// none, or of a schema that is not known, has none.
func appendGateways(urls []string, raw []byte) []string {
	var p provider
	if json.Unmarshal(raw, &p) != nil || !slices.Contains(p.Protocols, protocolGateway) {
		return urls
	}
	for i, a := range p.Addrs {
		if i == maxAddresses || len(urls) == maxUsed {
			break
		}
		u, ok := multiaddrURL(a)
		if strings.HasPrefix(a, "https://") || strings.HasPrefix(a, "http://") {
			u, ok = a, true
		}
		if e := endpointOrNil(u); ok && e != nil && !slices.Contains(urls, e.base) {
			urls = append(urls, e.base)
		}
	}
	return urls
}

// multiaddrURL returns the URL of a multiaddr of HTTP over TCP:
// /ip4/A/tcp/P/http, /dns/H/tcp/P/https, /dns4/H/tcp/P/tls/http and their like.
func multiaddrURL(a string) (string, bool) {
	parts := strings.Split(a, "/")
	if len(parts) < 6 || parts[0] != "" || parts[3] != "tcp" {
		return "", false
	}
	host := parts[2]
	switch parts[1] {
	case "ip4", "ip6":
		addr, err := netip.ParseAddr(host)
		if err != nil || addr.Zone() != "" || addr.Is4() != (parts[1] == "ip4") {
			return "", false
		}
	case "dns", "dns4", "dns6":
		if !isDomain(host) {
			return "", false
		}
	default:
		return "", false
	}
	if _, err := strconv.ParseUint(parts[4], 10, 16); err != nil {
		return "", false
	}
	scheme, ok := map[string]string{"http": "http", "https": "https", "tls/http": "https"}[strings.Join(parts[5:], "/")]
	return scheme + "://" + net.JoinHostPort(host, parts[4]), ok
}
