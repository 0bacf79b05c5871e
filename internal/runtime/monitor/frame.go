package monitor

import "encoding/binary"

// Frames on a client's socket, in both directions:
//
//	 0      1 2 3   4..7              8...
//	+------+-------+-----------------+---------+
//	| type |   0   | length, 32 bits | payload |   big endian, as Docker's stream headers
//	+------+-------+-----------------+---------+
const (
	frameStdin   = 0  // client -> monitor: bytes for the program
	frameStdout  = 1  // monitor -> client: the program's output; all of it with a terminal
	frameStderr  = 2  // monitor -> client
	frameAttach  = 16 // client -> monitor, first: flags u8, rows u16, cols u16
	frameResize  = 17 // client -> monitor: rows u16, cols u16
	frameEOF     = 18 // client -> monitor: no more stdin
	frameStarted = 19 // monitor -> client: pid u32
	frameFailed  = 20 // monitor -> client: step u32, errno u32, text
	frameExited  = 21 // monitor -> client, last: exit code u32
)

const frameHeader = 8

// maxPayload bounds a frame, so that a client cannot make the monitor grow.
const maxPayload = 16 << 10

func putHeader(b []byte, kind byte, n int) {
	b[0], b[1], b[2], b[3] = kind, 0, 0, 0
	binary.BigEndian.PutUint32(b[4:], uint32(n))
}

// frame returns a whole small frame.
func frame(kind byte, payload ...byte) []byte {
	b := make([]byte, frameHeader, frameHeader+len(payload))
	putHeader(b, kind, len(payload))
	return append(b, payload...)
}

func u32(v uint32) []byte { return binary.BigEndian.AppendUint32(nil, v) }

// Attach flags.
const (
	wantStdin  = 1
	wantStdout = 2
	wantStderr = 4
)
