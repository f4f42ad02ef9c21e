// Package rocksdb is the state backend for state that is larger than memory: a
// log-structured merge tree on the host's disk. The tree is Pebble
// (github.com/cockroachdb/pebble), which reads and writes RocksDB's ideas in Go;
// the name is the one that users of Flink know. DESIGN.md has the formats.
package rocksdb
