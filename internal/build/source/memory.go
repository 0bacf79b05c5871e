package source

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"berth/internal/atomicfile"
	"berth/internal/errdefs"
)

// Memory remembers the sums of files between builds, in one file for each build
// context: DATAROOT/build/hashes/<32 hex digits of the context's name>.
//
// The file is read at the first question and replaced as a whole by Save. Two
// builds of one context at the same time do no harm: what the one that saves
// first has learnt, the other takes over. A damaged file counts as empty.
type Memory struct {
	path string
	load sync.Once

	mu    sync.Mutex // guards what follows; old does not change after load
	old   records
	used  []bool // of old
	fresh map[key]Sum
	saved int // how many of fresh are in the file
}

// key is a digest of what stat tells of an inode, cut to 128 bits.
type key [16]byte

// keyOf puts together what changes when an inode's content does.
func keyOf(st *unix.Stat_t) key {
	var b [56]byte
	for i, v := range [...]uint64{
		st.Dev, st.Ino, uint64(st.Size),
		uint64(st.Mtim.Sec), uint64(st.Mtim.Nsec), uint64(st.Ctim.Sec), uint64(st.Ctim.Nsec),
	} {
		binary.LittleEndian.PutUint64(b[8*i:], v)
	}
	sum := sha256.Sum256(b[:])
	return key(sum[:16])
}

// NewMemory returns the memory kept in folder, which need not exist, for the
// context of the given name: the absolute path of its directory.
func NewMemory(folder, context string) *Memory {
	sum := sha256.Sum256([]byte(context))
	return &Memory{path: filepath.Join(folder, hex.EncodeToString(sum[:16])), fresh: map[key]Sum{}}
}

// get looks up a sum.
func (m *Memory) get(k key) (Sum, bool) {
	m.load.Do(func() {
		m.old = readRecords(m.path)
		m.used = make([]bool, m.old.len())
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	if i, ok := m.old.find(k); ok {
		m.used[i] = true
		return m.old.sum(i), true
	}
	sum, ok := m.fresh[k]
	return sum, ok
}

func (m *Memory) put(k key, sum Sum) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fresh[k] = sum
}

// A memory keeps what the last build used, and as much again of what it did
// not use: another Dockerfile of the same context may.
const (
	maxRecords = 1 << 20 // 48 MiB
	minSpare   = 1 << 12
)

// Save writes what was learnt, if anything was. An error costs only time later.
func (m *Memory) Save() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.fresh) == m.saved {
		return nil
	}
	all := make([]record, 0, len(m.fresh)+m.old.len())
	for k, sum := range m.fresh {
		all = append(all, record{k, sum})
	}
	for i, used := range m.used {
		if used {
			all = append(all, record{m.old.key(i), m.old.sum(i)})
		}
	}
	all = all[:min(len(all), maxRecords)]
	// What is in the file now: also what another build has saved meanwhile.
	now := readRecords(m.path)
	room := min(max(len(all), minSpare), maxRecords-len(all))
	for i := 0; i < now.len() && room > 0; i++ {
		if at, ok := m.old.find(now.key(i)); ok && m.used[at] {
			continue
		}
		if _, ok := m.fresh[now.key(i)]; !ok {
			all = append(all, record{now.key(i), now.sum(i)})
			room--
		}
	}
	if err := os.MkdirAll(filepath.Dir(m.path), 0o700); err != nil {
		return errdefs.Wrap(err, "remember", "the digests of the build context")
	}
	// Atomic is enough: what a power cut leaves is told by its checksum.
	err := atomicfile.Write(m.path, encodeRecords(all), 0o600, atomicfile.Atomic)
	if err == nil {
		m.saved = len(m.fresh)
	}
	return errdefs.Wrap(err, "remember", "the digests of the build context")
}
