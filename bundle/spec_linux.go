package bundle

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// runtimeSpecVersion is what config.json claims to follow. It uses nothing
// newer, and older runtimes refuse newer ones.
const runtimeSpecVersion = "1.0.2"

const defaultPath = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// runtimeSpec returns config.json for an image unpacked at rootfs: defaults,
// and over them what image-spec conversion.md says.
func runtimeSpec(conf imageConfig, rootfs string, opts Options) ([]byte, error) {
	s := defaultSpec()
	setProcess(s.Process, conf)
	who, err := lookUpUser(conf.Config.User, rootfs)
	if err != nil {
		return nil, err
	}
	s.Process.User = who.User
	if !hasVariable(s.Process.Env, "HOME") && who.home != "" {
		s.Process.Env = append(s.Process.Env, "HOME="+who.home)
	}
	s.Annotations = annotations(conf, opts.Warn)
	volumes, err := volumeMounts(conf, rootfs, s.Mounts, opts.Warn)
	if err != nil {
		return nil, err
	}
	s.Mounts = append(s.Mounts, volumes...)
	if opts.Rootless {
		makeRootless(s, opts.Warn)
	}
	b, err := json.MarshalIndent(s, "", "\t")
	if err != nil {
		return nil, err
	}
	return append(b, '\n'), nil
}

// setProcess takes over the verbatim fields.
func setProcess(p *specs.Process, conf imageConfig) {
	if args := slices.Concat(conf.Config.Entrypoint, conf.Config.Cmd); len(args) > 0 {
		p.Args = args
	}
	p.Env = slices.Clone(conf.Config.Env)
	if !hasVariable(p.Env, "PATH") {
		p.Env = append(p.Env, defaultPath)
	}
	// Runtimes insist on an absolute path, images don't always have one.
	p.Cwd = path.Join("/", conf.Config.WorkingDir)
}

func hasVariable(env []string, name string) bool {
	return slices.ContainsFunc(env, func(v string) bool { return strings.HasPrefix(v, name+"=") })
}

// annotations returns the image's labels, and beside them the fields of its
// configuration that config.json has no other place for. Labels take
// precedence.
func annotations(conf imageConfig, warn func(string)) map[string]string {
	created := ""
	if conf.Created != nil {
		created = conf.Created.Format(time.RFC3339Nano)
	}
	a := map[string]string{
		"os":           conf.OS,
		"architecture": conf.Architecture,
		"variant":      conf.Variant,
		"os.version":   conf.OSVersion,
		"os.features":  strings.Join(conf.OSFeatures, ","),
		"author":       conf.Author,
		"created":      created,
		"stopSignal":   conf.Config.StopSignal,
		"exposedPorts": strings.Join(slices.Sorted(maps.Keys(conf.Config.ExposedPorts)), ","),
	}
	out := map[string]string{}
	for key, value := range a {
		if value != "" {
			out["org.opencontainers.image."+key] = value
		}
	}
	for key, value := range conf.Config.Labels {
		if key == "" { // runtime-spec config.md: keys MUST NOT be empty
			warn("image has a label without a name; left out")
			continue
		}
		out[key] = value
	}
	return out
}

// volumeMounts returns a mount for each of the image's volumes, so that what is
// written there does not end up in the rootfs. As in umoci it is a tmpfs; here
// it starts with what the image has in that place, and belongs to whom it does.
func volumeMounts(conf imageConfig, rootfs string, taken []specs.Mount, warn func(string)) ([]specs.Mount, error) {
	dirs, err := newOpenDirs(rootfs)
	if err != nil {
		return nil, err
	}
	defer dirs.closeAll(true)
	var mounts []specs.Mount
	for _, volume := range slices.Sorted(maps.Keys(conf.Config.Volumes)) {
		dest := path.Join("/", volume)
		same := func(m specs.Mount) bool { return m.Destination == dest }
		if dest == "/" || strings.IndexByte(dest, 0) >= 0 || slices.ContainsFunc(taken, same) || slices.ContainsFunc(mounts, same) {
			warn(fmt.Sprintf("volume %q can't be mounted; left out", shorten(volume)))
			continue
		}
		mode, uid, gid := uint32(0o755), uint32(0), uint32(0)
		if d, missing, err := dirs.resolve(dest); err == nil && len(missing) == 0 {
			mode, uid, gid = d.stat.Mode&0o7777, d.stat.Uid, d.stat.Gid
		}
		mounts = append(mounts, specs.Mount{
			Destination: dest,
			Type:        "tmpfs",
			Source:      "tmpfs",
			Options: []string{"rw", "nosuid", "nodev", "noexec", "relatime", "tmpcopyup",
				fmt.Sprintf("mode=%o", mode), fmt.Sprintf("uid=%d", uid), fmt.Sprintf("gid=%d", gid)},
		})
	}
	return mounts, nil
}

// makeRootless makes s fit for an ordinary user to run, in the way of "runc
// spec --rootless": a user namespace in which the user is root and nobody else
// exists, the host's network, and nothing that takes rights over the host.
func makeRootless(s *specs.Spec, warn func(string)) {
	if u := s.Process.User; u.UID != 0 || u.GID != 0 {
		warn(fmt.Sprintf("image runs as %d:%d, which has no counterpart for an ordinary user; config.json says 0:0, which there is the user who runs it", u.UID, u.GID))
	}
	s.Process.User = specs.User{}

	drop := func(ns specs.LinuxNamespace) bool { return ns.Type == specs.NetworkNamespace }
	s.Linux.Namespaces = append(slices.DeleteFunc(s.Linux.Namespaces, drop), specs.LinuxNamespace{Type: specs.UserNamespace})
	s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(os.Geteuid()), Size: 1}}
	s.Linux.GIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: uint32(os.Getegid()), Size: 1}}
	s.Linux.Resources = nil

	var mounts []specs.Mount
	for _, m := range s.Mounts {
		switch {
		case m.Destination == "/sys/fs/cgroup":
			continue
		case m.Destination == "/sys":
			// A sysfs belongs to its network namespace, which here is the host's.
			m.Type, m.Source = "none", "/sys"
			m.Options = append([]string{"rbind"}, m.Options...)
		default:
			m.Options = slices.DeleteFunc(m.Options, func(o string) bool {
				return strings.HasPrefix(o, "uid=") || strings.HasPrefix(o, "gid=")
			})
		}
		mounts = append(mounts, m)
	}
	s.Mounts = mounts
}

// defaultCapabilities are what Docker, podman and containerd give a container,
// and images are built against.
var defaultCapabilities = []string{
	"CAP_AUDIT_WRITE", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_MKNOD",
	"CAP_NET_BIND_SERVICE", "CAP_NET_RAW", "CAP_SETFCAP", "CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_CHROOT",
}

// defaultSpec returns a config.json without an image: what "runc spec" writes,
// with the capabilities of the container engines and without a terminal, which
// a script doesn't have.
func defaultSpec() *specs.Spec {
	mount := func(dest, kind, source string, options ...string) specs.Mount {
		return specs.Mount{Destination: dest, Type: kind, Source: source, Options: options}
	}
	return &specs.Spec{
		Version:  runtimeSpecVersion,
		Root:     &specs.Root{Path: RootfsName},
		Hostname: "waybill",
		Process: &specs.Process{
			Args: []string{"sh"},
			Cwd:  "/",
			Capabilities: &specs.LinuxCapabilities{
				Bounding:  defaultCapabilities,
				Effective: defaultCapabilities,
				Permitted: defaultCapabilities,
			},
			NoNewPrivileges: true,
			Rlimits:         []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Hard: 1024, Soft: 1024}},
		},
		Mounts: []specs.Mount{
			mount("/proc", "proc", "proc"),
			mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
			mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
			mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
			mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
			mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro"),
			mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime", "ro"),
		},
		Linux: &specs.Linux{
			Namespaces: []specs.LinuxNamespace{
				{Type: specs.PIDNamespace}, {Type: specs.NetworkNamespace}, {Type: specs.IPCNamespace},
				{Type: specs.UTSNamespace}, {Type: specs.MountNamespace}, {Type: specs.CgroupNamespace},
			},
			Resources: &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}},
			MaskedPaths: []string{
				"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
				"/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
			},
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
}
