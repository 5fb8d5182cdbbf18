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
	"github.com/waybill-project/waybill/pull"
)

// pictureWidth is the number of characters a blob's picture has.
const pictureWidth = 64

// Write tells the story of the pull r: its outcome, a table of sources, a
// picture for each blob of which source served which part, and what happened
// to sources that failed. With events, everything that happened follows.
func Write(w io.Writer, r *pull.Record, events bool) error {
	p := &printer{w: w}
	p.outcome(r)
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
		p.printf("  resolved by %s (%s) at %s\n", clean(r.By.URI), r.By.Resolver, r.By.Time.Local().Format(time.DateTime))
	}
	took := r.Ended.Sub(r.Started).Round(time.Millisecond)
	if r.Error != "" {
		p.printf("  failed after %v: %s\n", took, clean(r.Error))
	} else {
		p.printf("  done in %v\n", took)
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
