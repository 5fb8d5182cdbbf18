package image

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// ErrNoPlatform is wrapped where an image has nothing for the platform asked
// for.
var ErrNoPlatform = errors.New("not available for this platform")

// annotationReferenceType marks the attestations BuildKit keeps in an index
// beside the images.
const annotationReferenceType = "vnd.docker.reference.type"

// maxListed bounds how many platforms an error lists.
const maxListed = 40

// PlatformFilter says which of an image's platforms are wanted: one, or all of
// them. The zero PlatformFilter wants that of the host.
type PlatformFilter struct {
	all  bool
	want *ocispec.Platform // nil: the host's, and a lone manifest whatever it is for
}

// AllPlatforms wants everything in an index, attestations included.
func AllPlatforms() PlatformFilter {
	return PlatformFilter{all: true}
}

// ParsePlatform reads "all", "OS/ARCH[/VARIANT]", or one of OS and ARCH, the
// other being the host's. Architectures are normalised (x86_64 is amd64,
// aarch64 is arm64, armhf is arm/v7, …). The empty string is the host's own
// platform, as the zero PlatformFilter.
//
// A platform that was asked for is held against the config of an image that
// has no index; without asking, such an image is taken as it is.
func ParsePlatform(s string) (PlatformFilter, error) {
	switch s {
	case "":
		return PlatformFilter{}, nil
	case "all":
		return AllPlatforms(), nil
	}
	bad := func(why string) error {
		return fmt.Errorf("platform %q: %s; write OS/ARCH[/VARIANT] such as linux/arm64, or all", clip(s), why)
	}
	if len(s) > maxMediaType {
		return PlatformFilter{}, bad("too long")
	}
	for part := range strings.SplitSeq(s, "/") {
		if part == "" || part == "." || part == ".." {
			return PlatformFilter{}, bad("not a platform")
		}
	}
	p, err := platforms.Parse(s)
	if err != nil {
		why := err.Error()
		if strings.Contains(why, "unknown operating system or architecture") {
			why = "unknown operating system or architecture"
		} else {
			why = "not a platform"
		}
		return PlatformFilter{}, bad(why)
	}
	p = platforms.Normalize(p)
	if whole := platforms.Format(p); clip(whole) != whole {
		return PlatformFilter{}, bad("too long") // and String couldn't show it
	}
	return PlatformFilter{want: &p}, nil
}

// All reports whether every platform is wanted.
func (f PlatformFilter) All() bool {
	return f.all
}

// String returns the form [ParsePlatform] reads; for the host's platform, the
// platform itself.
func (f PlatformFilter) String() string {
	if f.all {
		return "all"
	}
	return FormatPlatform(f.platform())
}

// FormatPlatform returns "OS/ARCH[/VARIANT]" in its normal form, fit to be
// shown: cut where it is long, and without control characters.
func FormatPlatform(p ocispec.Platform) string {
	return clip(platforms.Format(platforms.Normalize(p)))
}

func (f PlatformFilter) platform() ocispec.Platform {
	if f.want != nil {
		return *f.want
	}
	return platforms.Normalize(platforms.DefaultSpec())
}

// Match reports whether something built for p is wanted.
func (f PlatformFilter) Match(p ocispec.Platform) bool {
	if f.all {
		return true
	}
	want := f.platform()
	// containerd's matcher also takes 386 for amd64 and 32-bit arm for arm64.
	// Those run on some machines only; whoever wants them names them.
	return sameArchitecture(p, want) && platforms.Only(want).Match(p)
}

// Better reports whether a suits the wanted platform better than b does: the
// variant itself before the ones it also runs, the higher before the lower
// (arm: v8, v7, v6, v5; amd64: v4 to v1).
func (f PlatformFilter) Better(a, b ocispec.Platform) bool {
	return !f.all && platforms.Only(f.platform()).Less(a, b)
}

func sameArchitecture(a, b ocispec.Platform) bool {
	return platforms.Normalize(a).Architecture == platforms.Normalize(b).Architecture
}

// IsAttestation reports whether an index's entry is not an image but says
// something about one: BuildKit's attestation manifests, whose platform is
// unknown/unknown.
func IsAttestation(desc ocispec.Descriptor) bool {
	if desc.Annotations[annotationReferenceType] != "" {
		return true
	}
	return desc.Platform != nil && desc.Platform.OS == "unknown" && desc.Platform.Architecture == "unknown"
}

// Choose returns the entry of an index that suits best: of those that state
// a platform the best match, the first of equals. Entries that state none
// aren't considered, nor are attestations. Where nothing fits, the error is
// [ErrNoPlatform] and lists what there is.
func (f PlatformFilter) Choose(entries []ocispec.Descriptor) (ocispec.Descriptor, error) {
	var best found
	for i, e := range entries {
		if e.Platform != nil && !IsAttestation(e) {
			best.better(f, i, *e.Platform)
		}
	}
	if best.platform == nil {
		return ocispec.Descriptor{}, f.none(entries)
	}
	return entries[best.entry], nil
}

// none is the error for an index that has nothing for the platform.
func (f PlatformFilter) none(entries []ocispec.Descriptor) error {
	var have []string
	for _, e := range entries {
		if e.Platform != nil && !IsAttestation(e) {
			have = append(have, FormatPlatform(*e.Platform))
		}
	}
	slices.Sort(have)
	have = slices.Compact(have)
	if len(have) == 0 {
		return fmt.Errorf("%w (%s): the index names no platform at all; use --platform all", ErrNoPlatform, f)
	}
	list := strings.Join(have[:min(len(have), maxListed)], ", ")
	if len(have) > maxListed {
		list += fmt.Sprintf(" and %d more", len(have)-maxListed)
	}
	return fmt.Errorf("%w (%s): there is %s; choose one with --platform", ErrNoPlatform, f, list)
}

// clip makes a string from outside fit to stand in an error.
func clip(s string) string {
	const most = 128
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '?'
	}, s)
}
