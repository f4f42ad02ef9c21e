package scenario

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-io/holdfast/integration/harness"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// RandomFaults does at random what the other scenarios do one by one: kills,
// stops and cuts off nodes and operators, some at the same time, never a majority
// for long. In the end everything is counted exactly once and every checkpoint
// that could be read was one cut. Links are cut and slowed where the cluster has
// proxies, nodes are stopped where they are processes.
func RandomFaults(t *testing.T, c *harness.Cluster, steps int, seed uint64) {
	t.Logf("seed %d (HOLDFAST_TEST_SEED)", seed)
	r := newRandomFaults(t, c, seed)
	for range steps {
		r.step()
	}
	r.stop()
	c.WaitForAllToKnow()
	checkFlusher(t, r.flusher)
	t.Logf("counter: %d records counted exactly once; %d checkpoints were one cut; %d restarts; faults %v",
		harness.Sum(r.feed.CheckFinal(c, "counter", nil)), r.checked, c.MustDescribe("counter").Summary.Restarts, fmt.Sprint(r.done))
	c.VerifyReplicas()
}

type randomFaults struct {
	t         *testing.T
	c         *harness.Cluster
	rnd       *rand.Rand
	flusher   *harness.Flusher
	feed      *harness.Feed
	stop      func()
	cfg       harness.OperatorConfig
	operators []*harness.Operator
	checked   int
	done      map[string]int
}

func newRandomFaults(t *testing.T, c *harness.Cluster, seed uint64) *randomFaults {
	r := &randomFaults{
		t: t, c: c, rnd: rand.New(rand.NewPCG(seed, 0)), done: map[string]int{}, feed: harness.NewFeed(t, 2, 30),
		flusher: harness.StartFlusher(c, harness.FlusherConfig{Job: "flusher", CheckpointMs: 50, Pause: traffic, Slots: 2}),
	}
	r.stop = r.feed.Flow(5, traffic)
	r.cfg = r.feed.Operator("counter")
	r.cfg.CheckpointMs, r.cfg.Parallelism, r.cfg.Slots = 50, 2, 1
	for range 3 {
		r.start()
	}
	c.WaitStatus("counter", holdfastv1.JobStatus_JOB_STATUS_RUNNING)
	return r
}

// fault is one kind, and how often it is chosen.
type fault struct {
	name   string
	weight int
	do     func()
}

func (r *randomFaults) faults() []fault {
	c := r.c
	all := []fault{
		{"leader killed", 4, func() {
			old := c.Leader()
			c.Kill(old.Index)
			c.WaitForNewLeader(old)
			c.Start(old.Index)
		}},
		{"node killed", 3, func() { c.Restart(r.node()) }},
		{"all nodes killed", 1, func() { c.KillAll(); c.StartAll() }},
		{"node and operator killed", 2, func() { r.killOperator(); c.Restart(r.node()); r.start() }},
		{"operator killed", 4, func() { r.killOperator(); r.start() }},
		{"operator stopped", 2, r.operatorStopped},
	}
	if c.Pid(c.RunningNodes()[0]) != 0 {
		all = append(all,
			fault{"node stopped", 2, func() { r.stopped(r.node()) }},
			fault{"leader stopped", 2, func() { r.stopped(c.Leader().Index) }})
	}
	if c.Proxied() {
		all = append(all,
			fault{"link cut", 3, func() { r.cut(func(a, b int) { c.CutLink(a, b) }) }},
			fault{"link cut both ways", 2, func() { r.cut(c.CutBoth) }},
			fault{"node alone", 2, func() {
				i := r.node()
				r.cut(func(int, int) {
					for j := range c.Size() {
						if j != i {
							c.CutBoth(i, j)
						}
					}
				})
			}},
			fault{"clients of a node cut off", 2, func() {
				i := r.node()
				r.cut(func(int, int) { c.CutBoth(harness.Clients, i) })
			}},
			fault{"slow link", 2, func() {
				delay := time.Duration(1+r.rnd.IntN(60)) * time.Millisecond
				r.cut(func(a, b int) { c.SlowLink(a, b, delay, 256<<10); c.SlowLink(b, a, delay, 256<<10) })
			}},
			fault{"link cut and leader killed", 2, func() {
				r.cut(func(a, b int) {
					c.CutLink(a, b)
					c.Restart(c.Leader().Index)
				})
			}})
	}
	return all
}

// step does one fault, waits until work goes on, and at times looks at a
// checkpoint.
func (r *randomFaults) step() {
	all := r.faults()
	sum := 0
	for _, f := range all {
		sum += f.weight
	}
	n := r.rnd.IntN(sum)
	at := slices.IndexFunc(all, func(f fault) bool { n -= f.weight; return n < 0 })
	r.t.Logf("%s: %s", time.Now().Format("15:04:05.000"), all[at].name)
	all[at].do()
	r.done[all[at].name]++
	r.flusher.WaitAcked(10)
	if r.rnd.IntN(2) == 0 {
		r.c.WaitCheckpoint("counter", r.c.Completed("counter"))
		r.feed.CheckCheckpoint(r.c, "counter", nil, r.c.ReadCheckpoint("counter", 0))
		r.checked++
	}
}

func (r *randomFaults) node() int { return r.rnd.IntN(r.c.Size()) }

func (r *randomFaults) start() {
	r.operators = append(r.operators, harness.StartOperator(r.t, r.cfg, r.c.Addresses(r.node())))
}

func (r *randomFaults) killOperator() {
	i := r.rnd.IntN(len(r.operators))
	r.operators[i].Kill()
	r.operators = slices.Delete(r.operators, i, i+1)
}

// some waits for about as long as timeouts take, or a part of that.
func (r *randomFaults) some() {
	limit := time.Duration(r.rnd.Int64N(int64(r.c.SessionTimeout * 3 / 2)))
	_ = harness.Soon(limit, func() error { return errorf("a fault lasts %s", limit) })
}

func (r *randomFaults) stopped(node int) {
	freeze(r.t, r.c, node)
	r.some()
	r.c.Thaw(node)
	r.c.WaitCaughtUp(node)
}

func (r *randomFaults) operatorStopped() {
	o := r.operators[r.rnd.IntN(len(r.operators))]
	if err := o.Signal(syscall.SIGSTOP); err != nil {
		r.t.Fatal(err)
	}
	r.some()
	if err := o.Signal(syscall.SIGCONT); err != nil {
		r.t.Fatal(err)
	}
}

// cut does something to the link between two nodes for a while.
func (r *randomFaults) cut(do func(a, b int)) {
	a := r.node()
	b := (a + 1 + r.rnd.IntN(r.c.Size()-1)) % r.c.Size()
	do(a, b)
	r.some()
	r.c.Heal()
	for i := range r.c.Size() {
		r.c.WaitCaughtUp(i)
	}
}
