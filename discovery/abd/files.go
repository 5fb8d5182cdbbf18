package abd

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/discovery"
	"github.com/waybill-project/waybill/discovery/target"
	"github.com/waybill-project/waybill/name"
	"github.com/waybill-project/waybill/resolve"
)

// local is the strategy io.abd.local. An identifier holds no separator, so it
// can't lead out of the directory.
func (c *Client) local(config Config, n Name) ([]Candidate, error) {
	file := filepath.Join(config.StoragePath, n.Identifier)
	t, err := localTarget(os.DirFS(config.StoragePath), n.Identifier, file)
	if err != nil {
		return nil, notThere(err)
	}
	return []Candidate{{
		Entry:   Entry{Name: n.Identifier, Mirrors: []string{file}},
		Targets: []target.Target{t},
		By:      resolve.Testimony{Resolver: "abd", URI: t.URI, Time: time.Now()},
	}}, nil
}

// nfs is the strategy io.abd.nfs.
func (c *Client) nfs(config Config, n Name) ([]Candidate, error) {
	dir, err := config.share()
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, notThere(err)
	}
	defer root.Close()
	index := path.Join("abd-index", n.Identifier)
	content, err := readFile(root, index)
	if err != nil {
		return nil, notThere(err)
	}
	base := &url.URL{Scheme: "nfs", Path: path.Join(filepath.ToSlash(dir), index)}
	entries, err := ParseMetadata(content, func(text string) { c.ignore(base.String(), "%s", text) })
	if err != nil {
		return nil, fmt.Errorf("%s: %w", base, err)
	}
	c.note(discovery.Note{Where: base.String()}, "read: %d entries", len(entries))
	by := resolve.Testimony{Resolver: "abd", URI: base.String(), Time: time.Now()}
	return c.candidates(entries, n, by, func(mirror string) (target.Target, error) {
		return shareMirror(root, dir, base, mirror)
	})
}

// shareMirror reads a mirror of metadata on a share: a file or directory there,
// or a URI as metadata from elsewhere may have it.
func shareMirror(root *os.Root, dir string, base *url.URL, mirror string) (target.Target, error) {
	u, err := base.Parse(mirror)
	if err != nil {
		return target.Target{}, errors.New("malformed URI")
	}
	if u.Scheme != "nfs" {
		return target.Parse(mirror)
	}
	rel, below := strings.CutPrefix(path.Clean(u.Path), strings.TrimSuffix(filepath.ToSlash(dir), "/")+"/")
	if u.Host != "" || !below {
		return target.Target{}, fmt.Errorf("not below %s, the share that is configured", dir)
	}
	return localTarget(root.FS(), rel, filepath.Join(dir, filepath.FromSlash(rel)))
}

// localTarget returns what the entry called rel of a directory is, full being
// its path.
func localTarget(in fs.FS, rel, full string) (target.Target, error) {
	info, err := fs.Stat(in, rel)
	if err != nil {
		return target.Target{}, err
	}
	if info.Mode().IsRegular() {
		return target.Target{Kind: target.Archive, URI: name.Name{Kind: name.OCIArchive, Path: full}.String()}, nil
	}
	if _, err := fs.Stat(in, path.Join(rel, ocispec.ImageLayoutFile)); err != nil {
		return target.Target{}, fmt.Errorf("%s is neither a file nor an OCI layout", full)
	}
	return target.Target{Kind: target.Layout, URI: name.Name{Kind: name.Layout, Path: full}.String()}, nil
}

// readFile reads a small regular file.
func readFile(root *os.Root, file string) ([]byte, error) {
	info, err := root.Stat(file)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // a FIFO would be waited for
		return nil, fmt.Errorf("%s is no regular file", file)
	}
	f, err := root.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, MaxMetadata+1))
}

// notThere says of a file that isn't there that the name isn't known.
func notThere(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %w", resolve.ErrNotFound, err)
	}
	return err
}
