// Package source provides where COPY, ADD and bind mounts read files from: a
// directory, a tar archive, standard input, a git repository, a URL, or the
// files of a stage or image.
//
// Each of them becomes a Tree: an open directory, a rule for what is left out
// (.dockerignore), and a memory of digests.
//
//	Dir   a directory of the host: the usual build context
//	Tar   an archive, unpacked into a directory of its own
//	Git   a checkout of one commit
//	Get   one file from a URL
//	Open  an open directory: a mounted stage or image
//
// A tree may be hostile: an image's files, an archive from anywhere, a
// repository in which "src" is a link to "/etc". So nothing below it is ever
// reached by a path of the host. Names are resolved from the open directory by
// the kernel (linux/rootpath), links lead within the tree, and what is not a
// regular file is never opened.
//
// # What is remembered
//
// The key of a COPY step is the digest of what would be copied. Reading a
// context of 50,000 files to learn that nothing has changed takes seconds, so
// Memory keeps, for each inode, a digest of what stat(2) does not tell (bytes,
// link target, extended attributes). It counts while device, inode number,
// size, mtime and ctime are the same. ctime is the one that a program cannot
// set: the kernel moves it with every change of the inode. A file changed within
// the clock's resolution could keep the same ctime, so what is younger than two
// seconds is not remembered (git calls such files racily clean).
package source
