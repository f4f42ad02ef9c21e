package stateserver

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/holdfast-io/holdfast/coordinator"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/raftstore/keyed"
	"github.com/holdfast-io/holdfast/stateserver/backend"
)

// valuesBytes bounds the values of one Values message; each also takes
// valueOverheadBytes at most.
const valuesBytes, valueOverheadBytes = 1 << 20, 6

// getCall is a Get that waits for its turn.
type getCall struct {
	get     *holdfastv1.Get
	size    int64
	subtask uint64
	// atLeast is the index that this node must have applied: the token and
	// everything that was acknowledged on the stream. By then the subtask's
	// state here is what its client may rely on.
	atLeast uint64
	ctx     context.Context
	came    time.Time
	// state is where to read, of a backend on hosts; nil: in the log's state.
	state backend.State
	// failed is told why the values cannot be read.
	failed func(err error)
}

// onGet queues a Get. The caller holds mu.
func (x *session) onGet(g *holdfastv1.Get) {
	if !x.current(g.FencingToken, "Get") {
		return
	}
	if e := x.hold.shape.checkGet(g, x.limits); e != nil {
		x.fail(e)
		return
	}
	if x.hold.host != nil {
		x.getOnHost(g)
		return
	}
	size, waiting := int64(proto.Size(g)), x.getBytes.Load()
	if len(x.gets) == cap(x.gets) || waiting > 0 && waiting+size > maxGetBytesOpen {
		x.fail(tooManyGets(g, int64(len(x.gets)), waiting))
		return
	}
	x.getBytes.Add(size)
	// There is room: only this goroutine sends.
	x.gets <- &getCall{
		get: g, size: size, subtask: x.hold.subtask, atLeast: x.hold.ackedAt, ctx: x.hold.ctx, came: time.Now(),
		failed: func(err error) { x.fail(badGet(g, err)) },
	}
}

func badGet(g *holdfastv1.Get, err error) *holdfastv1.Error {
	return violation("5.2", fmt.Sprintf("Get %d: %s", g.RequestId, err))
}

// answerGets answers Gets in their order.
func (x *session) answerGets() {
	for {
		select {
		case c := <-x.gets:
			if err := x.awaitOwnWrites(c); err == nil {
				x.answerGet(c)
			}
			x.getBytes.Add(-c.size)
		case <-x.ctx.Done():
			return
		}
	}
}

// answerGet reads on this node and sends the values in pages.
func (x *session) answerGet(c *getCall) {
	now := x.s.clock.now().UnixMilli()
	page := &holdfastv1.Values{FencingToken: c.get.FencingToken, RequestId: c.get.RequestId, TimeMs: now}
	room := valuesBytes
	for i, sec := range c.get.Sections {
		lengths, keys := sec.KeyLengths, sec.Keys
		if room <= 0 {
			page, room = x.turnPage(c.ctx, page), valuesBytes
		}
		for {
			vals, err := x.readValues(c, sec, lengths, keys, room, now)
			if errors.Is(err, errGone) {
				return // follow tells the client what became of the subtask
			}
			if err != nil {
				c.failed(err)
				return
			}
			page.Sections = append(page.Sections, &holdfastv1.ValueSection{
				StateId: sec.StateId, Found: vals.Found, ValueLengths: vals.ValueLengths, Values: vals.Values, Section: uint32(i),
			})
			room -= len(vals.Values) + valueOverheadBytes*len(vals.Found)
			done := len(vals.Found)
			keys = keys[sum(lengths[:done]):]
			lengths = lengths[done:]
			if len(lengths) == 0 {
				break
			}
			page, room = x.turnPage(c.ctx, page), valuesBytes
		}
	}
	page.Last = true
	x.pushValues(c.ctx, page)
	x.s.metrics.getAnswered(c.came)
}

// turnPage sends a page and begins the next.
func (x *session) turnPage(ctx context.Context, page *holdfastv1.Values) *holdfastv1.Values {
	x.pushValues(ctx, page)
	return &holdfastv1.Values{FencingToken: page.FencingToken, RequestId: page.RequestId, TimeMs: page.TimeMs}
}

// errGone says that the attempt that asked is over.
var errGone = errors.New("the attempt is over")

// readValues reads under the token that asked: another attempt, or the end of the
// job, may have been applied since the Get came.
func (x *session) readValues(c *getCall, sec *holdfastv1.KeySection, lengths []uint32, keys []byte, room int, nowMs int64) (*keyed.Values, error) {
	vals := &keyed.Values{MaxBytes: max(room, 1), NowMs: nowMs}
	group := int64(keyed.ByHash)
	if sec.KeyGroup != nil {
		group = int64(*sec.KeyGroup)
	}
	if c.state != nil {
		if c.ctx.Err() != nil {
			return nil, errGone
		}
		return vals, c.state.Get(sec.StateId, group, lengths, keys, vals, nowMs)
	}
	var err error
	x.s.store.Read(func(m *coordinator.Machine, k *keyed.Store) {
		v, ok := m.Subtask(c.subtask)
		if !ok || v.Token != c.get.FencingToken || coordinator.Ended(v.JobStatus) {
			err = errGone
			return
		}
		err = k.Get(c.subtask, 0, sec.StateId, group, lengths, keys, vals)
	})
	return vals, err
}

// pushValues waits for room: values are answers that the client asked for, so
// a slow reader holds up only itself, until the attempt is over.
func (x *session) pushValues(ctx context.Context, v *holdfastv1.Values) {
	select {
	case x.values <- &holdfastv1.HostMessage{Message: &holdfastv1.HostMessage_Values{Values: v}}:
	case <-ctx.Done():
	}
}

func sum(lengths []uint32) int {
	n := 0
	for _, l := range lengths {
		n += int(l)
	}
	return n
}
