package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
)

// embedded is Pebble as a program would have it inside, with the options of the
// rocksdb backend: the same cache and memtables, no log of its own. It is for one
// goroutine.
type embedded struct {
	db    *pebble.DB
	batch *pebble.Batch
	keys  []byte
}

// embeddedMemTable is the largest memtable that the rocksdb backend takes.
const embeddedMemTable = 64 << 20

// openEmbedded opens n trees that share a cache, one for each slot.
func openEmbedded(dir string, n int, cacheBytes int64) (all []*embedded, err error) {
	cache := pebble.NewCache(cacheBytes)
	defer cache.Unref()
	memTable := int64(embeddedMemTable)
	for memTable > cacheBytes/8/int64(n) {
		memTable /= 2
	}
	for i := range n {
		o := &pebble.Options{
			Cache: cache, DisableWAL: true, NoSyncOnClose: true, FormatMajorVersion: pebble.FormatColumnarBlocks,
			MemTableSize: uint64(memTable), MemTableStopWritesThreshold: 4, L0StopWritesThreshold: 64,
			CompactionConcurrencyRange: func() (int, int) { return 1, 2 }, Logger: quiet{},
		}
		o.Levels[0].FilterPolicy = bloom.FilterPolicy(10)
		db, err := pebble.Open(filepath.Join(dir, fmt.Sprintf("embedded-%d", i)), o)
		if err != nil {
			return all, fmt.Errorf("open Pebble: %w", err)
		}
		all = append(all, &embedded{db: db, batch: db.NewBatch()})
	}
	return all, nil
}

func (e *embedded) close() error { return errors.Join(e.batch.Close(), e.db.Close()) }

// count reads a batch, adds 1 to each value, and writes it.
func (e *embedded) count(batch []uint32) error {
	e.batch.Reset()
	e.keys = e.keys[:0]
	for _, k := range batch {
		e.keys = appendKey(e.keys, k)
	}
	var value [valueBytes]byte
	for i := range batch {
		key := e.keys[keyBytes*i : keyBytes*(i+1)]
		n, err := e.get(key)
		if err != nil {
			return err
		}
		binary.LittleEndian.PutUint64(value[:], n+1)
		if err := e.batch.Set(key, value[:], nil); err != nil {
			return err
		}
	}
	return e.batch.Commit(pebble.NoSync)
}

func (e *embedded) get(key []byte) (n uint64, err error) {
	v, closer, err := e.db.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n = binary.LittleEndian.Uint64(v)
	return n, closer.Close()
}

func (e *embedded) run(o *load) error {
	for _, b := range o.batches {
		if err := e.count(b); err != nil {
			return fmt.Errorf("count in Pebble: %w", err)
		}
	}
	return nil
}

func (e *embedded) check(o *load) error {
	var key []byte
	for k := range o.want {
		key = appendKey(key[:0], uint32(k))
		n, err := e.get(key)
		if err == nil {
			err = o.check(uint32(k), n)
		}
		if err != nil {
			return fmt.Errorf("check what Pebble counted: %w", err)
		}
	}
	return nil
}

// quiet drops what Pebble says of its files.
type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}

// Fatalf is called where Pebble cannot go on; it must not return.
func (quiet) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
