package keyed

import (
	"errors"
	"io"
)

var errTodo = errors.New("keyed: not implemented yet")

// Create makes an empty space.
func (s *Store) Create(id uint64, cfg SpaceConfig) error { return errTodo }

// Drop removes a space with its versions; an unknown id is no error.
func (s *Store) Drop(id uint64) {}

// Has reports whether a space exists.
func (s *Store) Has(id uint64) bool { return false }

// Bytes returns keys + values and the number of live entries.
func (s *Store) Bytes(id uint64, stateID uint32) (bytes, entries int64, err error) {
	return 0, 0, errTodo
}

// Apply applies sections atomically.
func (s *Store) Apply(id uint64, sections []Section) error { return errTodo }

// Freeze keeps the live state as a version (> 0).
func (s *Store) Freeze(id, version uint64) error { return errTodo }

// DropVersion forgets a version; an unknown one is no error.
func (s *Store) DropVersion(id, version uint64) error { return errTodo }

// DropVersionsBelow forgets every version below version.
func (s *Store) DropVersionsBelow(id, version uint64) error { return errTodo }

// Restore makes a version the live state; 0 is empty.
func (s *Store) Restore(id, version uint64) error { return errTodo }

// Versions returns the frozen versions, ascending.
func (s *Store) Versions(id uint64) ([]uint64, error) { return nil, errTodo }

// Get appends a row a key to dst.
func (s *Store) Get(id, version uint64, stateID uint32, keyGroup int64, keyLengths []uint32, keys []byte, dst *Values) error {
	return errTodo
}

// Scan returns a page of entries after a cursor.
func (s *Store) Scan(id, version uint64, stateID uint32, after Cursor, limit, maxBytes int) (page Page, next Cursor, done bool, err error) {
	return Page{}, Cursor{}, false, errTodo
}

// Frozen is an immutable version of a space, readable with no lock.
type Frozen struct{}

// Frozen returns a version for reading with no lock.
func (s *Store) Frozen(id, version uint64) (*Frozen, error) { return nil, errTodo }

// Hash returns a digest of the contents.
func (s *Store) Hash() uint64 { return 0 }

// View is an immutable picture of a Store.
type View struct{}

// Capture returns a View of now.
func (s *Store) Capture() *View { return &View{} }

// Write streams the snapshot.
func (v *View) Write(w io.Writer) error { return errTodo }

// Hash returns the digest that the Store had at Capture.
func (v *View) Hash() uint64 { return 0 }

// Release lets go of the memory.
func (v *View) Release() {}

// Read builds a Store from a snapshot.
func Read(r io.Reader) (*Store, error) { return nil, errTodo }
