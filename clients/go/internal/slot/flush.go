package slot

import (
	"context"
	"fmt"
	"time"

	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// frame is a Flush, a CheckpointReady or a Finished that is not acknowledged.
// It is kept to be sent again, under the token of that time (rule 7.2).
type frame struct {
	seq     uint64
	message *holdfastv1.OperatorMessage
	// bytes is what it takes in the window.
	bytes int
}

// push gives a message the next seq and sends it. A stream that is gone is no
// error: the resume sends what the window holds.
func (a *attempt) push(f frame) {
	a.lastSeq = f.seq
	a.inFlight.frames = append(a.inFlight.frames, f)
	a.inFlight.bytes += f.bytes
	a.sendFrame(f)
}

func (a *attempt) sendFrame(f frame) bool {
	switch m := f.message.GetMessage().(type) {
	case *holdfastv1.OperatorMessage_Flush:
		m.Flush.FencingToken = a.token
	case *holdfastv1.OperatorMessage_CheckpointReady:
		m.CheckpointReady.FencingToken = a.token
	case *holdfastv1.OperatorMessage_Finished:
		m.Finished.FencingToken = a.token
	}
	return a.send(f.message)
}

// windowOpen: another frame of this size may be under way (rule 5.4).
func (a *attempt) windowOpen(size int) bool {
	l, w := a.slot.limits, &a.inFlight
	return len(w.frames) == 0 || len(w.frames) < l.inFlight && w.bytes+size <= l.inFlightBytes
}

// pump sends what may be sent: first what is sealed, and its CheckpointReady,
// then newer changes if it is time for them (rules 6.2 and 5.8).
func (a *attempt) pump() {
	if a.seal != nil && !a.pushFlushes() {
		return
	}
	if a.seal != nil && !a.ready() {
		return
	}
	a.noteDirty()
	if !a.flushing {
		tooMuch := a.store.UnflushedBytes() >= a.slot.cfg.DirtyBytes
		tooOld := !a.dirtySince.IsZero() && time.Since(a.dirtySince) >= a.slot.cfg.FlushDelay
		a.flushing = tooMuch || tooOld
	}
	if a.flushing && a.pushFlushes() {
		a.flushing = false
		a.dirtySince = time.Time{}
	}
}

// noteDirty keeps the time since when something is dirty.
func (a *attempt) noteDirty() {
	switch {
	case !a.store.Dirty():
		a.dirtySince = time.Time{}
	case a.dirtySince.IsZero():
		a.dirtySince = time.Now()
	}
}

// pushFlushes sends changes until there are none left to take (true) or the
// window is full.
func (a *attempt) pushFlushes() bool {
	for a.windowOpen(a.slot.limits.flush) {
		seq := a.lastSeq + 1
		f := a.store.NextFrame(seq, a.slot.limits.flush)
		if f == nil {
			break // nothing is left, or what is left waits for its Get
		}
		a.push(frame{seq: seq, bytes: f.Bytes, message: &holdfastv1.OperatorMessage{
			Message: &holdfastv1.OperatorMessage_Flush{Flush: &holdfastv1.Flush{Seq: seq, Sections: f.Sections}},
		}})
	}
	if a.seal != nil {
		return a.store.SealDone()
	}
	return !a.store.Dirty()
}

// acknowledge takes a cumulative acknowledgement (rules 5.5 and 6.3).
func (a *attempt) acknowledge(through uint64) error {
	if through > a.lastSeq {
		return internalFailure(fmt.Errorf("the host acknowledges seq %d, and %d was the last one sent", through, a.lastSeq))
	}
	w := &a.inFlight
	n := 0
	for n < len(w.frames) && w.frames[n].seq <= through {
		w.bytes -= w.frames[n].bytes
		w.frames[n] = frame{}
		n++
	}
	w.frames = w.frames[n:]
	a.store.Ack(through)
	return a.release(through)
}

// endBatch makes the results of the records so far visible: at once with
// checkpoints, otherwise once they are durable (rule 5.8).
func (a *attempt) endBatch(ctx context.Context) error {
	if !a.checkpoints() && a.store.Dirty() {
		a.flushing = true
	}
	a.pump()
	for !a.checkpoints() && a.flushing {
		if err := a.wait(ctx); err != nil {
			return err
		}
	}
	if a.checkpoints() {
		return a.writeOutputs()
	}
	for _, o := range a.task.Outputs() {
		if len(o.Buf) > 0 {
			a.outputs = append(a.outputs, pendingOutput{seq: a.lastSeq, w: o.W, buf: o.Buf})
			o.Buf = nil
		}
	}
	return a.release(a.acked())
}

// acked is the highest seq that is acknowledged.
func (a *attempt) acked() uint64 {
	if len(a.inFlight.frames) > 0 {
		return a.inFlight.frames[0].seq - 1
	}
	return a.lastSeq
}
