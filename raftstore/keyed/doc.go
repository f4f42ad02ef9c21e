// Package keyed holds the replicated keyed state of the memory backend.
//
// A [Store] is a part of a Raft state machine: every node applies the same
// sequence of calls and holds the same contents. It reads no clock and no
// random source, and no map order can be seen from outside. Bad input is an
// error and never a panic; a call that returns an error has changed nothing.
//
// # Concurrency
//
// A Store has one writer, the goroutine that applies the log. Create, Drop,
// Apply, Freeze, DropVersion, DropVersionsBelow, Restore and Capture belong to
// it. The other methods only read and may run concurrently with each other,
// not with the writer: the caller guards the Store with a sync.RWMutex of its
// own. A [View] (Capture) and a [Frozen] state are immutable: once obtained
// they are read with no lock while the writer goes on.
//
// DESIGN.md describes the memory layout, the copy-on-write rules, the snapshot
// format and what each decision costs.
package keyed
