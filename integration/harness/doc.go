// Package harness runs Holdfast clusters for scenarios: in this process, or as
// real processes that are killed with SIGKILL. A scenario is written once,
// against Cluster, and runs on both.
//
// Three things generate load and know the right answer:
//
//   - Flusher speaks the operator protocol directly, without the client
//     library. It keeps a window of flushes of ADD operations in flight, so
//     every flush that is lost or counted twice shows in the sums.
//   - Operator is a process built on the client library that counts generated
//     records by key; see Feed for its source.
//   - The oracle (oracle.go) computes what the state must be from positions and
//     from the generators alone. It shares no code with what it judges.
//
// Nothing sleeps: everything polls with a deadline and says what it waited for.
package harness
