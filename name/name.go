package name

import (
	"fmt"
	"net/url"
	"path/filepath"
	"strings"

	"github.com/distribution/reference"
	"github.com/opencontainers/go-digest"
)

// Kind is the kind of thing a Name names.
type Kind int

// The kinds of names.
const (
	// Registry is an image in a registry (OCI distribution-spec).
	Registry Kind = iota + 1
	// Layout is an image in an OCI layout: a directory (image-spec,
	// image-layout.md).
	Layout
	// OCIArchive is an image in a tar of an OCI layout.
	OCIArchive
	// DockerArchive is an image in a tar as "docker save" writes it.
	DockerArchive
	// Digest is content by its digest alone, wherever it may be.
	Digest
	// Place is an image in an OCI layout at a place that a URI names: a
	// directory of an SSH host, a bucket, an IPFS directory, a torrent, …
	Place
	// Host is an image by the name of the host that publishes where it is
	// (oci-discovery): HOST/PATH#FRAGMENT.
	Host
	// Parcel is an image whose host publishes it as parcel has it.
	Parcel
	// ABD is an image by an identifier of abd: com.example.app.
	ABD
	// AppC is an image by a name of appc's meta discovery: example.com/app.
	AppC
)

// published are the prefixes of names whose host says where the image is:
// nothing else tells them from a registry's.
var published = map[Kind]string{Parcel: "parcel", ABD: "abd", AppC: "appc"}

// schemes are the prefixes of local names.
var schemes = map[Kind]string{Layout: "oci", OCIArchive: "oci-archive", DockerArchive: "docker-archive"}

// String returns the kind's scheme, as it is written before the colon of a
// name.
func (k Kind) String() string {
	switch k {
	case Registry:
		return "docker"
	case Digest:
		return "digest"
	case Place:
		return "place"
	case Host:
		return "host"
	}
	if s, ok := schemes[k]; ok {
		return s
	}
	if s, ok := published[k]; ok {
		return s
	}
	return fmt.Sprintf("Kind(%d)", int(k))
}

// Name is a parsed name. Which fields are set depends on Kind. Names are
// comparable; the zero Name names nothing.
type Name struct {
	Kind Kind

	// Host and Repository are set for a Registry: "docker.io" and
	// "library/alpine" for "alpine". Host includes the port where one was
	// written, and is in the case it was written in.
	Host       string
	Repository string
	// Tag is set for a Registry unless only a digest was written.
	Tag string

	// Path is the directory or file of a local name, as written: it may be
	// relative. For a Place it is the URI, without fragment; for a Host and the
	// other published names all before the fragment, unread.
	Path string
	// Ref selects the image within Path; empty means the only one there. For a
	// Place it is the URI's fragment, decoded; for a Host as it is written.
	Ref string

	// Digest is what was written behind the "@", or the whole of a Digest.
	// Where it is set, it decides: the image is the one with this digest.
	Digest digest.Digest
}

// Reference returns what selects the image in its repository or file: the
// digest where there is one, else the tag or ref, which may be empty for a local
// name.
func (n Name) Reference() string {
	switch {
	case n.Digest != "":
		return n.Digest.String()
	case n.Kind == Registry:
		return n.Tag
	}
	return n.Ref
}

// String returns the canonical form, which [Parse] reads back to the same
// Name: for a registry the full reference with host and tag, without
// "docker://" unless the host would be taken for a scheme.
func (n Name) String() string {
	var b strings.Builder
	switch n.Kind {
	case 0:
		return ""
	case Digest:
		return n.Digest.String()
	case Registry:
		if reservedHost(n.Host) {
			b.WriteString(dockerPrefix)
		}
		b.WriteString(n.Host + "/" + n.Repository)
		if n.Tag != "" {
			b.WriteString(":" + n.Tag)
		}
	case Host:
		b.WriteString(n.Path + "#" + n.Ref)
	case Parcel, ABD, AppC:
		b.WriteString(published[n.Kind] + ":" + n.Path)
	case Place:
		b.WriteString(n.Path)
		if n.Ref != "" {
			// An "@" would begin a digest.
			b.WriteString("#" + strings.ReplaceAll((&url.URL{Fragment: n.Ref}).EscapedFragment(), "@", "%40"))
		}
	default:
		b.WriteString(n.Kind.String() + ":" + escapePath(n.Path))
		if n.Ref != "" {
			b.WriteString(":" + n.Ref)
		}
	}
	if n.Digest != "" {
		b.WriteString("@" + n.Digest.String())
	}
	return b.String()
}

// Familiar returns the short form to show people: "alpine:3.20" for
// "docker.io/library/alpine:3.20", and [Name.String] for names that have no
// shorter one. It may be ambiguous; don't store it.
func (n Name) Familiar() string {
	if n.Kind != Registry {
		return n.String()
	}
	named, err := reference.WithName(n.Host + "/" + n.Repository)
	if err != nil {
		return n.String()
	}
	s := reference.FamiliarName(named)
	if n.Tag != "" {
		s += ":" + n.Tag
	}
	if n.Digest != "" {
		s += "@" + n.Digest.String()
	}
	return s
}

// Absolute returns n with a relative Path made absolute, so that its String
// means the same in every working directory.
func (n Name) Absolute() (Name, error) {
	scheme, path := "", n.Path
	if file, ok := strings.CutPrefix(n.Path, torrentFile); ok && n.Kind == Place {
		scheme, path = torrentFile, strings.TrimPrefix(file, "//")
	} else if !n.IsLocal() {
		return n, nil
	}
	if !filepath.IsAbs(path) {
		abs, err := filepath.Abs(path)
		if err != nil {
			return Name{}, fmt.Errorf("name %q: %w", n, err)
		}
		path = abs
	}
	n.Path = scheme + path
	return n, nil
}

// torrentFile is the prefix of the Path of a Place that a file on this machine
// leads to.
const torrentFile = "torrent:"

// IsLocal reports whether n is in a local directory or file.
func (n Name) IsLocal() bool {
	_, ok := schemes[n.Kind]
	return ok
}

// IsPublished reports whether it is somebody else, not n itself, that says where
// the image is: the host of a Host or Parcel, the strategies of an ABD, the
// pages of an AppC.
func (n Name) IsPublished() bool {
	_, ok := published[n.Kind]
	return ok || n.Kind == Host
}

// escapePath writes a path such that it holds no colon: see the package
// comment.
func escapePath(p string) string {
	p = strings.NewReplacer("%3A", "%253A", "%25", "%2525").Replace(p)
	return strings.ReplaceAll(p, ":", "%3A")
}

func unescapePath(p string) string {
	return strings.NewReplacer("%3A", ":", "%25", "%").Replace(p)
}
