package raftstore

import (
	"testing"
	"time"
)

func TestSentry_WakingChangesNothing(t *testing.T) {
	tn := startSingle(t)
	waitLeader(t, tn)
	before := tn.raft.ReloadableConfig()
	for range 3 {
		tn.wakeRaft()
	}
	if after := tn.raft.ReloadableConfig(); after != before {
		t.Errorf("configuration %+v, before %+v", after, before)
	}
	mustAppend(t, "a", tn)
}

func TestSentry_PatienceIsNeverBelowTheTimeout(t *testing.T) {
	const timeout = 100 * time.Millisecond
	for range 1000 {
		if p := sentryPatience(timeout); p < timeout || p >= timeout*6/5 {
			t.Fatalf("patience %v", p)
		}
	}
}
