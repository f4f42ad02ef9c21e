package history

import (
	"fmt"

	"github.com/anishathalye/porcupine"
)

// Submit submits the one specification of a history's job.
type Submit struct{ Submission string }

// Cancel ends the job under a request id, which a client may use again.
type Cancel struct{ Request string }

// Describe reads the newest job of the name.
type Describe struct{}

// List reads all of them.
type List struct{}

// Reads implements Input.
func (Submit) Reads() bool   { return false }
func (Cancel) Reads() bool   { return false }
func (Describe) Reads() bool { return true }
func (List) Reads() bool     { return true }

// Reason is the output of a call that the log refused: the name of an
// ErrorReason without its prefix.
type Reason string

// Submitted is the output of a Submit that succeeded. An empty job id is one that
// no answer named.
type Submitted struct{ JobID string }

// Canceled is the output of a Cancel that succeeded.
type Canceled struct{}

// Described is the output of Describe.
type Described struct {
	JobID, Submission string
	Ended             bool
}

// Listed is how many jobs of that name there are, and which one goes on.
type Listed struct {
	Jobs    int
	Running string
}

// jobOfName is the newest job of the history's name.
type jobOfName struct {
	jobs              int
	id, submission    string
	ended             bool
	canceledByRequest string
}

// Jobs is what the administration of jobs of one name is to its callers
// (docs/protocol.md; architecture, invariant 6): a submission joins the job
// that goes on or makes a new one, an ended one stays ended, and a request id
// gets one answer however often it is used.
var Jobs = porcupine.Model{
	Init: func() any { return jobOfName{} },
	Step: func(state, input, output any) (bool, any) {
		s := state.(jobOfName)
		switch in := input.(type) {
		case Submit:
			return s.submit(in, output)
		case Cancel:
			return s.cancel(in, output)
		case Describe:
			return s.describe(output)
		default:
			return s.list(output)
		}
	},
	DescribeOperation: func(input, output any) string {
		return fmt.Sprintf("%T%v -> %T%v", input, input, output, output)
	},
	DescribeState: func(state any) string { return fmt.Sprintf("%+v", state) },
}

func (s jobOfName) running() bool { return s.jobs > 0 && !s.ended }

// named compares an id with the job's, which becomes known by it.
func (s jobOfName) named(id string) (bool, jobOfName) {
	if s.id == "" {
		s.id = id
	}
	return s.id == id, s
}

func (s jobOfName) submit(in Submit, output any) (bool, any) {
	makes := s.jobs == 0 || s.ended && in.Submission != s.submission
	made := jobOfName{jobs: s.jobs + 1, submission: in.Submission}
	switch out := output.(type) {
	case Submitted:
		if makes {
			made.id = out.JobID
			return out.JobID != s.id, made
		}
		ok, s := s.named(out.JobID)
		return ok && !s.ended, s
	case Reason:
		return out == "JOB_TERMINATED" && s.ended && !makes, s
	}
	if makes {
		return true, made
	}
	return true, s
}

func (s jobOfName) cancel(in Cancel, output any) (bool, any) {
	again := s.ended && s.canceledByRequest == in.Request
	ends := s.running()
	if ends && output != nil && output != (Canceled{}) {
		return false, s
	}
	if ends {
		s.ended, s.canceledByRequest = true, in.Request
	}
	switch out := output.(type) {
	case Canceled:
		return ends || again, s
	case Reason:
		return out == "JOB_STATE" && s.ended && !again || out == "JOB_NOT_FOUND" && s.jobs == 0, s
	}
	return true, s
}

func (s jobOfName) describe(output any) (bool, any) {
	out, ok := output.(Described)
	if !ok {
		return s.jobs == 0 && output == Reason("JOB_NOT_FOUND"), s
	}
	same, s := s.named(out.JobID)
	return s.jobs > 0 && same && out.Ended == s.ended && out.Submission == s.submission, s
}

func (s jobOfName) list(output any) (bool, any) {
	out := output.(Listed)
	if !s.running() {
		return out.Jobs == s.jobs && out.Running == "", s
	}
	same, s := s.named(out.Running)
	return out.Jobs == s.jobs && same, s
}
