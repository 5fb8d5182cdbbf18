package image_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/waybill-project/waybill/image"
)

func ExamplePlatformFilter_Choose() {
	filter, err := image.ParsePlatform("linux/arm/v7")
	if err != nil {
		panic(err)
	}
	entries := []ocispec.Descriptor{
		{Digest: "one", Platform: &ocispec.Platform{OS: "linux", Architecture: "arm", Variant: "v5"}},
		{Digest: "two", Platform: &ocispec.Platform{OS: "linux", Architecture: "arm", Variant: "v6"}},
		{Digest: "three", Platform: &ocispec.Platform{OS: "linux", Architecture: "arm64"}},
	}
	best, _ := filter.Choose(entries)
	fmt.Println(best.Digest)

	filter, _ = image.ParsePlatform("linux/s390x")
	_, err = filter.Choose(entries)
	fmt.Println(err)
	// Output:
	// two
	// not available for this platform (linux/s390x): there is linux/arm/v5, linux/arm/v6, linux/arm64; choose one with --platform
}

func TestParsePlatform(t *testing.T) {
	tests := []struct{ in, want string }{
		{"linux/amd64", "linux/amd64"},
		{"linux/x86_64", "linux/amd64"},
		{"Linux/AMD64", "linux/amd64"},
		{"linux/amd64/v1", "linux/amd64"},
		{"linux/amd64/v3", "linux/amd64/v3"},
		{"linux/i386", "linux/386"},
		{"linux/aarch64", "linux/arm64"},
		{"linux/arm64/v8", "linux/arm64"},
		{"linux/arm", "linux/arm/v7"},
		{"linux/armhf", "linux/arm/v7"},
		{"linux/armel", "linux/arm/v6"},
		{"linux/arm/6", "linux/arm/v6"},
		{"arm64", runtime.GOOS + "/arm64"},
		{"s390x", runtime.GOOS + "/s390x"},
		{"windows", "windows/" + runtime.GOARCH},
		{"macos/arm64", "darwin/arm64"},
		{"all", "all"},
	}
	for _, tt := range tests {
		f, err := image.ParsePlatform(tt.in)
		if err != nil {
			t.Errorf("%s: %v", tt.in, err)
			continue
		}
		if f.String() != tt.want {
			t.Errorf("%s: got %s, want %s", tt.in, f, tt.want)
		}
	}
	for _, in := range []string{"linux/", "/", "linux/a/b/c", "nonsense", "linux/../x", "*/amd64", "linux/amd64\n", strings.Repeat("x", 1<<20)} {
		_, err := image.ParsePlatform(in)
		if err == nil || !strings.Contains(err.Error(), "write OS/ARCH") || strings.Contains(err.Error(), "\n") || len(err.Error()) > 500 {
			t.Errorf("%.40q: %v", in, err)
		}
	}
	var zero image.PlatformFilter
	if host, err := image.ParsePlatform(""); err != nil || host != zero || !strings.HasPrefix(host.String(), runtime.GOOS+"/"+runtime.GOARCH) {
		t.Errorf("the host's platform: %s, %v", host, err)
	}
}

func TestChoose(t *testing.T) {
	platform := func(s string) *ocispec.Platform {
		part := append(strings.Split(s, "/"), "")
		return &ocispec.Platform{OS: part[0], Architecture: part[1], Variant: part[2]}
	}
	tests := []struct {
		name, want string
		have       []string
		choice     int // -1: none
	}{
		{"exact", "linux/amd64", []string{"linux/arm64", "linux/amd64"}, 1},
		{"first of equals", "linux/amd64", []string{"linux/amd64", "linux/amd64"}, 0},
		{"other spelling in the index", "linux/arm64", []string{"linux/amd64", "linux/aarch64"}, 1},
		{"arm64/v8 is arm64", "linux/arm64/v8", []string{"linux/arm64"}, 0},
		{"arm64 is arm64/v8", "linux/arm64", []string{"linux/arm64/v8"}, 0},
		{"arm v8 takes v7 before v6", "linux/arm/v8", []string{"linux/arm/v5", "linux/arm/v6", "linux/arm/v7"}, 2},
		{"arm v6 doesn't take v7", "linux/arm/v6", []string{"linux/arm/v7", "linux/arm/v5"}, 1},
		{"arm v5 takes nothing higher", "linux/arm/v5", []string{"linux/arm/v7", "linux/arm/v6"}, -1},
		{"amd64 v3 takes v2 before plain", "linux/amd64/v3", []string{"linux/amd64", "linux/amd64/v2", "linux/amd64/v4"}, 1},
		{"amd64 doesn't take v2", "linux/amd64", []string{"linux/amd64/v2"}, -1},
		{"amd64 doesn't take 386", "linux/amd64", []string{"linux/386"}, -1},
		{"arm64 doesn't take arm", "linux/arm64", []string{"linux/arm/v7"}, -1},
		{"other system", "linux/amd64", []string{"windows/amd64"}, -1},
		{"attestations are no images", "linux/amd64", []string{"unknown/unknown"}, -1},
		{"empty index", "linux/amd64", nil, -1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var entries []ocispec.Descriptor
			for i, p := range tt.have {
				entries = append(entries, ocispec.Descriptor{Size: int64(i), Platform: platform(p)})
			}
			f, err := image.ParsePlatform(tt.want)
			if err != nil {
				t.Fatal(err)
			}
			got, err := f.Choose(entries)
			if tt.choice < 0 {
				if !errors.Is(err, image.ErrNoPlatform) {
					t.Errorf("got %d, %v", got.Size, err)
				}
				return
			}
			if err != nil || got.Size != int64(tt.choice) {
				t.Errorf("got %d, %v; want %d", got.Size, err, tt.choice)
			}
		})
	}
}

func TestChooseErrorIsBounded(t *testing.T) {
	var entries []ocispec.Descriptor
	for i := range 10_000 {
		entries = append(entries, ocispec.Descriptor{Platform: &ocispec.Platform{OS: fmt.Sprintf("os%05d", i), Architecture: "\x1b[31m\n" + strings.Repeat("x", 1000)}})
	}
	_, err := image.PlatformFilter{}.Choose(entries)
	if err == nil || len(err.Error()) > 10_000 || !strings.Contains(err.Error(), "more") || strings.ContainsAny(err.Error(), "\x1b\n") {
		t.Errorf("got %d bytes", len(fmt.Sprint(err)))
	}
}

func FuzzParsePlatform(f *testing.F) {
	for _, s := range []string{"linux/arm64/v8", "arm64", "linux/arm/v7", "all", "windows(10.0.17763)/amd64"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		filter, err := image.ParsePlatform(s)
		if err != nil {
			return
		}
		again, err := image.ParsePlatform(filter.String())
		if err != nil || again.String() != filter.String() {
			t.Errorf("%q is %s, which reads as %s, %v", s, filter, again, err)
		}
	})
}
