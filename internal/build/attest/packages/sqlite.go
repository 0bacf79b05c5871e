package packages

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// rows reads one table of an SQLite database (sqlite.org/fileformat2.html): as
// much of the format as it takes to see every row of an ordinary table once. A
// library for all of SQL would be the larger risk: the file is an image's.
//
// The file is pages of equal size. A table is a tree of them: inner pages lead
// to others, leaves hold the rows, and a row that does not fit goes on in a
// chain of overflow pages. Page 1 begins with the file's header and is also the
// top of the table that lists all tables.
type rows struct {
	file   io.ReaderAt
	size   int64 // of a page
	usable int64 // of a page, without what is reserved at its end
	pages  int64
	// left is how many more pages may be read: in a sound file each is read once.
	left int64
}

const sqliteMagic = "SQLite format 3\x00"

var errDamaged = errors.New("the database is damaged")

// openSQLite reads the header of a database file of the given size, in bytes.
func openSQLite(file io.ReaderAt, size int64) (*rows, error) {
	var head [100]byte
	if _, err := file.ReadAt(head[:], 0); err != nil || string(head[:len(sqliteMagic)]) != sqliteMagic {
		return nil, errors.New("it is no SQLite database")
	}
	r := &rows{file: file, size: int64(binary.BigEndian.Uint16(head[16:]))}
	if r.size == 1 {
		r.size = 64 << 10
	}
	r.usable = r.size - int64(head[20])
	const least = 480 // sqlite.org/fileformat2.html, 1.3.4
	if r.size < 512 || r.size&(r.size-1) != 0 || r.usable < least {
		return nil, errDamaged
	}
	r.pages = size / r.size
	return r, nil
}

// table calls visit with the columns of every row of a table, in the order of
// the row ids. NULL is nil; an integer is 8 bytes, big endian.
func (r *rows) table(name string, visit func(columns [][]byte) error) error {
	top := int64(0)
	r.left = r.pages
	err := r.tree(1, 0, func(c [][]byte) error {
		if len(c) >= 4 && string(c[0]) == "table" && string(c[1]) == name && len(c[3]) == 8 {
			top = int64(binary.BigEndian.Uint64(c[3]))
		}
		return nil
	})
	if err != nil {
		return err
	}
	if top == 0 {
		return fmt.Errorf("the database has no table %s", name)
	}
	r.left = r.pages
	return r.tree(top, 0, visit)
}

// page reads a page; they count from 1.
func (r *rows) page(n int64) ([]byte, error) {
	if r.left--; n < 1 || n > r.pages || r.left < 0 {
		return nil, errDamaged
	}
	b := make([]byte, r.size)
	if _, err := r.file.ReadAt(b, (n-1)*r.size); err != nil {
		return nil, err
	}
	return b[:r.usable], nil
}

// The kinds of pages of a table's tree.
const (
	innerPage = 0x05
	leafPage  = 0x0d
)

// maxTree bounds the depth of a tree: even with four rows on a page it would hold more than a file can.
const maxTree = 20

func (r *rows) tree(n int64, depth int, visit func([][]byte) error) error {
	page, err := r.page(n)
	if err != nil {
		return err
	}
	head := page
	if n == 1 {
		head = page[100:]
	}
	if depth > maxTree {
		return errDamaged
	}
	cells := int(binary.BigEndian.Uint16(head[3:]))
	switch head[0] {
	case leafPage:
		const headSize = 8
		return r.eachCell(page, head[headSize:], cells, func(cell []byte) error {
			columns, err := r.row(cell)
			if err != nil {
				return err
			}
			return visit(columns)
		})
	case innerPage:
		const headSize = 12
		err := r.eachCell(page, head[headSize:], cells, func(cell []byte) error {
			if len(cell) < 4 {
				return errDamaged
			}
			return r.tree(int64(binary.BigEndian.Uint32(cell)), depth+1, visit)
		})
		if err != nil {
			return err
		}
		return r.tree(int64(binary.BigEndian.Uint32(head[8:])), depth+1, visit)
	}
	return errDamaged
}

// eachCell follows the pointers that stand behind the head of a page.
func (r *rows) eachCell(page, pointers []byte, n int, visit func([]byte) error) error {
	if len(pointers) < 2*n {
		return errDamaged
	}
	for i := range n {
		at := int(binary.BigEndian.Uint16(pointers[2*i:]))
		if at >= len(page) {
			return errDamaged
		}
		if err := visit(page[at:]); err != nil {
			return err
		}
	}
	return nil
}

// maxRow bounds a row, in bytes: of a package with 100,000 files it has some MiB.
const maxRow = 64 << 20

// row reads a cell of a leaf: the size, the row id, and the record.
func (r *rows) row(cell []byte) ([][]byte, error) {
	size, cell, ok := varint(cell)
	if !ok || size > maxRow {
		return nil, errDamaged
	}
	if _, cell, ok = varint(cell); !ok {
		return nil, errDamaged
	}
	// How much of a row stays on its page: sqlite.org/fileformat2.html, 1.6.
	total, local := int64(size), int64(size)
	if most := r.usable - 35; total > most {
		least := (r.usable-12)*32/255 - 23
		if local = least + (total-least)%(r.usable-4); local > most {
			local = least
		}
	}
	if int64(len(cell)) < local {
		return nil, errDamaged
	}
	if local == total {
		return record(cell[:local])
	}
	if int64(len(cell)) < local+4 {
		return nil, errDamaged
	}
	all := append([]byte(nil), cell[:local]...)
	next := int64(binary.BigEndian.Uint32(cell[local:]))
	for int64(len(all)) < total {
		page, err := r.page(next)
		if err != nil {
			return nil, err
		}
		next = int64(binary.BigEndian.Uint32(page))
		all = append(all, page[4:min(int64(len(page)), 4+total-int64(len(all)))]...)
	}
	return record(all)
}

// record splits a record into its columns.
func record(b []byte) (columns [][]byte, err error) {
	size, _, ok := varint(b)
	if !ok || size > uint64(len(b)) {
		return nil, errDamaged
	}
	_, head, _ := varint(b[:size])
	body := b[size:]
	for len(head) > 0 {
		var kind uint64
		if kind, head, ok = varint(head); !ok {
			return nil, errDamaged
		}
		n := columnSize(kind)
		if n > uint64(len(body)) {
			return nil, errDamaged
		}
		value := body[:n]
		body = body[n:]
		switch {
		case kind == 0:
			value = nil
		case kind <= 6 || kind == 8 || kind == 9:
			value = integer(kind, value)
		}
		columns = append(columns, value)
	}
	return columns, nil
}

// columnSize is how many bytes a value of a kind takes.
func columnSize(kind uint64) uint64 {
	switch {
	case kind <= 4:
		return kind
	case kind == 5:
		return 6
	case kind <= 7:
		return 8
	case kind < 12:
		return 0
	}
	return (kind - 12) / 2
}

// integer makes 8 bytes of an integer, whose sign is in its first bit.
func integer(kind uint64, b []byte) []byte {
	v := uint64(0)
	if kind == 9 {
		v = 1
	}
	if len(b) > 0 && b[0]&0x80 != 0 {
		v = ^uint64(0)
	}
	for _, c := range b {
		v = v<<8 | uint64(c)
	}
	return binary.BigEndian.AppendUint64(nil, v)
}

// varint reads a number of one to nine bytes, the greatest digit first.
func varint(b []byte) (v uint64, rest []byte, ok bool) {
	for i := range min(len(b), 9) {
		if i == 8 {
			return v<<8 | uint64(b[i]), b[i+1:], true
		}
		v = v<<7 | uint64(b[i]&0x7f)
		if b[i]&0x80 == 0 {
			return v, b[i+1:], true
		}
	}
	return 0, nil, false
}
