package pull

import (
	"cmp"
	"encoding/json"
	"slices"
	"time"

	"github.com/waybill-project/waybill/fetch"
	"github.com/waybill-project/waybill/progress"
	"github.com/waybill-project/waybill/transport"
)

// finish completes the record from what the engine knows.
func (s *Session) finish() {
	reports := s.engine.Sources()
	s.mu.Lock()
	defer s.mu.Unlock()
	sources := map[string]*Source{}
	var order []string
	source := func(uri string) *Source {
		uri = transport.Redact(uri)
		src := sources[uri]
		if src == nil {
			src = &Source{URI: uri, Status: fetch.StatusUnused, Ranges: []Range{}}
			sources[uri] = src
			order = append(order, uri)
		}
		return src
	}
	if s.record.By != nil && s.record.By.Resolver != "digest" && s.record.By.Resolver != "store" {
		src := source(s.record.By.URI)
		src.Origin, src.Reason = "name", "said what the name means"
	}
	for _, r := range reports {
		if r.Origin == "resumed" && r.Received == 0 {
			continue // only known from a partial's journal
		}
		src := source(r.URI)
		src.Origin, src.Status = r.Origin, r.Status
		if r.Status != fetch.StatusUnused || r.Reason != "" {
			src.Reason = r.Reason
		} else if src.Reason == "" {
			src.Reason = "wasn't needed"
		}
	}
	for _, e := range s.entries {
		if e.result == nil {
			continue
		}
		b := Blob{Digest: e.desc.Digest, Size: e.result.Size, MediaType: e.desc.MediaType,
			Cached: e.result.Cached, Resumed: e.result.Resumed, Sources: []Share{}}
		for _, share := range e.result.BySource() {
			b.Sources = append(b.Sources, Share{transport.Redact(share.Source), share.Length})
		}
		for _, sv := range e.result.Served {
			src := source(sv.Source)
			src.Bytes += sv.Length
			if len(src.Ranges) < maxRanges {
				src.Ranges = append(src.Ranges, Range{e.desc.Digest, sv.Offset, sv.Length})
			}
			if src.Status == fetch.StatusUnused {
				src.Status, src.Reason = fetch.StatusUsed, ""
			}
		}
		s.record.Blobs = append(s.record.Blobs, b)
	}
	for _, uri := range order {
		s.record.Sources = append(s.record.Sources, *sources[uri])
	}
	slices.SortStableFunc(s.record.Events, func(a, b Event) int { return a.Time.Compare(b.Time) })
}

// write keeps the record in the store.
func (s *Session) write() error {
	s.mu.Lock()
	b, err := json.Marshal(&s.record)
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.p.Store.PutPull(s.record.Pull, b)
}

// Snapshot says how the pull stands, for [progress].
func (s *Session) Snapshot() progress.Snapshot {
	reports := s.engine.Sources()
	s.mu.Lock()
	defer s.mu.Unlock()
	snap := progress.Snapshot{Time: time.Now(), Name: s.name.Familiar(), Phase: s.phase}
	for _, e := range s.entries {
		b := progress.Blob{Digest: e.desc.Digest.String(), MediaType: e.desc.MediaType, Size: e.desc.Size, State: progress.BlobWaiting}
		if e.result != nil {
			b.State, b.Done, b.Size = progress.BlobDone, e.result.Size, e.result.Size
			if e.result.Cached {
				b.State = progress.BlobCached
			} else {
				snap.Network += e.result.Size - e.result.Resumed
			}
		} else if e.task != nil {
			r := e.task.Progress()
			b.State, b.Done, b.Size = progress.BlobFetching, r.Done, r.Size
			switch {
			case e.err != nil:
				b.State = progress.BlobFailed
			case r.Repairing || r.Size > 0 && r.Done == r.Size:
				b.State = progress.BlobVerifying
			}
			snap.Network += r.Done - r.Resumed
		}
		snap.Size += max(0, b.Size)
		snap.Done += b.Done
		snap.Blobs = append(snap.Blobs, b)
	}
	for _, r := range reports {
		snap.Sources = append(snap.Sources, progress.Source{URI: r.URI, Bytes: r.Received,
			BytesPerSecond: r.BytesPerSecond, Status: sourceStatus(r), Reason: r.Reason})
	}
	slices.SortStableFunc(snap.Sources, func(a, b progress.Source) int { return cmp.Compare(b.Bytes, a.Bytes) })
	return snap
}

// sourceStatus puts a source's state in the words of package progress.
func sourceStatus(r fetch.SourceReport) progress.SourceStatus {
	switch r.Status {
	case fetch.StatusQuarantined:
		return progress.SourceQuarantined
	case fetch.StatusRefused:
		return progress.SourceRefused
	case fetch.StatusDemoted:
		return progress.SourceDemoted
	}
	if r.Received > 0 {
		return progress.SourceActive
	}
	return progress.SourceUnused
}
