package raftstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// boltFile reads a bbolt database without mapping it into memory. bbolt itself
// trusts what it maps: of a file that is cut short, or whose pages point nowhere,
// it dies with a signal or a panic that nobody can catch, in a goroutine of its
// own: so its pages are walked first, and what bbolt's own check at opening panics
// of is looked for here, since that panic unmaps the file under its goroutine.
//
// The layout is that of bbolt's file format 2, in the byte order of the machine:
//
//	page:   id 8, flags 2, count 2, overflow 4, then elements
//	branch: pos 4, ksize 4, page 8
//	leaf:   flags 4, pos 4, ksize 4, vsize 4
//	meta:   magic 4, version 4, page size 4, flags 4, root 8, sequence 8,
//	        freelist 8, pages 8, txid 8, sum 8
type boltFile struct {
	in       io.ReaderAt
	size     int64
	pageSize int64
	pages    uint64
	seen     map[uint64]bool
}

const (
	boltMagic      = 0xED0CDAED
	boltVersion    = 2
	boltPageHeader = 16
	boltElement    = 16
	boltMetaBytes  = 64
	boltBranch     = 0x01
	boltLeaf       = 0x02
	boltBucket     = 0x01 // flag of a leaf element
	boltMaxDepth   = 64
	boltFirstPage  = 2        // behind the two metas
	boltWholePage  = 64 << 10 // bytes up to which a page is read at once
)

var errBoltFile = errors.New("not a whole database")

// checkBoltFile walks every page that the database at path uses. A file that is
// not there, or empty, is one that bbolt makes.
func checkBoltFile(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	b := &boltFile{in: f, size: info.Size(), seen: map[uint64]bool{}}
	root, err := b.meta()
	if err != nil {
		return err
	}
	if need := int64(b.pages) * b.pageSize; b.pages > uint64(b.size) || need > b.size {
		return fmt.Errorf("%w: it is cut short: it has %d bytes, and its pages take %d", errBoltFile, b.size, need)
	}
	_, err = b.walk(root, 0, keyRange{})
	return err
}

// meta finds the newer one of the two metas that are whole, and the root in it.
func (b *boltFile) meta() (root uint64, err error) {
	newest, found := uint64(0), false
	for _, at := range b.metaPlaces() {
		m, err := b.read(at+boltPageHeader, boltMetaBytes)
		if err != nil {
			continue
		}
		sum := fnv.New64a()
		_, _ = sum.Write(m[:boltMetaBytes-8]) // never fails
		n := binary.NativeEndian
		if n.Uint32(m) != boltMagic || n.Uint32(m[4:]) != boltVersion || n.Uint64(m[56:]) != sum.Sum64() {
			continue
		}
		if txid := n.Uint64(m[48:]); !found || txid > newest {
			newest, found = txid, true
			b.pageSize, b.pages, root = int64(n.Uint32(m[8:])), n.Uint64(m[40:]), n.Uint64(m[16:])
		}
	}
	if !found || b.pageSize < 1<<9 || b.pageSize > 1<<20 {
		return 0, fmt.Errorf("%w: neither of its two first pages is whole", errBoltFile)
	}
	return root, nil
}

// metaPlaces are where the second meta may be, which is behind the first page
// whatever size that has.
func (b *boltFile) metaPlaces() []int64 {
	places := []int64{0}
	for size := int64(1 << 9); size <= 1<<16; size <<= 1 {
		places = append(places, size)
	}
	return places
}

func (b *boltFile) read(at, n int64) ([]byte, error) {
	if at < 0 || n < 0 || at+n > b.size {
		return nil, fmt.Errorf("%w: it ends before byte %d", errBoltFile, at+n)
	}
	buf := make([]byte, n)
	_, err := b.in.ReadAt(buf, at)
	return buf, err
}

// keyRange is where the keys of a page must be: from min on, and below max. nil
// is no bound.
type keyRange struct{ min, max []byte }

// boltPage is the place of a page in the file.
type boltPage struct {
	id       uint64
	at, room int64
	branch   bool
	elements []byte
	whole    []byte // its bytes, if they are few
}

// page reads the head and the elements of a page, and takes it and what overflows
// from it as used.
func (b *boltFile) page(id uint64, depth int) (boltPage, error) {
	p := boltPage{id: id, at: int64(id) * b.pageSize}
	if id < boltFirstPage || id >= b.pages || depth > boltMaxDepth {
		return p, fmt.Errorf("%w: a page points to page %d, which cannot be", errBoltFile, id)
	}
	head, err := b.read(p.at, boltPageHeader)
	if err != nil {
		return p, err
	}
	n := binary.NativeEndian
	flags, count, overflow := n.Uint16(head[8:]), int64(n.Uint16(head[10:])), uint64(n.Uint32(head[12:]))
	p.branch, p.room = flags == boltBranch, (int64(overflow)+1)*b.pageSize
	if n.Uint64(head) != id || flags != boltBranch && flags != boltLeaf || id+overflow >= b.pages ||
		boltPageHeader+count*boltElement > p.room || p.branch && count == 0 {
		return p, p.bad()
	}
	for i := id; i <= id+overflow; i++ {
		if b.seen[i] {
			return p, fmt.Errorf("%w: page %d is used twice", errBoltFile, i)
		}
		b.seen[i] = true
	}
	if p.room <= boltWholePage {
		if p.whole, err = b.read(p.at, p.room); err != nil {
			return p, err
		}
		p.elements = p.whole[boltPageHeader:][:count*boltElement]
		return p, nil
	}
	p.elements, err = b.read(p.at+boltPageHeader, count*boltElement)
	return p, err
}

func (p *boltPage) bad() error { return fmt.Errorf("%w: page %d is damaged", errBoltFile, p.id) }

// key is the key of an element, size bytes at place in the page.
func (b *boltFile) key(p *boltPage, place, size int64) ([]byte, error) {
	if p.whole != nil {
		return p.whole[place : place+size], nil
	}
	return b.read(p.at+place, size)
}

// walk follows a page and everything below it. Keys must rise and be within what
// the pages above say; it returns the last one, nil if there is none.
func (b *boltFile) walk(id uint64, depth int, in keyRange) (last []byte, err error) {
	p, err := b.page(id, depth)
	if err != nil {
		return nil, err
	}
	n, count := binary.NativeEndian, int64(len(p.elements)/boltElement)
	keys := make([][]byte, count)
	for i := range count {
		e, place := p.elements[i*boltElement:], boltPageHeader+i*boltElement // what pos counts from
		var pos, ksize, vsize int64
		if p.branch {
			pos, ksize = int64(n.Uint32(e)), int64(n.Uint32(e[4:]))
		} else {
			pos, ksize, vsize = int64(n.Uint32(e[4:])), int64(n.Uint32(e[8:])), int64(n.Uint32(e[12:]))
		}
		if place+pos+ksize+vsize > p.room {
			return nil, p.bad()
		}
		if keys[i], err = b.key(&p, place+pos, ksize); err != nil {
			return nil, err
		}
		if !p.branch && n.Uint32(e)&boltBucket != 0 {
			if err := b.bucket(p.at+place+pos+ksize, vsize, depth, p.bad()); err != nil {
				return nil, err
			}
		}
	}
	last = in.min
	for i, key := range keys {
		order := bytes.Compare(last, key)
		if order > 0 || order == 0 && i > 0 || in.max != nil && bytes.Compare(key, in.max) >= 0 {
			return nil, fmt.Errorf("%w: the keys of page %d are out of order", errBoltFile, id)
		}
		last = key
		if !p.branch {
			continue
		}
		below := keyRange{min: key, max: in.max}
		if i+1 < len(keys) {
			below.max = keys[i+1]
		}
		if last, err = b.walk(n.Uint64(p.elements[i*boltElement+8:]), depth+1, below); err != nil {
			return nil, err
		}
	}
	return last, nil
}

// bucket follows the value of a bucket: its root and a sequence; without a root
// its only page follows within the value.
func (b *boltFile) bucket(at, size int64, depth int, bad error) error {
	const header = 16
	if size < header {
		return bad
	}
	v, err := b.read(at, header)
	if err != nil {
		return err
	}
	if root := binary.NativeEndian.Uint64(v); root != 0 {
		_, err := b.walk(root, depth+1, keyRange{})
		return err
	}
	if size < header+boltPageHeader {
		return bad
	}
	head, err := b.read(at+header, boltPageHeader)
	if err != nil {
		return err
	}
	room, count := size-header, int64(binary.NativeEndian.Uint16(head[10:]))
	if binary.NativeEndian.Uint16(head[8:]) != boltLeaf || boltPageHeader+count*boltElement > room {
		return bad
	}
	elements, err := b.read(at+header+boltPageHeader, count*boltElement)
	if err != nil {
		return err
	}
	for i := range count {
		e, n := elements[i*boltElement:], binary.NativeEndian
		if boltPageHeader+i*boltElement+int64(n.Uint32(e[4:]))+int64(n.Uint32(e[8:]))+int64(n.Uint32(e[12:])) > room {
			return bad
		}
	}
	return nil
}
