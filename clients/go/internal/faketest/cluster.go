package faketest

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Faults are how often something goes wrong, as shares of messages up, or of
// ticks where nothing is said else.
type Faults struct {
	// Lose breaks the stream before a message is looked at, LoseAnswer after.
	Lose, LoseAnswer float64
	// FenceOwn says Fenced with the stream's own attempt.
	FenceOwn float64
	// HoldAck keeps an acknowledgement back until the next one, or the next tick.
	HoldAck float64
	// Abort is the share of ticks that abort the pending checkpoint, Reassign of
	// those that give the subtask to a standby.
	Abort, Reassign float64
}

// framesInFlight is the window that clients are told.
const framesInFlight = 3

// Cluster is one job with one subtask, and nodes that keep the rules of
// docs/protocol.md while they break streams.
type Cluster struct {
	holdfastv1.UnimplementedOperatorServiceServer
	holdfastv1.UnimplementedJobServiceServer
	Addresses []string
	Splits    []*holdfastv1.Split
	Faults    Faults
	// Checkpoints is whether the job has them.
	Checkpoints bool
	// CoPartitioned is what Assign says.
	CoPartitioned bool

	t   testing.TB
	mu  sync.Mutex
	rng *rand.Rand

	spec     *holdfastv1.JobSpec
	index    uint64
	attempt  uint64
	token    uint64
	lastSeq  uint64
	instance string
	owner    *link
	standby  map[*link]bool
	links    map[*link]bool
	state    map[string]string
	versions map[uint64]Version
	pending  uint64
	lastID   uint64
	newest   uint64
	// Counts of what happened, to see that the faults did.
	Resumes, Assigns, Completed, Breaks int
	Final                               *Version
	finished                            bool
}

// Version is state and positions at one cut.
type Version struct {
	State     map[string]string
	Positions []*holdfastv1.Position
}

// link is one stream.
type link struct {
	stream holdfastv1.OperatorService_RunServer
	hello  *holdfastv1.Hello
	token  uint64
	fenced bool
	// acked is the last seq that was acknowledged on this stream.
	acked    uint64
	down     chan *holdfastv1.HostMessage
	broken   chan struct{}
	breaking sync.Once
}

// NewCluster starts nodes that are stopped with the test.
func NewCluster(t testing.TB, nodes int, seed uint64) *Cluster {
	t.Helper()
	c := &Cluster{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), standby: map[*link]bool{}, links: map[*link]bool{},
		state: map[string]string{}, versions: map[uint64]Version{}, Checkpoints: true,
	}
	for range nodes {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatalf("listen: %v", err)
		}
		s := grpc.NewServer()
		holdfastv1.RegisterOperatorServiceServer(s, c)
		holdfastv1.RegisterJobServiceServer(s, c)
		go func() { _ = s.Serve(l) }()
		t.Cleanup(s.Stop)
		c.Addresses = append(c.Addresses, l.Addr().String())
	}
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	go c.tick(stop)
	return c
}

// Submit implements JobService.
func (c *Cluster) Submit(_ context.Context, r *holdfastv1.SubmitRequest) (*holdfastv1.SubmitResponse, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spec = r.GetSpec()
	return &holdfastv1.SubmitResponse{JobId: "job"}, nil
}

// Run implements OperatorService.
func (c *Cluster) Run(s holdfastv1.OperatorService_RunServer) error {
	first, err := s.Recv()
	if err != nil {
		return err
	}
	l := &link{stream: s, hello: first.GetHello(), down: make(chan *holdfastv1.HostMessage, 1<<16), broken: make(chan struct{})}
	defer c.leave(l)
	go l.write()
	l.send(&holdfastv1.HostMessage_Welcome{Welcome: &holdfastv1.Welcome{
		HeartbeatIntervalMs: 1000, SessionTimeoutMs: 10000, Addresses: c.Addresses,
		Limits: &holdfastv1.Limits{FlushBytes: 256, FlushesInFlight: framesInFlight, FlushBytesInFlight: 1024, GetKeys: 20},
	}})
	c.hello(l)
	up := make(chan *holdfastv1.OperatorMessage)
	go func() {
		defer close(up)
		for {
			m, err := s.Recv()
			if err != nil {
				return
			}
			select {
			case up <- m:
			case <-l.broken:
				return
			}
		}
	}()
	for {
		select {
		case <-l.broken:
			return status.Error(codes.Unavailable, "broken")
		case m, ok := <-up:
			if !ok {
				return nil
			}
			c.handle(l, m)
		}
	}
}

func (l *link) write() {
	for {
		select {
		case m := <-l.down:
			if l.stream.Send(m) != nil {
				return
			}
		case <-l.broken:
			return
		case <-l.stream.Context().Done():
			return
		}
	}
}

func (l *link) send(m any) {
	msg := &holdfastv1.HostMessage{}
	switch m := m.(type) {
	case *holdfastv1.HostMessage_Welcome:
		msg.Message = m
	case *holdfastv1.HostMessage_Assign:
		msg.Message = m
	case *holdfastv1.HostMessage_Resume:
		msg.Message = m
	case *holdfastv1.HostMessage_Fenced:
		msg.Message = m
	case *holdfastv1.HostMessage_Values:
		msg.Message = m
	case *holdfastv1.HostMessage_FlushAck:
		msg.Message = m
	case *holdfastv1.HostMessage_Barrier:
		msg.Message = m
	case *holdfastv1.HostMessage_CheckpointAborted:
		msg.Message = m
	case *holdfastv1.HostMessage_CheckpointComplete:
		msg.Message = m
	case *holdfastv1.HostMessage_Revoke:
		msg.Message = m
	case *holdfastv1.HostMessage_JobEnded:
		msg.Message = m
	case *holdfastv1.HostMessage_HeartbeatEcho:
		msg.Message = m
	}
	select {
	case l.down <- msg:
	default:
	}
}

func (l *link) cut() { l.breaking.Do(func() { close(l.broken) }) }

// leave forgets a stream; its subtask waits for a resume or for another one.
func (c *Cluster) leave(l *link) {
	l.cut()
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.standby, l)
	delete(c.links, l)
	if c.owner == l {
		c.owner = nil
	}
}

func (c *Cluster) hello(l *link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.links[l] = true
	for other := range c.links {
		if other != l && other.hello.GetInstanceId() == l.hello.GetInstanceId() {
			other.cut()
		}
	}
	resume := l.hello.GetResume()
	switch {
	case c.finished:
		c.end(l)
	case resume == nil:
		c.standby[l] = true
		c.loseAttemptOf(l)
	case resume.GetAttempt() == c.attempt && c.instance == l.hello.GetInstanceId():
		c.index++
		c.token, c.owner, l.token, l.acked = c.index, l, c.index, c.lastSeq
		c.Resumes++
		l.send(&holdfastv1.HostMessage_Resume{Resume: &holdfastv1.Resume{
			FencingToken: c.token, Attempt: c.attempt, LastSeq: c.lastSeq, LatestCompletedId: c.newest,
		}})
		c.sendBarrier()
	default:
		c.standby[l] = true
		c.loseAttemptOf(l)
		l.send(&holdfastv1.HostMessage_Fenced{Fenced: &holdfastv1.Fenced{}})
	}
	c.place()
}

// loseAttemptOf gives up the current attempt if it is of the slot that now says
// Hello without knowing it: it went to a stream of that slot that had broken.
func (c *Cluster) loseAttemptOf(l *link) {
	if c.instance == l.hello.GetInstanceId() {
		c.instance, c.owner = "", nil
	}
}

// place assigns the subtask where nobody has it.
func (c *Cluster) place() {
	if c.instance != "" || c.finished || c.spec == nil {
		return
	}
	for l := range c.standby {
		c.assign(l)
		return
	}
}

// assign begins a new attempt from the newest completed checkpoint.
func (c *Cluster) assign(l *link) {
	delete(c.standby, l)
	c.index++
	c.attempt, c.token, c.lastSeq = c.index, c.index, 0
	c.instance, c.owner, l.token, l.acked = l.hello.GetInstanceId(), l, c.index, 0
	c.pending = 0
	c.Assigns++
	a := &holdfastv1.Assign{
		FencingToken: c.token, Attempt: c.attempt, OperatorUid: c.spec.GetOperators()[0].GetUid(),
		Parallelism: 1, MaxParallelism: 128, KeyGroupEnd: 128, Splits: c.Splits,
		RestoredCheckpointId: c.newest, LatestCompletedId: c.newest, CheckpointsEnabled: c.Checkpoints,
		CoPartitioned: c.CoPartitioned,
	}
	for _, op := range c.spec.GetOperators() {
		for _, st := range op.GetStates() {
			a.StateIds = append(a.StateIds, &holdfastv1.StateId{OperatorUid: op.GetUid(), StateName: st.GetName(), Id: uint32(len(a.StateIds) + 1)})
		}
	}
	if c.Checkpoints {
		v := c.versions[c.newest]
		c.state = maps.Clone(v.State)
		if c.state == nil {
			c.state = map[string]string{}
		}
		if v.Positions != nil {
			a.Splits = nil
			for _, p := range v.Positions {
				a.Splits = append(a.Splits, &holdfastv1.Split{Topic: p.GetTopic(), Partition: p.GetPartition(), StartOffset: new(p.GetNextOffset())})
			}
		}
	}
	l.send(&holdfastv1.HostMessage_Assign{Assign: a})
}

func (c *Cluster) end(l *link) {
	l.send(&holdfastv1.HostMessage_JobEnded{JobEnded: &holdfastv1.JobEnded{Status: holdfastv1.JobStatus_JOB_STATUS_FINISHED}})
}

func (c *Cluster) chance(p float64) bool { return p > 0 && c.rng.Float64() < p }

// Fingerprint names one cell of state.
func Fingerprint(state uint32, group *uint32, key string) string {
	if group == nil {
		return fmt.Sprintf("%d/%s", state, key)
	}
	return fmt.Sprintf("%d/%d/%s", state, *group, key)
}

// Versions are the completed checkpoints.
func (c *Cluster) Versions() map[uint64]Version {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.versions)
}

// tick begins and aborts checkpoints and moves the subtask.
func (c *Cluster) tick(stop chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(3 * time.Millisecond):
		}
		c.mu.Lock()
		c.tickLocked()
		c.mu.Unlock()
	}
}

func (c *Cluster) tickLocked() {
	if c.owner == nil || c.finished {
		return
	}
	if l := c.owner; l.acked < c.lastSeq && l.token == c.token {
		c.ack(l, l.send)
	}
	switch {
	case c.chance(c.Faults.Reassign) && len(c.standby) > 0:
		old := c.owner
		for l := range c.standby {
			c.assign(l)
			break
		}
		// The old one may learn of it late, or only by a Fenced.
		if c.chance(0.5) {
			c.standby[old] = true
			old.send(&holdfastv1.HostMessage_Revoke{Revoke: &holdfastv1.Revoke{FencingToken: old.token}})
		}
	case !c.Checkpoints:
	case c.pending != 0 && c.chance(c.Faults.Abort):
		c.owner.send(&holdfastv1.HostMessage_CheckpointAborted{CheckpointAborted: &holdfastv1.CheckpointAborted{
			FencingToken: c.token, CheckpointId: c.pending,
		}})
		c.pending = 0
	case c.pending == 0:
		c.lastID++
		c.pending = c.lastID
		c.sendBarrier()
	}
}

func (c *Cluster) sendBarrier() {
	if c.pending != 0 && c.owner != nil {
		c.owner.send(&holdfastv1.HostMessage_Barrier{Barrier: &holdfastv1.Barrier{FencingToken: c.token, CheckpointId: c.pending}})
	}
}
