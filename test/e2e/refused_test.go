package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/waybill-project/waybill/test/places"
	"github.com/waybill-project/waybill/test/realserver"
)

// wantNothing fails the test unless the image's layer is nowhere in the store,
// not even in part.
func wantNothing(t *testing.T, u *user, i *image) {
	t.Helper()
	if _, err := os.Stat(u.blob(i.layers[0].Digest)); !os.IsNotExist(err) {
		t.Errorf("the layer is stored: %v", err)
	}
	var usage usageDoc
	u.run("df", "--json").exits(0).decode(&usage)
	if usage.IngestBytes == nil || *usage.IngestBytes != 0 {
		t.Errorf("something of it was kept: %+v", usage)
	}
}

// pullLayer pulls the image whose layer only the source can have.
func pullLayer(t *testing.T, u *user, i *image, uri string) *outcome {
	t.Helper()
	return u.run("pull", i.withoutLayers(t).name(), "--from", uri)
}

// TestRefusedHostKey: a host whose key isn't the one that is known, or isn't
// known, is not asked for anything.
func TestRefusedHostKey(t *testing.T) {
	t.Parallel()
	i := randomImage(t, 1e6)
	u := newUser(t)
	p := startPlace(t, places.SSH, u, i)
	known := filepath.Join(u.home, ".ssh", "known_hosts")
	right, err := os.ReadFile(known)
	if err != nil {
		t.Fatal(err)
	}
	another, err := os.ReadFile(filepath.Join(u.home, ".ssh", "id_ed25519.pub"))
	if err != nil {
		t.Fatal(err)
	}
	u.file(".ssh/known_hosts", strings.Fields(string(right))[0]+" "+string(another))
	pullLayer(t, u, i, p.uri()).exits(5).says(p.relay.Addr, "HAS CHANGED", "known_hosts")
	wantNothing(t, u, i)

	u.file(".ssh/known_hosts", "")
	pullLayer(t, u, i, p.uri()).exits(5).says(p.relay.Addr, "known_hosts", "trust it with: ssh ")
	wantNothing(t, u, i)

	u.file(".ssh/known_hosts", string(right))
	pullLayer(t, u, i, p.uri()).exits(0)
	wantStored(t, u, i, i.digests(t)...)
}

// TestRefusedPassword: nobody gets in with a wrong one, and it isn't shown.
func TestRefusedPassword(t *testing.T) {
	t.Parallel()
	i := randomImage(t, 1e6)
	u := newUser(t)
	p := startPlace(t, places.SSH, u, i)
	wrong := strings.Replace(p.uri(), "@", ":not-the-password@", 1)
	pullLayer(t, u, i, wrong).exits(1).says(p.relay.Addr).never("not-the-password")
	wantNothing(t, u, i)

	ftp, err := realserver.StartVsftpd(t.Context(), t.TempDir(), i.Dir, realserver.VsftpdOptions{NoAnonymous: true, Users: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ftp.Stop)
	pullLayer(t, u, i, "ftp://nobody:not-the-password@"+ftp.Host+"/").exits(1).says(ftp.Host, "530").never("not-the-password")
	wantNothing(t, u, i)
}

// TestRefusedS3: keys that are wrong, and credentials that have expired, which
// only a server that keeps sessions can say.
func TestRefusedS3(t *testing.T) {
	t.Parallel()
	i := randomImage(t, 1e6)
	u := newUser(t)
	p := startPlace(t, places.S3, u, i)
	u.setenv("AWS_SECRET_ACCESS_KEY", "not-the-secret")
	pullLayer(t, u, i, p.uri()).exits(1).says("s3://images/app", "SignatureDoesNotMatch").never("not-the-secret")
	wantNothing(t, u, i)

	expired := newUser(t)
	expired.setenv("AWS_ACCESS_KEY_ID", "ASIAEXPIRED")
	expired.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-the-session")
	expired.setenv("AWS_SESSION_TOKEN", "token-of-the-session")
	server := startExpired(t)
	pullLayer(t, expired, i, "s3://images/app?region=us-east-1&endpoint="+server).exits(1).
		says("s3://images/app", "expired").never("secret-of-the-session", "token-of-the-session")
	wantNothing(t, expired, i)
}

// TestRefusedContent: places that have something else under the right name.
func TestRefusedContent(t *testing.T) {
	t.Parallel()
	i := randomImage(t, 1e6)
	other := randomImage(t, 1e6+4096) // of the same name in a moment, and another size
	same := *i.Layout                 // of the same size, with other bytes
	same.Dir = t.TempDir()
	copyTree(t, i.Dir, same.Dir)
	lie := &image{Layout: &same, desc: i.desc, layers: i.layers}
	spoil(t, lie.Path(i.layers[0].Digest))
	copyFile(t, other.Path(other.layers[0].Digest), other.Path(i.layers[0].Digest))

	for _, tt := range []struct {
		name  string
		start places.Starter
		holds *image
		code  int
		says  string
	}{
		{"a CID whose content doesn't match the digest", places.IPFS, lie, 4, "wrong"},
		{"a CID of another size", places.IPFS, other, 1, "bytes"},
		{"a torrent whose content doesn't match the digest", places.BitTorrent, lie, 4, "wrong"},
		{"a torrent with another file of the same name", places.BitTorrent, other, 1, "bytes"},
		{"a bucket whose object doesn't match the digest", places.S3, lie, 4, "wrong"},
		{"a host whose file doesn't match the digest", places.SSH, lie, 4, "wrong"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			p := startPlace(t, tt.start, u, tt.holds)
			pullLayer(t, u, i, p.uri()).exits(tt.code).says(p.uri(), tt.says)
			wantNothing(t, u, i)
		})
	}
}

// spoil changes a byte in the middle of a file.
func spoil(t *testing.T, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestPullByPlaceName: a layout somewhere else is a name, tag and all.
func TestPullByPlaceName(t *testing.T) {
	t.Parallel()
	i := smallImage(t)
	for _, kind := range places.All[2:5] { // registries are other names, and the rest have none
		t.Run(kind.Name, func(t *testing.T) {
			u := newUser(t)
			p := startPlace(t, kind.Start, u, i)
			for _, name := range []string{p.uri(), p.uri() + "#app", p.uri() + "@" + i.desc.Digest.String()} {
				o := u.run("pull", name).exits(0)
				if strings.TrimSpace(o.stdout) != i.desc.Digest.String() {
					t.Errorf("%s\nwant the digest", o)
				}
			}
			wantStored(t, u, i, i.digests(t)...)
			u.run("pull", p.uri()+"#nosuch").exits(3).says("app")
			var refs []listedImage
			u.run("ls", "--json").exits(0).decode(&refs)
			if len(refs) != 3 {
				t.Errorf("ls lists %+v", refs)
			}
			dir := filepath.Join(t.TempDir(), "bundle")
			u.run("bundle", p.uri()+"#app", dir).exits(0)
			if _, err := os.Stat(filepath.Join(dir, "config.json")); err != nil {
				t.Error(err)
			}
		})
	}
}

// startExpired is a server that answers as S3 does to credentials that have
// expired: a fault no real server at hand can be made to show.
func startExpired(t *testing.T) string {
	t.Helper()
	return startHTTP(t, 400, `<?xml version="1.0"?><Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message></Error>`)
}
