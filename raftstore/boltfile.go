package raftstore

import (
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
// own. So its pages are walked first.
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
	boltFirstPage  = 2 // behind the two metas
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
	return b.walk(root, 0)
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

func (b *boltFile) walk(id uint64, depth int) error {
	if id < boltFirstPage || id >= b.pages || b.seen[id] || depth > boltMaxDepth {
		return fmt.Errorf("%w: a page points to page %d, which cannot be", errBoltFile, id)
	}
	b.seen[id] = true
	at := int64(id) * b.pageSize
	head, err := b.read(at, boltPageHeader)
	if err != nil {
		return err
	}
	n := binary.NativeEndian
	flags, count, overflow := n.Uint16(head[8:]), int64(n.Uint16(head[10:])), uint64(n.Uint32(head[12:]))
	room := (int64(overflow) + 1) * b.pageSize
	bad := fmt.Errorf("%w: page %d is damaged", errBoltFile, id)
	if n.Uint64(head) != id || flags != boltBranch && flags != boltLeaf || id+overflow >= b.pages ||
		boltPageHeader+count*boltElement > room || flags == boltBranch && count == 0 {
		return bad
	}
	elements, err := b.read(at+boltPageHeader, count*boltElement)
	if err != nil {
		return err
	}
	for i := range count {
		e := elements[i*boltElement:]
		place := boltPageHeader + i*boltElement // what pos counts from
		if flags == boltBranch {
			if place+int64(n.Uint32(e))+int64(n.Uint32(e[4:])) > room {
				return bad
			}
			err = b.walk(n.Uint64(e[8:]), depth+1)
		} else {
			pos, ksize, vsize := int64(n.Uint32(e[4:])), int64(n.Uint32(e[8:])), int64(n.Uint32(e[12:]))
			if place+pos+ksize+vsize > room {
				return bad
			}
			if n.Uint32(e)&boltBucket != 0 {
				err = b.bucket(at+place+pos+ksize, vsize, depth, bad)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
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
		return b.walk(root, depth+1)
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
