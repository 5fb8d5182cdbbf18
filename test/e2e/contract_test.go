package e2e

import (
	"encoding/json"

	"github.com/opencontainers/go-digest"
)

// The JSON documents of the command line's contract, as a user's script would
// declare them.

type pullDoc struct {
	Name      string        `json:"name"`
	Digest    digest.Digest `json:"digest"`
	MediaType string        `json:"mediaType"`
	Size      int64         `json:"size"`
	Pull      string        `json:"pull"`
	Blobs     []pulledBlob  `json:"blobs"`
}

type pulledBlob struct {
	Digest  digest.Digest `json:"digest"`
	Size    int64         `json:"size"`
	Cached  *bool         `json:"cached"`
	Sources []struct {
		URI   string `json:"uri"`
		Bytes int64  `json:"bytes"`
	} `json:"sources"`
}

type explainDoc struct {
	Pull    string            `json:"pull"`
	Name    string            `json:"name"`
	Sources []explainedSource `json:"sources"`
	Events  []json.RawMessage `json:"events"`
}

type explainedSource struct {
	URI    string         `json:"uri"`
	Origin string         `json:"origin"`
	Bytes  int64          `json:"bytes"`
	Ranges []servedRange  `json:"ranges"`
	Status explainedState `json:"status"`
	Reason string         `json:"reason"`
}

// explainedState is one of used, unused, demoted, quarantined, refused.
type explainedState string

// servedRange is [digest, offset, length].
type servedRange struct {
	Digest         digest.Digest
	Offset, Length int64
}

func (r *servedRange) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[]any{&r.Digest, &r.Offset, &r.Length})
}

type listedImage struct {
	Name       string        `json:"name"`
	Digest     digest.Digest `json:"digest"`
	MediaType  string        `json:"mediaType"`
	Size       int64         `json:"size"`
	ResolvedBy *string       `json:"resolvedBy"`
	Time       string        `json:"time"`
}

type usageDoc struct {
	Blobs       *int64 `json:"blobs"`
	Bytes       *int64 `json:"bytes"`
	Ingests     *int64 `json:"ingests"`
	IngestBytes *int64 `json:"ingestBytes"`
}

type failureDoc struct {
	Error   string `json:"error"`
	Code    int    `json:"code"`
	Sources []struct {
		URI   string `json:"uri"`
		Error string `json:"error"`
	} `json:"sources"`
}
