package azblob

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/waybill-project/waybill/transport/objectstore"
)

// The variables that say who asks, as Azure's own tools read them.
const (
	connectionVariable = "AZURE_STORAGE_CONNECTION_STRING"
	accountVariable    = "AZURE_STORAGE_ACCOUNT"
	keyVariable        = "AZURE_STORAGE_KEY"
	sasVariable        = "AZURE_STORAGE_SAS_TOKEN"
	endpointVariable   = "AZURE_STORAGE_SERVICE_ENDPOINT"
)

// maxVariable is the longest value of one of them that is read, in bytes.
const maxVariable = 16 << 10

// The account of the emulators (Azurite), whose key is published.
const (
	emulatorAccount  = "devstoreaccount1"
	emulatorKey      = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
	emulatorEndpoint = "http://127.0.0.1:10000/" + emulatorAccount
)

// storage is one account and what opens it. The zero value is none.
type storage struct {
	account string
	// endpoint is where the account's blob service is, or empty for Azure's.
	endpoint string
	key      []byte // or nil
	sas      string // a query without "?", or empty
}

// isEmulator reports whether s is the account of emulators with its published
// key, which opens nothing that isn't open: any endpoint may see a signature of
// it.
func isEmulator(s storage) bool {
	return s.account == emulatorAccount && base64.StdEncoding.EncodeToString(s.key) == emulatorKey
}

// fromEnvironment reads the variables above. Errors name the variable at fault
// and never quote it.
func fromEnvironment(getenv func(string) string) (storage, error) {
	for _, name := range []string{connectionVariable, accountVariable, keyVariable, sasVariable, endpointVariable} {
		if len(getenv(name)) > maxVariable {
			return storage{}, fmt.Errorf("%s is longer than the limit of %d bytes", name, maxVariable)
		}
	}
	if s := getenv(connectionVariable); s != "" {
		account, err := parseConnectionString(s)
		if err != nil {
			return storage{}, fmt.Errorf("%s: %w", connectionVariable, err)
		}
		return account, nil
	}
	account, key, sas := getenv(accountVariable), getenv(keyVariable), getenv(sasVariable)
	s := storage{account: account}
	var err error
	switch {
	case account == "" && (key != "" || sas != ""):
		return storage{}, fmt.Errorf("%s must say whose %s or %s is set", accountVariable, keyVariable, sasVariable)
	case key != "":
		if s.key, err = parseKey(key); err != nil {
			return storage{}, fmt.Errorf("%s: %w", keyVariable, err)
		}
	case sas != "":
		if s.sas, err = parseSAS(sas); err != nil {
			return storage{}, fmt.Errorf("%s: %w", sasVariable, err)
		}
	}
	if e := getenv(endpointVariable); e != "" && account != "" {
		if s.endpoint, err = objectstore.Endpoint(e); err != nil {
			return storage{}, fmt.Errorf("%s: %w", endpointVariable, err)
		}
	}
	return s, nil
}

// parseConnectionString parses the form "AccountName=…;AccountKey=…;…" that the
// portal and "az storage account show-connection-string" give out. Keys are in
// any case; those of other services are passed over.
func parseConnectionString(s string) (storage, error) {
	settings := map[string]string{}
	for setting := range strings.SplitSeq(s, ";") {
		if strings.TrimSpace(setting) == "" {
			continue
		}
		key, value, ok := strings.Cut(setting, "=")
		if !ok {
			return storage{}, errors.New("not settings KEY=VALUE with semicolons between them")
		}
		settings[strings.ToLower(strings.TrimSpace(key))] = strings.TrimSpace(value)
	}
	if strings.EqualFold(settings["usedevelopmentstorage"], "true") {
		settings = map[string]string{
			"accountname": emulatorAccount, "accountkey": emulatorKey, "blobendpoint": emulatorEndpoint,
		}
	}
	a := storage{account: settings["accountname"]}
	var err error
	if a.endpoint, err = serviceEndpoint(settings); err != nil {
		return storage{}, err
	}
	if a.account == "" {
		a.account = accountOf(a.endpoint)
	}
	key, sas := settings["accountkey"], settings["sharedaccesssignature"]
	switch {
	case !validAccount(a.account):
		return storage{}, errors.New("names no account: AccountName is missing or malformed")
	case key != "":
		if a.key, err = parseKey(key); err != nil {
			return storage{}, fmt.Errorf("AccountKey: %w", err)
		}
	case sas != "":
		if a.sas, err = parseSAS(sas); err != nil {
			return storage{}, fmt.Errorf("SharedAccessSignature: %w", err)
		}
	}
	return a, nil
}

// serviceEndpoint returns the URL of the blob service that the settings of a
// connection string name, or "" for Azure's.
func serviceEndpoint(settings map[string]string) (string, error) {
	e := settings["blobendpoint"]
	if suffix := settings["endpointsuffix"]; e == "" && suffix != "" && settings["accountname"] != "" {
		protocol := settings["defaultendpointsprotocol"]
		if protocol == "" {
			protocol = "https"
		}
		e = protocol + "://" + settings["accountname"] + ".blob." + suffix
	}
	if e == "" {
		return "", nil
	}
	e, err := objectstore.Endpoint(e)
	if err != nil {
		return "", fmt.Errorf("BlobEndpoint: %w", err)
	}
	return e, nil
}

// accountOf returns the account whose blob service is at endpoint, a URL that
// names it in the host, or, as emulators do, in the path.
func accountOf(endpoint string) string {
	u, err := url.Parse(endpoint)
	if err != nil {
		return ""
	}
	if path := strings.Trim(u.Path, "/"); path != "" {
		return path
	}
	name, _, _ := strings.Cut(u.Hostname(), ".")
	return name
}

// parseKey returns the bytes of an account's key.
func parseKey(s string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimSpace(s))
	if err != nil || len(key) == 0 {
		return nil, errors.New("not base64, as account keys are")
	}
	return key, nil
}

// parseSAS returns a SAS token as the query it is.
func parseSAS(s string) (string, error) {
	s = strings.TrimPrefix(strings.TrimSpace(s), "?")
	query, err := url.ParseQuery(s)
	if err != nil || query.Get("sig") == "" {
		return "", errors.New("no SAS token: a query with sv=…, sig=…")
	}
	return s, nil
}
