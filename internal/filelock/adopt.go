package filelock

import "os"

// Adopt makes a lock of a file that is locked already: by the process that
// handed its descriptor over, or by this process before an execve(2).
func Adopt(f *os.File) *Lock { return &Lock{f} }
