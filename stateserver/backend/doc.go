// Package backend is where the working state of a subtask lives when it is not in
// the log: the interface of state backends on hosts, the registry of factories,
// and what all of them share. DESIGN.md has the rules; backendtest is the suite
// that each backend passes, also one of a user's own.
package backend
