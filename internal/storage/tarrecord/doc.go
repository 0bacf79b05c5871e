// Package tarrecord keeps what is needed to write the exact tar of a layer
// again after it was unpacked.
//
// An image names its layers by the digests of their tars (diff ids). Once a
// layer is a directory its tar is gone, and no other tar of the same files will
// do: entries can come in any order, and a header can be written in many ways. To
// keep the tar as well would take the place twice. So while a layer is unpacked
// a Writer notes everything that is in no file, and for what is, where:
//
//	tar     | header | passwd's content | padding, header | ls's content | ...
//	record  | literal|  -> etc/passwd   |    literal      |  -> bin/ls   | ...
//
// Headers repeat themselves, so the record is small once packed: 30 to 60 bytes
// for each file. Copy reads record and files and writes the tar; the caller
// compares its digest.
//
// The format is a zstd stream (RFC 8878) of, after a line that names it,
//
//	literal  uvarint(2*n), then n bytes; n > 0
//	file     uvarint(2*runs+1), uvarint(length of path), path, uvarint(size),
//	         then for each run uvarint(offset), uvarint(length); runs = 0: the whole file
//	end      uvarint(0)
//
// where the runs of a file are the parts of a sparse one that the tar holds.
//
// A file that a later entry of the same tar replaced is not in the directory any
// more; its content was put aside in time and is literal in the record.
package tarrecord
