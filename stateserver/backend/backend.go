package backend

import (
	"context"
	"errors"
	"io"
	"log/slog"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
)

// Env is what a node gives to the backend that it makes.
type Env struct {
	// Dir is an empty directory of this backend alone on the node's disk. The next
	// process of the node finds it empty again: working state is rebuilt from a
	// checkpoint.
	Dir string
	// CacheBytes bounds the memory that the backend takes for all its states
	// together; 0: it may take what they need.
	CacheBytes int64
	// Option returns a configuration value of the node, "" where none is set.
	Option func(key string) string
	Logger *slog.Logger
}

// Factory makes the backend of a node. It runs once for each name, when the first
// job needs it.
type Factory func(Env) (Backend, error)

// Backend makes the working states of one node. Its methods may be called by many
// goroutines at a time.
type Backend interface {
	// Open makes the empty working state of one attempt of a subtask.
	Open(ctx context.Context, spec Spec) (State, error)
	// ReadSnapshot reads a snapshot that any process of this backend wrote, without
	// a State: for exports and tools. It needs memory for a bounded number of
	// entries, whatever the size, and disk in a directory of its own at most.
	// Errors: those of files, and ErrDamaged.
	ReadSnapshot(ctx context.Context, spec Spec, files Files, handles []*holdfastv1.StateHandle) (Entries, error)
	// Close ends the backend. Every State is closed by then.
	Close() error
}

// Spec describes the keyed state of one subtask.
type Spec struct {
	// Name tells the attempt apart on this node: letters, digits and dashes.
	Name string
	// Space has the key groups of the subtask, its limits, and each state with its
	// number, kind and type.
	Space keyed.SpaceConfig
}

// State is the working state of one attempt of a subtask, or of a subtask without
// checkpoints. Its owner calls one method at a time, Bytes apart, which may come
// from anyone. What Cut returned is used by another goroutine meanwhile.
type State interface {
	// Apply applies the sections in order, as one change: on an error nothing has
	// happened. Input is only borrowed. Errors: those of keyed.Store.Apply; any
	// other one means that the state is lost, and its owner closes it. nowMs is the
	// time by which entries with a TTL expire.
	Apply(sections []keyed.Section, nowMs int64) error
	// Get is keyed.Store.Get on this state.
	Get(stateID uint32, keyGroup int64, keyLengths []uint32, keys []byte, dst *keyed.Values, nowMs int64) error
	// Scan is keyed.Store.Scan on this state: a page of one named state in the order
	// of key group and key.
	Scan(stateID uint32, after keyed.Cursor, limit, maxBytes int) (page keyed.Page, next keyed.Cursor, done bool, err error)
	// Bytes returns keys + values of a named state, and its entries. A backend that
	// can only estimate does.
	Bytes(stateID uint32) (bytes, entries int64, err error)
	// Cut returns what the state is now, as a snapshot that later changes do not
	// reach. It takes time for what changed since the last cut at most, and less
	// than a millisecond where it can. At most one snapshot is open, and Release
	// ends it. checkpoint is the one that it is for, 0 for what a subtask leaves that
	// has finished; there may be another cut for the same one.
	Cut(checkpoint uint64) (Snapshot, error)
	// Load adds entries to a state that has had none but Load's: those whose key
	// group is the state's own; others are skipped. They come in the order of
	// Entries.
	Load(ctx context.Context, from Entries) error
	// Restore sets an empty state to a snapshot that this backend wrote for the same
	// key groups. What an earlier State of this node left in Env.Dir may be used
	// instead of a file whose size and hash it has (task-local recovery).
	// Errors: those of files, and ErrDamaged.
	Restore(ctx context.Context, files Files, handles []*holdfastv1.StateHandle) error
	// Close lets go of everything that the state has, on the disk too, but for what
	// a backend keeps of its newest checkpoints for Restore; that goes with
	// Backend.Close.
	Close() error
}

// Snapshot is a state at a cut.
type Snapshot interface {
	// Write writes what restores the snapshot and returns its parts in the order in
	// which Restore needs them. After an error it may be called again, until Release,
	// and writes the same snapshot, whatever changed in the state meanwhile; what a
	// call that failed has committed is nobody's. base is the newest completed
	// checkpoint that this State wrote or was restored from, nil for none: with it only
	// what changed must be written, and parts of it may be named again. incremental is
	// what the job asked for; without it a backend writes everything anew.
	Write(ctx context.Context, files Files, base *Base, incremental bool) ([]*holdfastv1.StateHandle, error)
	// Release ends the snapshot, written or not.
	Release()
}

// Base is a completed checkpoint of the same subtask.
type Base struct {
	ID      uint64
	Handles []*holdfastv1.StateHandle
}

// Files is the checkpoint storage as one subtask sees it in one checkpoint.
type Files interface {
	// Create begins a file. shared: later checkpoints may name it again. The name of
	// the handle is name; the file's own has the fencing token in it, so that
	// no two attempts write one file. Where storage keeps no files (jobmanager), or
	// the content is small, Commit's handle has the bytes inline.
	Create(ctx context.Context, name, format string, shared bool) (Writer, error)
	// Open reads a part. The reader fails with an error that names the file where
	// its size or hash is not the handle's, before it says io.EOF.
	Open(ctx context.Context, h *holdfastv1.StateHandle) (io.ReadCloser, error)
}

// Writer writes one file. Either Commit or Abort ends it.
type Writer interface {
	io.Writer
	// Commit makes the file durable and visible. What is small may be inline in the
	// handle; then it has no File and no Sha256.
	Commit() (*holdfastv1.StateHandle, error)
	Abort()
}

// ErrDamaged says that a part of a snapshot is not what its writer wrote.
var ErrDamaged = errors.New("the snapshot is damaged")

// Entries yields entries in the order of state number, key group and key (as
// bytes).
type Entries interface {
	// Next returns false after the last entry, or on an error, which Err has then.
	// The entry is valid until the next call.
	Next() bool
	Entry() Entry
	Err() error
	Close() error
}

// Entry is one key of one named state.
type Entry struct {
	StateID  uint32
	KeyGroup uint32
	// Value is as Get returns it, with what a TTL keeps beside it.
	Key, Value []byte
}
