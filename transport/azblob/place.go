package azblob

import (
	"net/url"
	"strings"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/objectstore"
)

// Scheme is the scheme of the URIs of this transport's routes.
const Scheme = "azblob"

// form is how a URI is written, for errors.
const form = "write azblob://ACCOUNT/CONTAINER/PREFIX"

// place is what a URI names.
type place struct {
	account, container, prefix string
	// endpoint is the URL of the account's blob service, or empty where the URI
	// doesn't name it.
	endpoint  string
	anonymous bool
}

// parsePlace parses the forms that the package comment lists.
func parsePlace(uri string) (place, error) {
	fail := func(format string, args ...any) (place, error) {
		return place{}, transport.Errorf(transport.ErrPermanent, objectstore.Shown(uri), format, args...)
	}
	u, err := url.Parse(uri)
	switch {
	case err != nil:
		// The parser's error quotes the URI, where secrets may stand.
		return fail("malformed URI; %s", form)
	case u.Scheme != Scheme || u.Opaque != "":
		return fail("not a container's URI; %s", form)
	case u.User != nil:
		return fail("holds user information; credentials come from the environment, see AZURE_STORAGE_CONNECTION_STRING")
	case u.Fragment != "":
		return fail("holds a fragment; percent-encode '#' in PREFIX")
	}
	var p place
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return fail("malformed query; percent-encode '?' in PREFIX")
	}
	for key, values := range query {
		value := values[0]
		switch {
		case len(values) > 1:
			return fail("%s is given twice", key)
		case key == "endpoint":
			if p.endpoint, err = objectstore.Endpoint(value); err != nil {
				return fail("endpoint: %w", err)
			}
		case key == "storage_account":
			p.account = value
		case key == "anonymous" && (value == "true" || value == "false"):
			p.anonymous = value == "true"
		case key == "anonymous":
			return fail("anonymous is true or false")
		case key == "sig" || key == "sv":
			return fail("holds a SAS token, which would be shown wherever the URI is; set AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_SAS_TOKEN")
		default:
			return fail("unknown parameter %q; there are endpoint, storage_account and anonymous", key)
		}
	}
	path := strings.TrimPrefix(u.Path, "/")
	switch {
	case p.account != "": // go-cloud's form
		p.container = u.Host
	case strings.Contains(u.Host, "."):
		if p.account = azureAccount(u.Host); p.account == "" {
			return fail("%q is no host of Azure Blob Storage; %s?endpoint=URL", u.Host, form)
		}
		if p.endpoint == "" {
			p.endpoint = "https://" + strings.ToLower(u.Host)
		}
		p.container, path, _ = strings.Cut(path, "/")
	default:
		p.account = u.Host
		p.container, path, _ = strings.Cut(path, "/")
	}
	switch {
	case !validAccount(p.account):
		return fail("%q is no name of an account; %s", p.account, form)
	case p.container == "":
		return fail("names no container; %s", form)
	case !validContainer(p.container):
		return fail("%q is no name of a container; %s", p.container, form)
	}
	if p.prefix, err = objectstore.Prefix(path); err != nil {
		return fail("%w", err)
	}
	return p, nil
}

const alphanumeric = "abcdefghijklmnopqrstuvwxyz0123456789"

// validAccount reports whether s can be the name of a storage account: 3 to 24
// lower-case letters and digits.
func validAccount(s string) bool {
	return len(s) >= 3 && len(s) <= 24 && strings.Trim(s, alphanumeric) == ""
}

// validContainer reports whether s can be the name of a container: 3 to 63
// lower-case letters, digits and single dashes, or one of Azure's own.
func validContainer(s string) bool {
	switch s {
	case "$root", "$web", "$logs":
		return true
	}
	return len(s) >= 3 && len(s) <= 63 && strings.Trim(s, alphanumeric+"-") == "" &&
		s[0] != '-' && s[len(s)-1] != '-' && !strings.Contains(s, "--")
}

// azureDomains are the domains of the blob services of Azure's clouds.
var azureDomains = []string{
	".blob.core.windows.net",
	".blob.core.chinacloudapi.cn",
	".blob.core.usgovcloudapi.net",
	".blob.storage.azure.net", // accounts with a DNS zone of their own
}

// azureAccount returns the account whose blob service is at host, one of
// Azure's: ACCOUNT[-secondary][.ZONE].blob.… Empty means that host is none.
func azureAccount(host string) string {
	host = strings.ToLower(host)
	for _, domain := range azureDomains {
		if name, ok := strings.CutSuffix(host, domain); ok {
			name, _, _ = strings.Cut(name, ".")
			return strings.TrimSuffix(name, "-secondary")
		}
	}
	return ""
}

// isAzure reports whether endpoint is Azure's own for account, and nobody in
// between can read what is sent to it.
func isAzure(endpoint, account string) bool {
	u, err := url.Parse(endpoint)
	return err == nil && u.Scheme == "https" && azureAccount(u.Hostname()) == account
}
