// Package coordinator decides what happens to jobs: who runs which subtask,
// which checkpoint completes, when something starts again.
//
// It has two halves. [Machine] is the replicated half: a deterministic state
// machine that every node feeds with the same log. [Driver] is the leader's
// half: it watches the machine and the soft state that hosts report, and
// proposes commands. Neither knows Raft, gRPC or a clock; time comes in as an
// argument. See DESIGN.md.
package coordinator
