package progress_test

import (
	"strings"
	"time"

	"github.com/waybill-project/waybill/progress"
)

var epoch = time.Date(2024, 2, 29, 12, 0, 0, 0, time.UTC)

// digestOf is a digest of the same two hex digits.
func digestOf(hex string) string { return "sha256:" + strings.Repeat(hex, 32) }

// scene is a pull after so many seconds at 40 MB/s: six sources, one for each
// status, and blobs in every state.
func scene(seconds int) progress.Snapshot {
	done := int64(seconds) * 40e6
	return progress.Snapshot{
		Time: epoch.Add(time.Duration(seconds) * time.Second), Name: "example.com/app:v1", Phase: "fetching",
		Size: 1e9, Done: 100e6 + done, Network: done,
		Blobs: []progress.Blob{
			{Digest: digestOf("01"), Size: 100e6, Done: 100e6, State: progress.BlobCached},
			{Digest: digestOf("02"), Size: 400e6, Done: done, State: progress.BlobFetching},
			{Digest: digestOf("03"), Size: 5e6, Done: 5e6, State: progress.BlobVerifying},
			{Digest: digestOf("04"), Size: -1, Done: 1234, State: progress.BlobFetching},
			{Digest: digestOf("05"), Size: 1e6, Done: 7, State: progress.BlobFailed},
			{Digest: digestOf("06"), Size: 400e6, State: progress.BlobWaiting},
		},
		Sources: []progress.Source{
			{URI: "docker://user:secret@registry.example/app", Bytes: done / 4, BytesPerSecond: 10e6, Status: progress.SourceActive},
			{URI: "https://cas.example/a/rather/long/way/to/blobs/", Bytes: done / 2, BytesPerSecond: 30e6, Status: progress.SourceActive},
			{URI: "sftp://host/layout", Bytes: 999, Status: progress.SourceDemoted, Reason: "slower than the others"},
			{URI: "http://liar.example/", Bytes: 5e6, Status: progress.SourceQuarantined, Reason: "wrong bytes at 1048576 of sha256:0202"},
			{URI: "http://127.0.0.1/", Status: progress.SourceRefused, Reason: "loopback named by a remote document"},
			{URI: "file:///mirror", Status: progress.SourceUnused},
		},
	}
}

// clock is the time of a test.
type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

// noEnv is an empty environment.
func noEnv(string) string { return "" }
