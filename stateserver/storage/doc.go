// Package storage is where snapshot files and manifests of checkpoints and
// savepoints live: on a shared mount, in S3, in HDFS, or nowhere but in the
// handles themselves. DESIGN.md has layout, formats and decisions.
//
// A scheme implements Storage; what is the same for all of them (hashes, inline
// handles, retries, roots) is in this package above it.
package storage
