package ipfs

import (
	"bufio"
	"bytes"
	"cmp"
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

	"github.com/waybill-project/waybill/transport"
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
	mu     sync.Mutex
	of     map[string]provided
	failed map[endpoint]bool // routers that did, and it was told
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
	urls, failed := s.t.providersOf(ctx, s.root)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unrouted = failed
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
// that fail name none; failed is what one of them failed with.
func (t *Transport) providersOf(ctx context.Context, c cid.Cid) (urls []string, failed error) {
	key := string(c.Hash())
	t.providers.mu.Lock()
	known, ok := t.providers.of[key]
	t.providers.mu.Unlock()
	if ok && time.Now().Before(known.until) {
		return known.urls, nil
	}
	limited, cancel := context.WithTimeout(ctx, routerTimeout)
	defer cancel()
	found, errs := make([][]string, len(t.routers)), make([]error, len(t.routers))
	var wg sync.WaitGroup
	for i, router := range t.routers {
		wg.Go(func() {
			found[i], errs[i] = t.askRouter(limited, router, c)
			if errs[i] != nil && ctx.Err() == nil {
				t.routerFailed(router, errs[i])
			}
		})
	}
	wg.Wait()
	if urls = slices.Concat(found...); len(urls) == 0 {
		return nil, cmp.Or(errs...) // it may be known the next time
	}
	t.providers.mu.Lock()
	defer t.providers.mu.Unlock()
	if t.providers.of == nil || len(t.providers.of) >= maxRemembered {
		t.providers.of = map[string]provided{}
	}
	t.providers.of[key] = provided{urls, time.Now().Add(rememberProviders)}
	return urls, nil
}

// routerFailed tells that a router failed, once for each.
func (t *Transport) routerFailed(router endpoint, err error) {
	t.providers.mu.Lock()
	told := t.providers.failed[router]
	if t.providers.failed == nil {
		t.providers.failed = map[endpoint]bool{}
	}
	t.providers.failed[router] = true
	t.providers.mu.Unlock()
	if !told {
		t.warn(router.base, fmt.Errorf("delegated router: %w", cause(router.base, err)))
	}
}

// askRouter asks one router, GET /routing/v1/providers/CID. What it named before
// an error is as good as the rest.
func (t *Transport) askRouter(ctx context.Context, router endpoint, c cid.Cid) ([]string, error) {
	resp, err := t.client.Do(ctx, &httpclient.Request{
		URL:           router.base + "/routing/v1/providers/" + c.String() + "?filter-protocols=" + protocolGateway,
		Header:        header(mediaNDJSON + ", " + mediaJSON),
		Authorization: router.authorization,
	})
	if errors.Is(err, transport.ErrNotFound) {
		return nil, nil // it knows none
	}
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	urls, err := parseProviders(io.LimitReader(resp.Body, maxProvidersBody), mediaType)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no whole answer in %v", routerTimeout)
	}
	if err != nil {
		// Not to be asked again at once: it would be the same.
		return urls, transport.Errorf(transport.ErrPermanent, router.base, "%w", err)
	}
	return urls, nil
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
		return parseProvidersJSON(json.NewDecoder(r))
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

// parseProvidersJSON reads {"Providers": […]} up to maxProviders of them: a
// router may know of more than is read.
func parseProvidersJSON(d *json.Decoder) (urls []string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("providers: %w", unexpected(err))
		}
	}()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, cmp.Or(err, errors.New("not a JSON object"))
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, err
		}
		if name, _ := key.(string); !strings.EqualFold(name, "Providers") {
			var other json.RawMessage
			if err := d.Decode(&other); err != nil {
				return nil, err
			}
			continue
		}
		if t, err := d.Token(); err != nil || t == nil {
			return nil, err // null: it knows none
		} else if t != json.Delim('[') {
			return nil, errors.New("not a list")
		}
		for range maxProviders {
			if !d.More() {
				_, err := d.Token()
				return urls, err
			}
			var raw json.RawMessage
			if err := d.Decode(&raw); err != nil {
				return urls, err
			}
			urls = appendGateways(urls, raw)
		}
		return urls, nil
	}
	_, err = d.Token()
	return nil, err
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
		// A URL with credentials is refused: a router holds nobody's.
		if e := endpointOrNil(u); ok && e != nil && e.authorization == "" && !slices.Contains(urls, e.base) {
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
