// Package boltbackend is an example of a state backend that is not the project's: a
// bbolt file for each working state, complete and small. It passes the suite of
// package backendtest. holdfastd-bolt beside it is a daemon that has it.
//
// What makes it an example and not a recommendation: a checkpoint writes
// everything each time, and what is over (TTL) goes only when its key is written
// again or room is needed.
package boltbackend
