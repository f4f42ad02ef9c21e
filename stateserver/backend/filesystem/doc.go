// Package filesystem is the state backend with that name (old name hashmap): working
// state on the heap of the host, snapshots in the checkpoint storage. DESIGN.md tells
// how a cut costs nothing and a snapshot only what changed.
package filesystem
