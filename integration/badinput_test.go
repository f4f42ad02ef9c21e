package integration

import (
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/integration/harness"
	"github.com/holdfast-io/holdfast/integration/scenario"
	"github.com/holdfast-io/holdfast/stateserver/daemon"
)

func TestBadInput_FramesEndOneStream(t *testing.T) {
	// Each bad frame costs its job one reconnect grace.
	c := harness.InProcess(t, harness.Options{Tune: func(_ harness.Node, cfg *daemon.Config) { cfg.ReconnectGrace = 50 * time.Millisecond }})
	scenario.BadFrames(t, c)
}

func atMost(streams uint32) harness.Options {
	return harness.Options{Tune: func(_ harness.Node, cfg *daemon.Config) { cfg.MaxStreams = streams }}
}

func TestBadInput_TooManyStreams(t *testing.T) {
	scenario.TooManyStreams(t, harness.InProcess(t, atMost(100)), 100, 250)
}

func TestBadInput_NeverHello(t *testing.T) {
	scenario.NeverHello(t, harness.InProcess(t, atMost(20)), 20)
}

func TestBadInput_NeverReads(t *testing.T) {
	scenario.NeverReads(t, harness.InProcess(t, harness.Options{}))
}

func TestBadInput_Hellos(t *testing.T) {
	scenario.BadHellos(t, harness.InProcess(t, harness.Options{}))
}

func TestBadInput_OldTokensAreDropped(t *testing.T) {
	scenario.OldTokens(t, harness.InProcess(t, harness.Options{}))
}

func TestBadInput_ForgottenTokens(t *testing.T) {
	scenario.ForgottenTokens(t, harness.InProcess(t, harness.Options{}))
}

func TestBadInput_ReadyTwice(t *testing.T) {
	scenario.ReadyTwice(t, harness.InProcess(t, harness.Options{}))
}

func TestBadInput_Submissions(t *testing.T) {
	scenario.BadSubmissions(t, harness.InProcess(t, harness.Options{}))
}

func TestBadInput_Calls(t *testing.T) {
	scenario.BadCalls(t, harness.InProcess(t, harness.Options{}))
}

func TestBadInput_Members(t *testing.T) {
	scenario.BadMembers(t, harness.InProcess(t, harness.Options{}), harness.InProcess(t, harness.Options{Size: 4}))
}

func TestBadInput_StateTooLargeSuspendsOneJob(t *testing.T) {
	scenario.StateTooLarge(t, harness.InProcess(t, harness.Options{}))
}

func TestBadInput_EarlyReadyTakesItsSeq(t *testing.T) {
	scenario.EarlyReady(t, harness.InProcess(t, harness.Options{}))
}

func TestBadInput_WrongTypeSuspendsOneJob(t *testing.T) {
	scenario.WrongType(t, harness.InProcess(t, harness.Options{}))
}

func TestBadInput_GarbageConnections(t *testing.T) {
	scenario.GarbageConnections(t, harness.InProcess(t, harness.Options{}))
}
