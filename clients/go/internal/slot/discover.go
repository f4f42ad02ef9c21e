package slot

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-io/holdfast/clients/go/source"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// finders answer DiscoverSplits, each in a goroutine of its own, because asking
// the outside may take as long as the outside is down (rule 4.1).
type finders struct {
	mu      sync.Mutex
	running map[string]*finder
}

type finder struct{ cancel context.CancelFunc }

// start begins one search. Asked again for the same source on the same stream,
// the one under way answers.
func (f *finders) start(ctx context.Context, r *reader, ask *holdfastv1.DiscoverSplits) {
	src := r.session.cfg.Sources[ask.GetOperatorUid()]
	if src == nil {
		r.session.log.Error("asked for splits of an unknown operator", "operator", ask.GetOperatorUid())
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running[ask.GetOperatorUid()] != nil {
		return
	}
	if f.running == nil {
		f.running = map[string]*finder{}
	}
	ctx, cancel := context.WithCancel(ctx)
	one := &finder{cancel}
	f.running[ask.GetOperatorUid()] = one
	go func() {
		defer f.done(ask.GetOperatorUid(), one)
		found := r.session.discover(ctx, src, ask)
		if found == nil {
			return
		}
		r.session.send(r.gen, &holdfastv1.OperatorMessage{
			Message: &holdfastv1.OperatorMessage_SplitsFound{SplitsFound: found},
		})
	}()
}

func (f *finders) done(uid string, one *finder) {
	one.cancel()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running[uid] == one {
		delete(f.running, uid)
	}
}

// stop ends every search: the stream that asked is gone.
func (f *finders) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range f.running {
		one.cancel()
	}
	f.running = nil
}

// discover asks until there is an answer; nil if the stream ended first.
func (s *session) discover(ctx context.Context, src source.Source, ask *holdfastv1.DiscoverSplits) *holdfastv1.SplitsFound {
	found := &holdfastv1.SplitsFound{OperatorUid: ask.GetOperatorUid()}
	options := source.DiscoverOptions{ResolveOffsets: ask.GetResolveOffsets(), Logger: s.log}
	for {
		splits, err := src.DiscoverSplits(ctx, options)
		switch {
		case err == nil:
			for _, sp := range splits {
				found.Splits = append(found.Splits, splitProto(sp))
			}
			return found
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, source.ErrSourceNotFound), errors.Is(err, source.ErrPermanent):
			s.log.Error("no splits", "operator", ask.GetOperatorUid(), "error", err)
			found.Error = sourceError(err)
			// error.proto: SOURCE_NOT_FOUND names the topic.
			if spec, err := src.Spec(); err == nil && found.Error.Metadata == nil {
				found.Error.Metadata = map[string]string{"topic": strings.Join(spec.Topics, ",")}
			}
			return found
		}
		s.log.Warn("no splits yet, trying again", "operator", ask.GetOperatorUid(), "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

func splitProto(sp source.Split) *holdfastv1.Split {
	out := &holdfastv1.Split{Topic: sp.Topic, Partition: sp.Partition}
	if sp.Resolved {
		out.StartOffset = new(sp.StartOffset)
	}
	return out
}
