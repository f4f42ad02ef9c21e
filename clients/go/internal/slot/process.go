package slot

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/holdfast-io/holdfast/clients/go/source"
)

// slowBatch is when the results of a batch are wanted before its end.
const slowBatch = 100 * time.Millisecond

// handlePolled processes what the poller delivered.
func (a *attempt) handlePolled(ctx context.Context, p *polled) error {
	if p.opened {
		a.opened(p)
		return nil
	}
	if err := a.processBatch(ctx, &p.batch); err != nil {
		return err
	}
	a.advance(p.ends)
	err := p.err
	a.poller.giveBack(p)
	if err := a.endBatch(ctx); err != nil {
		return err
	}
	a.store.Evict()
	switch {
	case errors.Is(err, io.EOF):
		return a.finishUp(ctx)
	case err != nil:
		return sourceFailure(err)
	}
	return nil
}

// opened learns where the splits without a start offset begin (rule 4.3).
func (a *attempt) opened(p *polled) {
	a.poller.usable = true
	if a.unresolved {
		copy(a.positions, p.ends)
		a.unresolved = false
	}
	if a.assign.GetRestoredCheckpointId() != 0 {
		// They are the positions of a decided checkpoint (rule 6.7).
		a.poller.commitForDisplay(a.positions)
	}
}

// advance takes the positions behind a whole batch, which may lie beyond its
// last records where offsets have gaps, and never before them.
func (a *attempt) advance(ends []source.Position) {
	for i, end := range ends {
		if i < len(a.positions) && end.NextOffset > a.positions[i].NextOffset {
			a.positions[i].NextOffset = end.NextOffset
		}
	}
}

// processBatch takes the records in runs: a run ends with the batch, or early
// where somebody wants attention while its keys are collected.
func (a *attempt) processBatch(ctx context.Context, b *source.Batch) error {
	a.slowTimer.Reset(slowBatch)
	defer a.slowTimer.Stop()
	defer a.task.Reset()
	for from := 0; from < b.Len(); {
		to, err := a.collect(b, from)
		if err != nil {
			return err
		}
		a.task.LookUp()
		if err := a.fetch(ctx, a.wait); err != nil {
			return err
		}
		if a.slow.Load() {
			// The wait took the timer's call for attention; nobody else would
			// see it, and the results of a slow batch would wait for its end.
			a.slot.inbox.poke()
		}
		for i := from; i < to; i++ {
			if err := a.betweenRecords(ctx); err != nil {
				return err
			}
			if err := a.processRecord(b, i, i-from); err != nil {
				return err
			}
		}
		from = to
	}
	return nil
}

// collect returns where the run ends.
func (a *attempt) collect(b *source.Batch, from int) (int, error) {
	a.task.Reset()
	for i := from; i < b.Len(); i++ {
		if i > from && a.slot.inbox.attention.Load() {
			return i, nil
		}
		sp := &a.splits[b.Split(i)]
		a.userCode = true
		err := a.task.Collect(i-from, source.Record{
			Topic: sp.Topic, Partition: sp.Partition, Offset: b.Offset(i),
			TimestampMillis: b.TimestampMillis(i), Key: b.Key(i), Value: b.Value(i),
		})
		a.userCode = false
		if err != nil {
			return 0, userFailure(err)
		}
	}
	return b.Len(), nil
}

func (a *attempt) processRecord(b *source.Batch, i, n int) error {
	a.userCode = true
	err := a.task.Process(n)
	a.userCode = false
	switch {
	case a.stopped != nil:
		return a.stopped
	case err != nil:
		return userFailure(err)
	}
	p := &a.positions[b.Split(i)]
	p.NextOffset, p.LeaderEpoch = b.Offset(i)+1, b.LeaderEpoch(i)
	return nil
}

// betweenRecords is where a cut may be made. It costs a load where nobody wants
// anything.
func (a *attempt) betweenRecords(ctx context.Context) error {
	full := a.store.UnflushedBytes() >= a.slot.cfg.DirtyBytes
	if !full && !a.halts() && !a.slot.inbox.attention.Load() {
		return nil
	}
	if err := a.attend(ctx); err != nil {
		return err
	}
	for a.halts() || a.store.UnflushedBytes() >= a.slot.cfg.DirtyBytes {
		if err := a.wait(ctx); err != nil {
			return err
		}
	}
	if a.slow.Swap(false) {
		a.slowTimer.Reset(slowBatch)
		return a.endBatch(ctx)
	}
	return nil
}

// finishUp flushes everything, waits until the output is released and safe, says
// Finished and waits until that is durable (rule 8.2). Barriers are answered before it.
func (a *attempt) finishUp(ctx context.Context) error {
	var marks []mark
	for marked := false; ; {
		a.flushing = true
		a.pump()
		if !a.halts() && a.seal == nil && !a.store.Dirty() && len(a.inFlight.frames) == 0 {
			if !marked { // all output is released
				marks, marked = a.markSinks(true), true
			}
			if safe(marks) {
				break
			}
		}
		if err := a.wait(ctx); err != nil {
			return err
		}
	}
	if err := a.finish(); err != nil {
		return err
	}
	for a.acked() < a.lastSeq {
		if err := a.wait(ctx); err != nil {
			return err
		}
	}
	return errFinished
}
