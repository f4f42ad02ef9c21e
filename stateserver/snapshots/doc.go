// Package snapshots reads and writes checkpoints and savepoints that lie in
// directories, apart from the jobs that made them.
package snapshots
