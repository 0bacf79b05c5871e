// Package copy carries out COPY and ADD: it tells what would be copied, as one
// digest, and copies it.
//
//	paths of the instruction -> expand -> the files and directories they name
//	                                        |
//	                                       walk   what is not ignored, not excluded
//	                                      /    \
//	                                 Digest    Into
//
// Both go the same way through the same files, so that the digest is of exactly
// what would be copied: names below the destination, kinds, modes after --chmod,
// owners after --chown, link targets, extended attributes, device numbers,
// bytes. Times are copied, but are no part of it: a fresh clone of a repository
// is the same context.
//
// Source and destination may both be hostile. Nothing is reached by a path of
// the host: both sides are walked from open directories, one name at a time,
// and links are followed only where Docker follows them, by linux/rootpath and
// within the tree they lie in:
//
//   - each source itself is followed ("COPY current/app /" with current -> v2);
//     links below a source are copied as links;
//   - the destination is followed ("COPY x /var/run/" is /run), but never the
//     last name of a file that is put into it: such a link is replaced.
//
// The rules are those of Docker's builder (Dockerfile reference, "COPY"), whose
// less known ones are: the attributes of a source directory named by itself are
// not copied, only those of what is in it; parents that are missing are made
// with mode 0755 (or what --chmod says in octal) and the owner of --chown;
// nothing replaces a directory by something else or the reverse.
package copy
