// Package bundle makes an OCI runtime bundle of an image: it unpacks the layers
// into a root filesystem while their bytes arrive, checks each against its
// diff_id, and writes the config.json that runc and crun start it by.
//
//	err := bundle.Create(ctx, "/srv/app", bundle.Image{Config: config, Layers: layers}, bundle.Options{})
//
// It knows nothing of networks: a [Layer] is a reader that says at its end
// whether its bytes were the blob's, and may say at any time that bytes it gave
// out were not ([ErrRewound]).
//
// # Unpacking
//
// What an entry of a layer does to the rootfs is what "umoci unpack" makes of
// it, file for file: mode, owner, times, extended attributes, link targets,
// hard links, device numbers, content. The code is our own all the same.
// containerd's pkg/archive is twice as fast as umoci (on a memory-backed disk,
// one core), which this package is again to it (on two), but its outcome
// differs in what users see: it ignores the archive's root entry,
// refuses trusted attributes, lets whiteouts remove what their own layer
// brought, keeps neither the times of directories a layer changes without
// listing them nor access times, and makes missing ones 0755 with today's date.
// Mending that from outside would have cost more than it is long. umoci in turn
// resolves, saves and restores the directory, by its whole path, for every
// entry in it.
//
// Here every operation names one entry of an open directory and follows no
// symbolic link. Directories are opened once, from the rootfs down, links in
// their paths resolved by this package with the rootfs for a root; the kernel
// never resolves a path from an archive. Their times are put back when they
// are closed. See dirs_linux.go. So "..", absolute names, links to elsewhere and
// links put in the way by the same layer or an earlier one lead nowhere but
// into the rootfs.
//
// Inflating, hashing and writing run side by side on buffers that are reused
// (stream_linux.go): memory is a few megabytes however large the layer.
//
// # Deliberate differences from umoci
//
//   - An unlisted directory keeps its times when something is made below it
//     that needed directories of its own; umoci leaves such a one with the
//     time of unpacking.
//   - A file in the way of a directory that an entry needs is replaced, as in
//     umoci since 0.6.
//   - Whiteouts called ".wh.", ".wh.." and ".wh..." are errors, as in containerd.
//   - PAX global headers are skipped, GNU sparse files and contiguous files are
//     files, and holes stay holes.
//   - Attributes of the class user on links and devices, which the kernel
//     refuses, are left out with a warning.
//   - Layers may be compressed by zstd. The first bytes decide, not the media
//     type; what follows the last gzip member is ignored, as gzip(1) does. Both
//     give a warning, and the diff_id confirms what came of it.
//   - An ordinary user's files get their attributes before their final mode, so
//     that the recorded owner of a read-only file is not lost.
//
// # Ordinary users
//
// Without root every file belongs to the caller, and who it would have belonged
// to is kept in the attribute user.rootlesscontainers; devices are empty files;
// config.json has a user namespace in which the caller is root. It is what
// "umoci unpack --rootless" does.
//
// # The runtime configuration
//
// config.json is made by image-spec conversion.md over the defaults of "runc
// spec", with two changes. There is no terminal, so that the bundle starts from
// a script and a service as well as by hand (set process.terminal for a shell).
// And capabilities are those that Docker, podman and containerd grant, for many
// images don't start with less. An image that names nothing to run runs "sh", as
// in umoci. Volumes are tmpfs mounts that start with the image's content.
package bundle
