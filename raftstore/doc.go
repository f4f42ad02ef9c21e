// Package raftstore is the replicated log of Holdfast: it turns a set of
// processes into one Raft group and feeds the committed commands to a
// [StateMachine].
//
// A [Node] owns everything about consensus (the log, elections, snapshots,
// membership, the peer port, the data directory). What a command means is
// decided by the state machine alone, which knows no Raft.
//
// DESIGN.md gives the formats byte by byte, the path of a proposal and the
// decisions with their price.
package raftstore
