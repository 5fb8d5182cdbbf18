package places

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"

	"github.com/waybill-project/waybill/test/realserver"
)

// Starter starts a server that holds the layout in the directory layout, whose
// image has the ref "app". What it needs besides is kept below dir.
type Starter func(ctx context.Context, dir, layout string) (*Place, error)

// All are the kinds of places there are, by their names.
var All = []struct {
	Name  string
	Start Starter
}{
	{"registry", Registry}, {"nginx", Nginx}, {"SSH", SSH}, {"S3", S3}, {"IPFS", IPFS}, {"BitTorrent", BitTorrent},
}

// curl is the command that copies a URL.
func curl(url, to string) []string {
	return []string{"curl", "--fail", "--silent", "--show-error", "--output", to, url}
}

// Registry is docker-registry, in which the layout's image is app:1.
func Registry(ctx context.Context, dir, layout string) (*Place, error) {
	r, err := realserver.StartRegistry(ctx, dir, realserver.RegistryOptions{})
	if err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, "skopeo", "copy", "--quiet", "--all", "--preserve-digests", "--insecure-policy",
		"--dest-tls-verify=false", "oci:"+layout+":app", "docker://"+r.Host+"/app:1").CombinedOutput()
	if err != nil {
		r.Stop()
		return nil, fmt.Errorf("skopeo copy: %w\n%s", err, out)
	}
	return &Place{
		Name: "registry", Addr: r.Host, Stop: func() { r.Stop() }, Start: r.Start,
		uri: func(addr string) string { return "docker://" + addr + "/app" },
		native: func(_ *User, addr, file, to string) []string {
			return curl("http://"+addr+"/v2/app/blobs/sha256:"+filepath.Base(file), to)
		},
	}, nil
}

// Nginx serves the layout's blobs as files.
func Nginx(ctx context.Context, dir, layout string) (*Place, error) {
	n, err := realserver.StartNginx(ctx, dir, layout, realserver.NginxOptions{})
	if err != nil {
		return nil, err
	}
	return &Place{
		Name: "nginx", Addr: n.Host, Stop: func() { n.Stop() }, Start: n.Start,
		uri:    func(addr string) string { return "http://" + addr + "/blobs/" },
		native: func(_ *User, addr, file, to string) []string { return curl("http://"+addr+"/"+file, to) },
	}, nil
}

// SSH is an OpenSSH server; the layout lies where it lies.
func SSH(ctx context.Context, dir, layout string) (*Place, error) {
	me, err := user.Current()
	if err != nil {
		return nil, err
	}
	key := filepath.Join(dir, "id_ed25519")
	if _, err := realserver.SSHKeygen(ctx, "-q", "-t", "ed25519", "-N", "", "-f", key); err != nil {
		return nil, err
	}
	private, err := os.ReadFile(key)
	if err != nil {
		return nil, err
	}
	public, err := os.ReadFile(key + ".pub")
	if err != nil {
		return nil, err
	}
	s, err := realserver.StartSSHD(ctx, dir, realserver.SSHDOptions{AuthorizedKeys: []string{strings.TrimSpace(string(public))}})
	if err != nil {
		return nil, err
	}
	return &Place{
		Name: "SSH", Addr: s.Host, Stop: s.Stop, Start: s.Start,
		uri: func(addr string) string { return "sftp://" + me.Username + "@" + addr + layout },
		enable: func(u *User, addr string) error {
			for name, content := range map[string][]byte{".ssh/id_ed25519": private, ".ssh/id_ed25519.pub": public} {
				if err := u.write(name, string(content)); err != nil {
					return err
				}
			}
			return u.write(".ssh/known_hosts", withPort(s.KnownHosts(), s.Host, addr))
		},
		native: func(u *User, addr, file, to string) []string {
			host, port, _ := strings.Cut(addr, ":")
			ssh := filepath.Join(u.Home, ".ssh") // ssh itself looks where /etc/passwd says
			return []string{"scp", "-q", "-F", "none", "-i", filepath.Join(ssh, "id_ed25519"), "-o", "UserKnownHostsFile=" + filepath.Join(ssh, "known_hosts"),
				"-P", port, me.Username + "@" + host + ":" + filepath.Join(layout, file), to}
		},
	}, nil
}

// S3 is versitygw, with the layout below app in the bucket images.
func S3(ctx context.Context, dir, layout string) (*Place, error) {
	s, err := realserver.StartS3(ctx, dir, realserver.S3Options{})
	if err != nil {
		return nil, err
	}
	if err := copyLayout(filepath.Join(s.Root, "images", "app"), layout); err != nil {
		s.Stop()
		return nil, err
	}
	return &Place{
		Name: "S3", Addr: s.Host, Stop: func() { s.Stop() }, Start: s.Start,
		uri: func(addr string) string { return "s3://images/app?region=" + s.Region + "&endpoint=http://" + addr },
		enable: func(u *User, _ string) error {
			u.Env = append(u.Env, "AWS_ACCESS_KEY_ID="+s.AccessKey, "AWS_SECRET_ACCESS_KEY="+s.SecretKey)
			return nil
		},
		native: func(_ *User, addr, file, to string) []string {
			return []string{"/usr/bin/aws", "--region", s.Region, "--endpoint-url", "http://" + addr, "s3", "cp", "--only-show-errors", "s3://images/app/" + file, to}
		},
	}, nil
}

// IPFS is kubo, whose gateway the user has configured.
func IPFS(ctx context.Context, dir, layout string) (*Place, error) {
	k, err := realserver.StartKubo(ctx, dir, realserver.KuboOptions{})
	if err != nil {
		return nil, err
	}
	cid, err := k.Add(ctx, layout)
	if err != nil {
		k.Stop()
		return nil, err
	}
	addr, err := hostOf(k.Gateway)
	if err != nil {
		return nil, err
	}
	return &Place{
		Name: "IPFS", Addr: addr, Stop: func() { k.Stop() }, Start: k.Start,
		uri: func(string) string { return "ipfs://" + cid },
		enable: func(u *User, addr string) error {
			u.Config += "[ipfs]\ngateways = [\"http://" + addr + "\"]\n"
			return nil
		},
		native: func(_ *User, _, file, to string) []string {
			return []string{"ipfs", "--repo-dir", k.Repo, "get", "--progress=false", "--output", to, "/ipfs/" + cid + "/" + file}
		},
	}, nil
}

// FTP is vsftpd, with the layout for everybody. Content comes over connections
// of its own, so that no relay can be put in front.
func FTP(ctx context.Context, dir, layout string) (*Place, error) {
	v, err := realserver.StartVsftpd(ctx, dir, layout, realserver.VsftpdOptions{})
	if err != nil {
		return nil, err
	}
	return &Place{
		Name: "FTP", Addr: v.Host, Stop: func() { v.Stop() },
		Start: func(ctx context.Context) (err error) {
			v, err = realserver.StartVsftpd(ctx, dir, layout, realserver.VsftpdOptions{Addr: v.Host})
			return err
		},
		uri:    func(addr string) string { return "ftp://" + addr + "/" },
		native: func(_ *User, addr, file, to string) []string { return curl("ftp://"+addr+"/"+file, to) },
	}, nil
}
