package bittorrent

import (
	"context"
	"io"

	"github.com/waybill-project/waybill/transport"
	"github.com/waybill-project/waybill/transport/filetree"
)

// OpenFile implements [filetree.Files]: the files of a torrent are under the
// torrent's own directory.
func (t *Transport) OpenFile(ctx context.Context, uri, name string, part filetree.Part) (io.ReadCloser, error) {
	sw, file, err := t.findFile(ctx, uri, name)
	if err != nil {
		return nil, err
	}
	if part.Size >= 0 && part.Size != file.length {
		sw.unuse()
		return nil, transport.Errorf(transport.ErrPermanent, uri, "%q is %d bytes in the torrent; it should be %d", name, file.length, part.Size)
	}
	return sw.openRange(ctx, uri, file, part.Offset, part.Length)
}

// FileSize implements [filetree.Files].
func (t *Transport) FileSize(ctx context.Context, uri, name string) (int64, error) {
	sw, file, err := t.findFile(ctx, uri, name)
	if err != nil {
		return 0, err
	}
	sw.unuse()
	return file.length, nil
}

// findFile returns the torrent of uri, in use, and the file called name.
func (t *Transport) findFile(ctx context.Context, uri, name string) (*swarm, entry, error) {
	return t.find(ctx, uri, true, func(files []entry, _ string) (entry, error) {
		for _, f := range files {
			if f.path == name {
				return f, nil
			}
		}
		return entry{}, transport.Errorf(transport.ErrNotFound, uri, "no file %q in the torrent; it has %s", name, enumerate(files))
	})
}
