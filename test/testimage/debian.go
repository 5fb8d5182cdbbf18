package testimage

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Debian returns the file of a tar (not compressed) of a minimal Debian with
// those packages besides: some 120 MB and 7,000 files without any, with links,
// set-uid programs, devices and foreign owners. It is made by debootstrap from
// the mirror this machine's apt uses, once: about a minute. Later calls, also
// those of other processes, find it in the temporary directory. Only root can
// make it.
func Debian(ctx context.Context, packages ...string) (string, error) {
	// The directory is ours alone: a name in a shared place could be somebody's trap.
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("waybill-test-%d", os.Getuid()))
	if err := os.Mkdir(dir, 0o700); err != nil && !os.IsExist(err) {
		return "", fmt.Errorf("debian image: %w", err)
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return "", fmt.Errorf("debian image: %w", err)
	}
	if owner, ok := info.Sys().(*syscall.Stat_t); !info.IsDir() || !ok || int(owner.Uid) != os.Getuid() || info.Mode().Perm() != 0o700 {
		return "", fmt.Errorf("debian image: %s is not a private directory of ours: remove it", dir)
	}
	lock, err := os.Create(filepath.Join(dir, "lock"))
	if err != nil {
		return "", fmt.Errorf("debian image: %w", err)
	}
	defer lock.Close() // and with it the lock
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("debian image: lock: %w", err)
	}
	file := filepath.Join(dir, strings.Join(append([]string{"debian"}, packages...), "-")+".tar")
	if _, err := os.Stat(file); err == nil {
		return file, nil
	}
	if err := debootstrap(ctx, dir, file, packages); err != nil {
		return "", fmt.Errorf("debian image: %w", err)
	}
	return file, nil
}

// debootstrap makes the root file system below dir and packs it into file.
func debootstrap(ctx context.Context, dir, file string, packages []string) error {
	mirror, codename, err := aptMirror(ctx)
	if err != nil {
		return err
	}
	root, err := os.MkdirTemp(dir, "root-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	if err := os.Chmod(root, 0o755); err != nil { // it is the image's "/"
		return err
	}
	args := []string{"--variant=minbase"}
	if len(packages) > 0 {
		args = append(args, "--include="+strings.Join(packages, ","))
	}
	if err := quiet(ctx, "debootstrap", append(args, codename, root, mirror)...); err != nil {
		return err
	}
	// What apt fetched on the way is no part of an image.
	for _, pattern := range []string{"var/cache/apt/archives/*.deb", "var/lib/apt/lists/*_*"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return err
		}
		for _, f := range files {
			if err := os.Remove(f); err != nil {
				return err
			}
		}
	}
	part := file + ".part"
	if err := quiet(ctx, "tar", "--create", "--file", part, "--directory", root,
		"--numeric-owner", "--sort=name", "--format=pax", "--xattrs", "--xattrs-include=*",
		"--pax-option=delete=atime,delete=ctime", "."); err != nil {
		return err
	}
	return os.Rename(part, file)
}

// quiet runs a command; its output is shown only in the error.
func quiet(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin", "LC_ALL=C")
	out, err := cmd.CombinedOutput()
	if err != nil {
		out = out[max(0, len(out)-2048):]
		return fmt.Errorf("%s (run scripts/install-test-tools, as root): %w\n%s", name, err, bytes.TrimSpace(out))
	}
	return nil
}

// aptMirror asks apt where this machine gets Debian from, and which release.
func aptMirror(ctx context.Context) (mirror, codename string, err error) {
	out, err := exec.CommandContext(ctx, "apt-get", "indextargets",
		"--format", "$(ORIGIN) $(COMPONENT) $(SITE) $(CODENAME)", "Created-By: Packages").Output()
	if err != nil {
		return "", "", fmt.Errorf("ask apt for its mirror: %w", err)
	}
	for line := range strings.Lines(string(out)) {
		f := strings.Fields(line)
		// bookworm, not bookworm-updates or bookworm-security.
		if len(f) == 4 && f[0] == "Debian" && f[1] == "main" && !strings.Contains(f[3], "-") {
			return f[2], f[3], nil
		}
	}
	return "", "", fmt.Errorf("apt has no Debian mirror: run apt-get update, and see apt-get indextargets")
}
