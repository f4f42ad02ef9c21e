package slot

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-io/holdfast/clients/go/internal/workingcopy"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// openGet is the question under way.
type openGet struct {
	id      uint64
	request *workingcopy.Request
}

// fetch asks for every key that is missing and waits for the answers. No record
// is processed meanwhile, so no key with a Get under way is (rule 5.3); between
// records a barrier is answered nevertheless.
func (a *attempt) fetch(ctx context.Context, wait func(context.Context) error) error {
	for {
		l := a.slot.limits
		// Half of a message leaves room for what lies between the keys.
		request := a.store.NextRequest(l.getKeys, l.message/2)
		if request == nil && !a.store.Waiting() {
			return nil
		}
		if request == nil {
			// Changes of the keys are in flight; their acknowledgements come first.
			if err := wait(ctx); err != nil {
				return err
			}
			continue
		}
		a.get = &openGet{request: request}
		a.ask()
		for !request.Done() {
			if err := wait(ctx); err != nil {
				return err
			}
		}
		a.get = nil
	}
}

// ask sends the open Get under a number of its own, so that an answer to an
// older one cannot be taken for it.
func (a *attempt) ask() {
	a.getID++
	a.get.id = a.getID
	a.send(&holdfastv1.OperatorMessage{Message: &holdfastv1.OperatorMessage_Get{Get: &holdfastv1.Get{
		FencingToken: a.token, RequestId: a.get.id, Sections: a.get.request.Sections(),
	}}})
}

// values fills what waits for this answer (rule 5.2).
func (a *attempt) values(v *holdfastv1.Values) error {
	if a.get == nil || v.GetRequestId() != a.get.id {
		return nil
	}
	a.store.SetTime(v.GetTimeMs())
	if err := a.get.request.Fill(v); err != nil {
		return internalFailure(err)
	}
	return nil
}

// fetchInRecord is fetch in the middle of a record: what must come between two
// records is put off. A program that is told to stop gets a moment to finish
// the record in hand (rule 8.3).
func (a *attempt) fetchInRecord() error {
	if a.stopped != nil {
		return a.stopped
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(a.ctx))
	defer cancel()
	defer context.AfterFunc(a.ctx, func() { time.AfterFunc(a.slot.drainWithin, cancel) })()
	if err := a.fetch(ctx, a.waitInRecord); err != nil {
		// Half a record must not be flushed, whatever ended it.
		a.stopped = err
		if errors.Is(err, errDrain) {
			a.stopped = a.end()
		}
		return a.stopped
	}
	return nil
}

// waitInRecord handles one message without touching the order of records.
func (a *attempt) waitInRecord(ctx context.Context) error {
	for {
		e, ok := a.slot.nextEvent()
		switch {
		case ok && betweenRecords(e):
			a.deferred = append(a.deferred, e)
			continue
		case ok:
			return a.handle(e)
		}
		select {
		case <-a.slot.inbox.wake:
		case <-ctx.Done():
			return errDrain
		}
	}
}

// betweenRecords: the event means something for the cut between two records.
func betweenRecords(e event) bool {
	if e.msg == nil {
		return false
	}
	switch e.msg.GetMessage().(type) {
	case *holdfastv1.HostMessage_Barrier,
		*holdfastv1.HostMessage_CheckpointAborted,
		*holdfastv1.HostMessage_CheckpointComplete:
		return true
	}
	return false
}
