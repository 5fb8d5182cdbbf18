package azblob

import (
	"net/url"
	"strings"

	"github.com/waybill-project/waybill/transport/objectstore"
)

// Scheme is the scheme of the URIs of this transport's routes.
const Scheme = "azblob"

// paramAccount is go-cloud's way to name the account.
const paramAccount = "storage_account"

// form is how a URI is written.
var form = objectstore.Form{
	Scheme: Scheme, Written: "azblob://ACCOUNT/CONTAINER/PREFIX", Names: "container",
	Credentials: "AZURE_STORAGE_CONNECTION_STRING", Params: []string{paramAccount},
	Secrets: map[string]string{"sig": advice, "sv": advice},
}

// advice is what to do about a SAS token in a URI.
const advice = "holds a SAS token, which would be shown wherever the URI is; set AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_SAS_TOKEN"

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
	u, err := form.Parse(uri)
	if err != nil {
		return place{}, err
	}
	p := place{account: u.Params[paramAccount], endpoint: u.Endpoint, anonymous: u.Anonymous}
	path := strings.TrimPrefix(u.Path, "/")
	switch {
	case p.account != "": // go-cloud's form
		p.container = u.Host
	case strings.Contains(u.Host, "."):
		if p.account = azureAccount(u.Host); p.account == "" {
			return place{}, form.Errorf(uri, "%q is no host of Azure Blob Storage; write %s?endpoint=URL", u.Host, form.Written)
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
		return place{}, form.Errorf(uri, "%q is no name of an account; write %s", p.account, form.Written)
	case p.container == "":
		return place{}, form.Errorf(uri, "names no container; write %s", form.Written)
	case !validContainer(p.container):
		return place{}, form.Errorf(uri, "%q is no name of a container; write %s", p.container, form.Written)
	}
	if p.prefix, err = objectstore.Prefix(path); err != nil {
		return place{}, form.Errorf(uri, "%w", err)
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
