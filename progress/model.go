package progress

import "time"

// Snapshot is the state of a pull at one moment.
type Snapshot struct {
	// Time is the moment; zero means now.
	Time time.Time `json:"time"`
	// Name is what is pulled.
	Name string `json:"name"`
	// Phase is a word for what the pull is at; [PhaseFailed] has a meaning.
	Phase string `json:"phase"`
	// Size and Done are the bytes of all blobs known so far and those of them
	// that are here, whether fetched now or before.
	Size int64 `json:"size"`
	Done int64 `json:"done"`
	// Network is the bytes that came over the network in this pull.
	Network int64 `json:"network"`
	// Blobs and Sources are shown in the order given.
	Blobs   []Blob   `json:"blobs"`
	Sources []Source `json:"sources"`
}

// PhaseFailed is the phase of a final [Snapshot] of a pull that failed.
const PhaseFailed = "failed"

// Blob is one blob of a pull.
type Blob struct {
	Digest    string    `json:"digest"`
	MediaType string    `json:"mediaType"`
	Size      int64     `json:"size"` // bytes; negative where unknown
	Done      int64     `json:"done"` // bytes that are here
	State     BlobState `json:"state"`
}

// BlobState is where a blob stands.
type BlobState string

// The states of a blob.
const (
	BlobWaiting   BlobState = "waiting"   // nothing was asked for yet
	BlobFetching  BlobState = "fetching"  // bytes are arriving
	BlobVerifying BlobState = "verifying" // all bytes are here, the verdict isn't
	BlobDone      BlobState = "done"      // fetched and verified
	BlobCached    BlobState = "cached"    // was here already
	BlobFailed    BlobState = "failed"    // can't be had
)

// Source is one place blobs are fetched from.
type Source struct {
	URI            string       `json:"uri"`
	Bytes          int64        `json:"bytes"`          // fetched from it in this pull
	BytesPerSecond float64      `json:"bytesPerSecond"` // at present
	Status         SourceStatus `json:"status"`
	Reason         string       `json:"reason,omitempty"` // for the status
}

// SourceStatus is how a source is faring.
type SourceStatus string

// The statuses of a source.
const (
	SourceActive      SourceStatus = "active"      // is being read
	SourceWaiting     SourceStatus = "waiting"     // asked to be left alone for a while
	SourceDemoted     SourceStatus = "demoted"     // failed or was slow; asked last
	SourceQuarantined SourceStatus = "quarantined" // sent wrong bytes; not asked again
	SourceRefused     SourceStatus = "refused"     // by policy; never asked
	SourceUnused      SourceStatus = "unused"      // wasn't needed
)

// Event is something that happened in a pull and is worth a line.
type Event struct {
	// Time is when; zero means now.
	Time time.Time `json:"time"`
	// Type is a word for the kind of event.
	Type string `json:"event"`
	// Digest and Source name the blob and the URI it is about, where it is
	// about one.
	Digest string `json:"digest,omitempty"`
	Source string `json:"source,omitempty"`
	// Message says what happened.
	Message string `json:"message"`
}
