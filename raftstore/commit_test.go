package raftstore

import (
	"testing"

	"github.com/hashicorp/raft"
)

// A message commits no more than what it shows to match, or a follower would
// apply the uncommitted end of its own log.
func TestTransport_CommitIsBoundByTheMessage(t *testing.T) {
	for name, c := range map[string]struct {
		prev, commit uint64
		entries      int
		want         uint64
	}{
		"nothing new":        {prev: 3166, commit: 3190, want: 3166},
		"a part":             {prev: 3100, entries: 64, commit: 3190, want: 3164},
		"all":                {prev: 3166, entries: 40, commit: 3190, want: 3190},
		"from the beginning": {entries: 3, commit: 2, want: 2},
		"heartbeat":          {},
	} {
		args := &raft.AppendEntriesRequest{PrevLogEntry: c.prev, LeaderCommitIndex: c.commit, Entries: make([]*raft.Log, c.entries)}
		boundCommit(args)
		if args.LeaderCommitIndex != c.want {
			t.Errorf("%s: commit %d, want %d", name, args.LeaderCommitIndex, c.want)
		}
	}
}

// A pipeline keeps the bound too: what a new leader sends to a follower whose log
// ends in entries of a replaced one is a match before them, and a commit index
// beyond.
func TestPipeline_CommitIsBoundByTheMessage(t *testing.T) {
	addr, inner := raft.NewInmemTransport("follower")
	_, leader := raft.NewInmemTransport("leader")
	leader.Connect(addr, inner)
	got := make(chan uint64, 1)
	go func() {
		rpc := <-inner.Consumer()
		got <- rpc.Command.(*raft.AppendEntriesRequest).LeaderCommitIndex
		rpc.Respond(&raft.AppendEntriesResponse{Success: true}, nil)
	}()
	p, err := leader.AppendEntriesPipeline("follower", addr)
	if err != nil {
		t.Fatal(err)
	}
	w := newPipeline(p)
	defer func() { _ = w.Close() }()
	if _, err := w.AppendEntries(&raft.AppendEntriesRequest{PrevLogEntry: 10, LeaderCommitIndex: 20}, &raft.AppendEntriesResponse{}); err != nil {
		t.Fatal(err)
	}
	if commit := <-got; commit != 10 {
		t.Fatalf("the follower was told commit %d, the message matches through 10", commit)
	}
}
