package ipfs

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

const (
	// maxAddressFile bounds kubo's files gateway and api, maxKuboConfig its
	// config, in bytes.
	maxAddressFile = 4 << 10
	maxKuboConfig  = 1 << 20
)

// LocalGateway returns the base URL of the gateway of the kubo on this machine, as
// it is found now, without user information, and the variable or file that tells of
// it; both are empty if nothing does. Nobody is asked.
func LocalGateway() (base, from string, err error) {
	e, from, err := localGateway()
	if e == nil {
		return "", "", err
	}
	return e.base, from, nil
}

// localGateway returns the gateway of the kubo on this machine and what tells of
// it, or nil if there is no sign of one. $IPFS_GATEWAY and the file gateway (which kubo writes
// when it starts) are what curl, ffmpeg and others go by. A variable that
// names no gateway is an error: somebody meant one.
func localGateway() (*endpoint, string, error) {
	const variable = "IPFS_GATEWAY"
	if u := os.Getenv(variable); u != "" {
		e, err := parseEndpoint(u)
		if err != nil {
			return nil, "", fmt.Errorf("$%s: %w", variable, err)
		}
		return e, variable, nil
	}
	repo := os.Getenv("IPFS_PATH")
	if repo == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, "", nil // a machine without homes has no kubo in one
		}
		repo = filepath.Join(home, ".ipfs")
	}
	file := filepath.Join(repo, "gateway")
	if e := endpointOrNil(firstLine(file)); e != nil {
		return e, file, nil
	}
	// The file api is there while kubo runs. It says where the RPC is, which
	// nobody but its owner should use; where the gateway is, says the config.
	if firstLine(filepath.Join(repo, "api")) == "" {
		return nil, "", nil
	}
	file = filepath.Join(repo, "config")
	return configuredGateway(file), file, nil
}

// configuredGateway returns the first gateway in a configuration of kubo.
func configuredGateway(path string) *endpoint {
	var config struct {
		Addresses struct {
			Gateway json.RawMessage // a string or several
		}
	}
	if json.Unmarshal(readSmall(path, maxKuboConfig), &config) != nil {
		return nil
	}
	var one string
	var several []string
	if json.Unmarshal(config.Addresses.Gateway, &one) == nil {
		several = []string{one}
	} else if json.Unmarshal(config.Addresses.Gateway, &several) != nil {
		return nil
	}
	for _, a := range several {
		// kubo's gateway speaks plain HTTP, whatever its address says.
		if u, ok := multiaddrURL(a + "/http"); ok {
			return endpointOrNil(u)
		}
	}
	return nil
}

// endpointOrNil returns the endpoint at a URL, or nil for what is none.
func endpointOrNil(s string) *endpoint {
	e, err := parseEndpoint(s)
	if err != nil {
		return nil
	}
	return e
}

func firstLine(path string) string {
	line, _, _ := strings.Cut(string(readSmall(path, maxAddressFile)), "\n")
	return strings.TrimSpace(line)
}

// readSmall returns a file's content, nothing where it can't be read or is
// larger than limit.
func readSmall(path string, limit int64) []byte {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil || int64(len(content)) > limit {
		return nil
	}
	return content
}
