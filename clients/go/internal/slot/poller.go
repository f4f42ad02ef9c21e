package slot

import (
	"context"
	"fmt"
	"log/slog"
	"slices"

	"github.com/holdfast-io/holdfast/clients/go/source"
)

// poller reads a source in a goroutine of its own, one batch ahead of the
// processing, so that a barrier never waits for the outside.
type poller struct {
	cancel context.CancelFunc
	full   chan *polled
	empty  chan *polled
	reader source.Reader
	// usable is set by the processing goroutine once it knows of the reader.
	usable bool
}

// polled is one step of a reader: that it opened, a batch, or an error.
type polled struct {
	opened bool
	batch  source.Batch
	// ends are the positions behind the batch.
	ends []source.Position
	err  error
}

// startPoller begins reading. The reader goes on until cancel, also while the
// program drains.
func startPoller(ctx context.Context, a *attempt, src source.Source) *poller {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p := &poller{cancel: cancel, full: make(chan *polled), empty: make(chan *polled, 2)}
	p.empty <- &polled{}
	p.empty <- &polled{}
	options := source.OpenOptions{
		Splits: slices.Clone(a.splits), CheckpointsEnabled: a.checkpoints(), Logger: a.log,
	}
	max := a.slot.cfg.BatchRecords
	a.slot.readers.Go(func() { p.run(ctx, src, options, max) })
	return p
}

func (p *poller) run(ctx context.Context, src source.Source, options source.OpenOptions, max int) {
	// The reader is not closed before the attempt is over, because it may be
	// asked to commit until then.
	defer func() {
		<-ctx.Done()
		if p.reader != nil {
			closeReader(p.reader, options.Logger)
		}
	}()
	defer func() {
		if r := recover(); r != nil {
			p.deliver(ctx, &polled{err: fmt.Errorf("the source panicked: %v", r)})
		}
	}()
	reader, err := src.Open(ctx, options)
	if err != nil {
		p.deliver(ctx, &polled{err: err})
		return
	}
	p.reader = reader
	ends := reader.Positions(nil)
	if !p.deliver(ctx, &polled{opened: true, ends: slices.Clone(ends)}) {
		return
	}
	p.poll(ctx, reader, max, ends)
}

func (p *poller) poll(ctx context.Context, reader source.Reader, max int, ends []source.Position) {
	for {
		var b *polled
		select {
		case b = <-p.empty:
		case <-ctx.Done():
			return
		}
		b.batch.Reset()
		for b.batch.Len() == 0 && b.err == nil && ctx.Err() == nil {
			b.err = reader.Poll(ctx, &b.batch, max)
			b.ends = reader.Positions(b.ends[:0])
			if !slices.Equal(b.ends, ends) {
				break
			}
		}
		ends = append(ends[:0], b.ends...)
		if !p.deliver(ctx, b) || b.err != nil {
			return
		}
	}
}

func (p *poller) deliver(ctx context.Context, b *polled) bool {
	select {
	case p.full <- b:
		return true
	case <-ctx.Done():
		return false
	}
}

func (p *poller) giveBack(b *polled) {
	if b.err == nil {
		p.empty <- b
	}
}

// commitForDisplay does nothing before the reader is open.
func (p *poller) commitForDisplay(positions []source.Position) {
	if p.usable {
		p.reader.CommitForDisplay(slices.Clone(positions))
	}
}

func closeReader(r source.Reader, log *slog.Logger) {
	defer func() {
		if v := recover(); v != nil {
			log.Error("the source panicked in Close", "panic", v)
		}
	}()
	if err := r.Close(); err != nil {
		log.Warn("the source did not close well", "error", err)
	}
}
