// Package bench measures a cluster of three node processes on one machine, with
// fsync on. Its benchmarks print figures and assert none.
package bench
