// Package overlay provides overlay mounts: several directories shown as one.
//
// An overlay file system stacks read-only directories (the lower ones, the
// image's layers) under one writable directory (the upper one). Reading a file
// finds the topmost layer that has it; the first write copies it into the upper
// directory; deleting leaves a marker there, a "whiteout". That is how a
// hundred containers share one image and each still sees a disk of its own.
// The kernel's Documentation/filesystems/overlayfs.rst is the reference.
//
// The mount is made with the mount API of kernel 5.2 (fsopen, fsconfig,
// fsmount), one fsconfig call for each layer. Overlay understands that since
// kernel 6.5 ("lowerdir+"); on older kernels, and where a sandbox forbids the
// calls, mount(2) is used, whose options must fit in one page of memory (4 KiB).
// For that reason layers are named by short relative links below Options.Base.
//
// The result is a detached mount: it is in no directory tree until Attach puts
// it somewhere, so nobody sees it half made and a failure leaves nothing.
//
// A mount with Volatile never writes back to the disk by itself: unmounting
// skips the sync of the whole upper file system, which is most of its cost. The
// upper directory of a volatile mount may be incomplete after a power cut, so
// the kernel marks it and refuses to use it again. Mount takes that mark away:
// the caller decides, by asking for Volatile, that the data may be lost.
//
// With IDs the owners of all files are shifted (package userns), in the upper
// directory too: what a container's root makes belongs to 0 on the disk, as in
// an image's layer, and to an ordinary user for everybody on the host who looks
// through the mount. Needs Linux 5.19.
//
// storage/snapshot is the caller; build steps use it through that package.
package overlay
