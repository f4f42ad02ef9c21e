package coordinator

import (
	"testing"
	"time"

	internalv1 "github.com/holdfast-io/holdfast/proto/holdfast/internalv1"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

const (
	lostReason = holdfastv1.ErrorReason_ERROR_REASON_STATE_LOST
	suspended  = holdfastv1.JobStatus_JOB_STATUS_SUSPENDED
)

func atHome(t *testing.T) (l *log, token uint64) {
	t.Helper()
	return onHosts(t, func(s *holdfastv1.JobSpec) { withoutCheckpoints(s) })
}

func loseHost(node, incarnation string, through uint64) *internalv1.Command {
	return &internalv1.Command{Command: &internalv1.Command_LoseHost{LoseHost: &internalv1.LoseHost{
		NodeId: node, Incarnation: incarnation, Through: through, Error: Failure(lostReason, "silent")}}}
}

func resumeJob(accept bool) *internalv1.Command {
	return &internalv1.Command{Command: &internalv1.Command_ResumeJob{ResumeJob: &internalv1.ResumeJob{JobId: "job", AcceptGap: accept}}}
}

// Without checkpoints state on a host belongs to the subtask: it goes on where its
// state is, and nowhere else.
func TestHome_AssignmentStaysThere(t *testing.T) {
	l, tok := atHome(t)
	v, _ := l.m.Subtask(1)
	if v.Home != (Home{NodeID: "node", Incarnation: "inc", Origin: tok}) {
		t.Fatalf("home: %+v", v.Home)
	}
	r := l.refused(assign("job", targetOn(1, tok, "c", "other", "inc2")), fencedReason)
	if r.Error.Outcome != holdfastv1.Outcome_OUTCOME_NOT_APPLIED || r.Error.Message != `the state of subtask 0 of "source" is on node name-node` {
		t.Fatalf("refusal: %v", r.Error)
	}
	l.refused(assign("job", targetOn(1, tok, "c", "node", "inc0")), fencedReason)
	l.must(lose(1, tok))
	next := l.must(assign("job", targetOn(1, tok, "c", "node", "inc"))).FencingToken
	l.must(fail(1, next, holdfastv1.ErrorReason_ERROR_REASON_USER_CODE, 5))
	v, _ = l.m.Subtask(1)
	l.must(assign("job", targetOn(1, v.Token, "d", "node", "inc")))
	if v, _ = l.m.Subtask(1); v.Home.Origin != tok {
		t.Fatalf("the home moved: %+v", v.Home)
	}
}

// With checkpoints any process that is registered may have a subtask, and only that.
func TestHome_NoneWithCheckpoints(t *testing.T) {
	l, tok := onHosts(t, nil)
	l.refused(assign("job", targetOn(1, tok, "c", "node", "inc0")), fencedReason)
	l.refused(assign("job", targetOn(1, tok, "c", "stranger", "")), fencedReason)
	l.must(assign("job", targetOn(1, tok, "c", "other", "inc2")))
	l.node("other", "inc3", "rocksdb")
	l.status(holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	l.refused(loseHost("other", "inc2", 1<<60), fencedReason)
}

// Whatever ends the process of a home, the job is suspended and never silently goes
// on from zero.
func TestHome_LostSuspends(t *testing.T) {
	for name, end := range map[string]func(*log, uint64){
		"another process":    func(l *log, _ uint64) { l.node("node", "new", "rocksdb") },
		"forgotten node":     func(l *log, _ uint64) { l.must(forgetNode("node")) },
		"silence":            func(l *log, tok uint64) { l.must(loseHost("node", "inc", tok)) },
		"a broken backend":   func(l *log, tok uint64) { l.must(fail(1, tok, lostReason, 5)) },
		"a cluster from old": func(l *log, _ uint64) { l.m.Refound(l.index) },
		"while suspended": func(l *log, tok uint64) {
			l.must(fail(2, tok, holdfastv1.ErrorReason_ERROR_REASON_STATE_INCOMPATIBLE, 5))
			l.status(suspended)
			l.must(loseHost("node", "inc", tok))
		},
	} {
		t.Run(name, func(t *testing.T) {
			l, tok := atHome(t)
			end(l, tok)
			l.status(suspended)
			r := l.refused(resumeJob(false), lostReason)
			if want := "the state of subtask 0 of \"source\" is lost; `holdfast resume --accept-gap` lets job \"count\" go on with that state empty, `holdfast cancel` ends it"; r.Error.Message != want {
				t.Fatalf("got  %s\nwant %s", r.Error.Message, want)
			}
			l.status(suspended)
			l.must(resumeJob(true))
			if v, _ := l.m.Subtask(1); v.Home != (Home{}) {
				t.Fatalf("home: %+v", v.Home)
			}
		})
	}
}

func forgetNode(node string) *internalv1.Command {
	return &internalv1.Command{Command: &internalv1.Command_ForgetNode{ForgetNode: &internalv1.ForgetNode{NodeId: node}}}
}

// What is told names the node by its id, as other errors do.
func TestHome_LostNamesTheNode(t *testing.T) {
	l, _ := atHome(t)
	l.node("node", "new", "rocksdb")
	if e := l.m.Describe("job").Reason; e.GetMetadata()["node"] != "node" || e.GetMetadata()["incarnation"] != "inc" {
		t.Fatalf("the job is suspended with %v", e)
	}
}

// What begins anew has another origin, also on the process that was given up; the
// subtask that was not lost keeps its own.
func TestHome_AcceptedGapBeginsAnew(t *testing.T) {
	l, tok := atHome(t)
	l.must(loseHost("node", "inc", tok))
	l.must(resumeJob(true))
	v, _ := l.m.Subtask(1)
	w, _ := l.m.Subtask(2)
	l.refused(assign("job", targetOn(2, w.Token, "d", "node", "inc")), fencedReason)
	next := l.must(assign("job", targetOn(1, v.Token, "c", "node", "inc"), targetOn(2, w.Token, "d", "other", "inc2"))).FencingToken
	if v, _ = l.m.Subtask(1); v.Home.Origin != next {
		t.Fatalf("home: %+v", v.Home)
	}
	if w, _ = l.m.Subtask(2); w.Home.Origin != tok {
		t.Fatalf("home: %+v", w.Home)
	}
	// Late entries of the time before reach nothing.
	l.refused(loseHost("node", "inc", tok), fencedReason)
	l.refused(registerHost("node", "inc0", "before"), fencedReason)
	l.status(holdfastv1.JobStatus_JOB_STATUS_RUNNING)
}

// A process of a node registers once, behind the one that was there.
func TestRegisterNode_NamesTheProcessBefore(t *testing.T) {
	l := newLog(t)
	l.refused(registerHost("n", "a", "x"), fencedReason)
	l.must(registerHost("n", "a", ""))
	l.must(registerHost("n", "a", ""))
	l.must(registerHost("n", "b", "a"))
	if r := l.refused(registerHost("n", "a", ""), fencedReason); r.Error.Outcome != holdfastv1.Outcome_OUTCOME_NOT_APPLIED || r.Error.Metadata["incarnation"] != "b" {
		t.Fatalf("refusal: %v", r.Error)
	}
	if n := l.m.NodeOf("n"); n.Incarnation != "b" {
		t.Fatalf("node: %v", n)
	}
}

// A stream elsewhere is told where the state is.
func TestHomeElsewhere(t *testing.T) {
	l, tok := atHome(t)
	uids := []string{"source", "counter"}
	if a, ok := l.m.HomeElsewhere("job", "other", uids); ok {
		t.Fatalf("nothing waits, and %q is named", a)
	}
	l.must(lose(1, tok))
	if a, ok := l.m.HomeElsewhere("job", "other", uids); !ok || a != "node:7070" {
		t.Fatalf("%q, %v", a, ok)
	}
	for _, c := range []struct {
		job, node string
		uids      []string
	}{{"job", "node", uids}, {"job", "other", uids[:1]}, {"unknown", "other", uids}} {
		if a, ok := l.m.HomeElsewhere(c.job, c.node, c.uids); ok {
			t.Fatalf("%v: %q is named", c, a)
		}
	}
	l.must(loseHost("node", "inc", tok))
	if _, ok := l.m.HomeElsewhere("job", "other", uids); ok {
		t.Fatal("a lost home is named")
	}
}

// hostLeader is a leader with a job on the node n1 and a standby on n2.
func hostLeader(t *testing.T, change func(*holdfastv1.JobSpec)) *leader {
	t.Helper()
	l := newLeader(t)
	l.incarnations = map[string]string{"n1": "a", "n2": "b"}
	l.node("n1", "a", "rocksdb")
	l.node("n2", "b", "rocksdb")
	spec := onDisk(counterSpec("count"))
	change(spec)
	l.must(submit(spec, "", "job"))
	l.must(splits("job", 0))
	l.connect("n1", "s1", "i1", "p1")
	l.pass(200 * time.Millisecond)
	l.session("s1")
	l.connect("n2", "s2", "i2", "p2")
	return l
}

func TestDriver_GoesOnAtHomeOnly(t *testing.T) {
	l := hostLeader(t, func(s *holdfastv1.JobSpec) { withoutCheckpoints(s) })
	l.streams["n1"] = nil
	l.pass(10 * time.Second)
	l.session("s1")
	l.status(holdfastv1.JobStatus_JOB_STATUS_RESTARTING)
	l.connect("n1", "s3", "i3", "p3")
	l.pass(200 * time.Millisecond)
	l.session("s3")
}

func TestDriver_SilentHomeIsLost(t *testing.T) {
	l := hostLeader(t, func(s *holdfastv1.JobSpec) { withoutCheckpoints(s) })
	l.silent["n1"] = true
	l.pass(14 * time.Second)
	l.status(holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	l.pass(2 * time.Second)
	l.status(suspended)
	l.must(resumeJob(true))
	l.pass(200 * time.Millisecond)
	l.session("s2")
}

func TestDriver_LostHostCostsAnAttemptWithCheckpoints(t *testing.T) {
	l := hostLeader(t, func(*holdfastv1.JobSpec) {})
	l.silent["n1"] = true
	l.pass(16 * time.Second)
	l.session("s2")
}

// Streams of a process that has not registered, or of a node without the backend,
// are of no use.
func TestDriver_NeedsTheRegisteredProcess(t *testing.T) {
	l := hostLeader(t, func(*holdfastv1.JobSpec) {})
	l.incarnations["n2"] = "c"
	l.streams["n1"] = nil
	l.pass(3 * time.Second)
	l.session("s1")
	l.node("n2", "c")
	l.pass(3 * time.Second)
	l.session("s1")
	l.node("n2", "c", "rocksdb")
	l.pass(200 * time.Millisecond)
	l.session("s2")
}
