package explain

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/waybill-project/waybill/fetch"
	"github.com/waybill-project/waybill/pull"
	"github.com/waybill-project/waybill/resolve"
)

// pictureWidth is the number of characters a blob's picture has.
const pictureWidth = 64

// Write tells the story of the pull r: its outcome and who said what the name
// means, who had no answer and which documents were read or ignored, a table of
// sources, and a picture for each blob of which source served which part. With
// events, everything that happened follows.
func Write(w io.Writer, r *pull.Record, events bool) error {
	p := &printer{w: w}
	p.outcome(r)
	p.asked(r)
	letters := p.sources(r)
	p.blobs(r, letters)
	if events {
		p.events(r)
	}
	return p.err
}

// printer writes until the first error, and keeps that.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

func (p *printer) outcome(r *pull.Record) {
	p.printf("pull %s of %s\n", r.Pull, clean(r.Name))
	if r.Digest != "" {
		p.printf("  digest   %s\n", r.Digest)
	}
	if r.By != nil {
		p.witnesses(r.By.All())
	}
	took := r.Ended.Sub(r.Started).Round(time.Millisecond)
	if r.Error != "" {
		p.printf("  failed after %v: %s\n", took, clean(r.Error))
	} else {
		p.printf("  done in %v\n", took)
	}
}

// witnesses prints who said what the name means. The store's record is of what
// somebody else once said.
func (p *printer) witnesses(all []resolve.Testimony) {
	for i, by := range all {
		lead := "  resolved by"
		if i > 0 {
			lead = "         and"
		}
		at := by.Time.Local().Format(time.DateTime)
		if by.Resolver == resolve.StoreName {
			p.printf("%s the store: %s said so at %s\n", lead, clean(by.URI), at)
		} else {
			p.printf("%s %s (%s) at %s\n", lead, clean(by.URI), clean(by.Resolver), at)
		}
	}
}

// mostAsked is how many lines there are of what came of asking, at most.
const mostAsked = 50

// asked prints who had no answer for the name, and what came of the documents
// about it and about where its blobs are.
func (p *printer) asked(r *pull.Record) {
	outcome := map[fetch.EventType]string{
		pull.EventDocument: "", pull.EventUnanswered: "no answer: ", pull.EventIgnored: "ignored: ", pull.EventWarning: "warning: ",
	}
	var lines []string
	for _, ev := range r.Events {
		if lead, ok := outcome[ev.Type]; ok && (ev.Source != "" || ev.Type != pull.EventWarning) {
			lines = append(lines, orDash(clean(ev.Source))+"\t"+lead+clean(ev.Detail))
		}
	}
	if len(lines) == 0 {
		return
	}
	p.printf("\n")
	tw := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "   ASKED\tWHAT CAME OF IT")
	for _, line := range lines[:min(len(lines), mostAsked)] {
		fmt.Fprintln(tw, "   "+line)
	}
	if err := tw.Flush(); p.err == nil {
		p.err = err
	}
	if more := len(lines) - mostAsked; more > 0 {
		p.printf("   and %d more, which -v shows\n", more)
	}
}

// sources prints the table and gives each source that served something a
// letter for the pictures.
func (p *printer) sources(r *pull.Record) map[string]byte {
	letters := map[string]byte{}
	list := slices.Clone(r.Sources)
	slices.SortStableFunc(list, func(a, b pull.Source) int { return cmp.Compare(b.Bytes, a.Bytes) })
	if len(list) == 0 {
		p.printf("\nno source was asked\n")
		return letters
	}
	p.printf("\n")
	var total int64
	for _, s := range list {
		total += s.Bytes
	}
	tw := tabwriter.NewWriter(p.w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "\tSOURCE\tNAMED BY\tBYTES\tSHARE\tSTATUS\tWHY")
	for i, s := range list {
		letter := byte('?')
		if i < 26 {
			letter = 'A' + byte(i)
		}
		letters[s.URI] = letter
		share := "-"
		if total > 0 && s.Bytes > 0 {
			share = fmt.Sprintf("%.0f %%", 100*float64(s.Bytes)/float64(total))
		}
		fmt.Fprintf(tw, "%c\t%s\t%s\t%d\t%s\t%s\t%s\n", letter, clean(s.URI), clean(s.Origin), s.Bytes, share, s.Status, orDash(clean(s.Reason)))
	}
	if err := tw.Flush(); p.err == nil {
		p.err = err
	}
	return letters
}

// blobs prints each blob with its picture.
func (p *printer) blobs(r *pull.Record, letters map[string]byte) {
	served := map[digest.Digest][]part{}
	for _, s := range r.Sources {
		for _, x := range s.Ranges {
			served[x.Digest] = append(served[x.Digest], part{x.Offset, x.Length, letters[s.URI]})
		}
	}
	if len(r.Blobs) > 0 {
		p.printf("\n")
	}
	for _, b := range r.Blobs {
		p.printf("%s  %d bytes  %s\n", b.Digest, b.Size, clean(b.MediaType))
		switch {
		case b.Cached:
			p.printf("  in the store already\n")
		case b.Size > 0:
			p.printf("  [%s]\n", Picture(b.Size, b.Resumed, served[b.Digest]))
		}
		if b.Resumed > 0 {
			p.printf("  '%c' were on disk from an interrupted pull: %d bytes\n", resumedMark, b.Resumed)
		}
	}
}

// part is a range and the letter of who served it.
type part struct {
	offset, length int64
	letter         byte
}

const resumedMark = '='

// Picture draws a blob as a line: each character stands for an equal part of
// it and shows who served most of that; '=' is what was on disk before.
func Picture(size, resumed int64, parts []part) string {
	line := make([]byte, pictureWidth)
	for i := range line {
		from, to := size*int64(i)/pictureWidth, size*int64(i+1)/pictureWidth
		to = max(to, from+1)
		most := int64(0)
		line[i] = ' '
		if resumed > 0 {
			line[i] = resumedMark
		}
		weight := map[byte]int64{}
		for _, p := range parts {
			if n := min(to, p.offset+p.length) - max(from, p.offset); n > 0 {
				weight[p.letter] += n
				if weight[p.letter] > most {
					most, line[i] = weight[p.letter], p.letter
				}
			}
		}
	}
	return string(line)
}

func (p *printer) events(r *pull.Record) {
	p.printf("\n")
	for _, ev := range r.Events {
		p.printf("%8.3fs  %-12s %s\n", ev.Time.Sub(r.Started).Seconds(), ev.Type, describe(ev))
	}
	if r.EventsDropped > 0 {
		p.printf("and %d events more\n", r.EventsDropped)
	}
}

func describe(ev pull.Event) string {
	var parts []string
	if ev.Digest != "" {
		parts = append(parts, short(ev.Digest))
	}
	if ev.Source != "" {
		parts = append(parts, clean(ev.Source))
	}
	if ev.Detail != "" {
		parts = append(parts, clean(ev.Detail))
	}
	return strings.Join(parts, "  ")
}

// short is enough of a digest to tell blobs of one image apart.
func short(d digest.Digest) string {
	if e := d.Encoded(); len(e) > 12 {
		return e[:12]
	}
	return d.String()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// clean takes control characters out of what may come from remote places.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, s)
}
