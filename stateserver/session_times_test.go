package stateserver

import (
	"testing"
	"time"
)

func TestBarrierTimes_WhatThisHostSaw(t *testing.T) {
	trigger := time.UnixMilli(1_000_000)
	at := func(ms int) time.Time { return trigger.Add(time.Duration(ms) * time.Millisecond) }
	var b barrierTimes
	if got := b.ready(0, at(0)); got != nil {
		t.Fatalf("no barrier was sent: %v", got)
	}
	b.barrierSent(7, trigger.UnixMilli(), at(5))
	b.barrierPassed(6, at(6)) // late, of an older checkpoint
	b.barrierPassed(7, at(25))
	b.barrierPassed(7, at(29)) // the first counts
	if got := b.ready(7, at(125)); got.GetStartDelayUs() != 5_000 || got.GetSyncUs() != 20_000 || got.GetAsyncUs() != 100_000 {
		t.Fatalf("times: %v", got)
	}
	if got := b.ready(6, at(125)); got != nil {
		t.Fatalf("of a checkpoint whose barrier another host sent: %v", got)
	}
	b.barrierSent(8, at(200).UnixMilli(), at(190)) // the leader's clock is ahead
	if got := b.ready(8, at(300)); got.GetStartDelayUs() != 0 || got.SyncUs != nil || got.AsyncUs != nil {
		t.Fatalf("without BarrierPassed: %v", got)
	}
}
