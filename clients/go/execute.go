package holdfast

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/holdfast-io/holdfast/clients/go/internal/slot"
	"github.com/holdfast-io/holdfast/clients/go/source"
	"github.com/holdfast-io/holdfast/internal/version"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Version is the version of this client.
const Version = version.Version

const (
	submitTimeout = 10 * time.Second
	// maxMessage is above what any host sends: the limit of a message and what
	// lies around it.
	maxMessage = 16 << 20
)

// JobError tells that the job ended otherwise than by finishing.
type JobError struct {
	Status holdfastv1.JobStatus
	// Reason is why; it may be nil.
	Reason *holdfastv1.Error
}

// Error implements error.
func (e *JobError) Error() string {
	if e.Reason == nil {
		return "the job ended: " + e.statusName()
	}
	return fmt.Sprintf("the job ended: %s: %s: %s", e.statusName(), slot.ReasonName(e.Reason.GetReason()), e.Reason.GetMessage())
}

func (e *JobError) statusName() string { return strings.TrimPrefix(e.Status.String(), "JOB_STATUS_") }

// StatusError tells that a node refuses the job or this client, and that trying
// again is of no use.
type StatusError struct {
	Reason   holdfastv1.ErrorReason
	Message  string
	Metadata map[string]string
}

// Error implements error.
func (e *StatusError) Error() string {
	return fmt.Sprintf("%s: %s", slot.ReasonName(e.Reason), e.Message)
}

// Execute submits the job, or joins it where it runs already, and processes
// what this process is assigned. It returns nil when the job has FINISHED.
//
// HOLDFAST_JOB_NAME, if set, takes the place of name. SIGINT, SIGTERM and the
// end of ctx let the record in hand be finished; the job itself goes on, and
// waits for another process.
//
// # Errors
//
// *JobError where the job ended otherwise, *StatusError where a node refuses it,
// ctx.Err() where the program was told to stop, any other where the program is
// not one that can run.
func (e *StreamExecutionEnvironment) Execute(ctx context.Context, name string) error {
	if e.jobName != "" {
		name = e.jobName
	}
	spec, err := e.spec(name)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once.
	defer context.AfterFunc(ctx, stop)()

	addresses := slot.NewAddresses(e.addresses)
	jobID, err := e.submit(ctx, addresses, spec)
	if err != nil {
		return err
	}
	return e.runSlots(ctx, addresses, spec, jobID)
}

func (e *StreamExecutionEnvironment) dial(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient(address,
		grpc.WithTransportCredentials(e.credentials()),
		grpc.WithDisableRetry(),
		grpc.WithInitialWindowSize(1<<20),
		grpc.WithInitialConnWindowSize(4<<20),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithUnaryInterceptor(refuseLarge),
	)
}

// submit asks one node after the other until one answers.
func (e *StreamExecutionEnvironment) submit(ctx context.Context, addresses *slot.Addresses, spec *holdfastv1.JobSpec) (string, error) {
	request := &holdfastv1.SubmitRequest{Spec: spec, SubmissionId: e.submissionID, Restore: e.restore}
	var logged time.Time
	for i := 0; ; i++ {
		address := addresses.At(i)
		answer, err := e.submitTo(ctx, address, request)
		switch {
		case err == nil:
			e.log.Info("submitted", "job", spec.GetName(), "job_id", answer.GetJobId(), "joined", answer.GetJoined())
			return answer.GetJobId(), nil
		case ctx.Err() != nil:
			return "", ctx.Err()
		case !mayTryAgain(err):
			f := slot.NewFatal(err)
			return "", &submitError{spec.GetName(), &StatusError{f.Reason, f.Message, f.Metadata}}
		}
		if time.Since(logged) > 10*time.Second {
			logged = time.Now()
			e.log.Warn("no answer to Submit, trying again", "address", address, "error", err)
		}
		wait := time.Duration(0)
		if (i+1)%addresses.Len() == 0 {
			wait = min(50*time.Millisecond<<min((i+1)/addresses.Len(), 5), time.Second)
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(wait):
		}
	}
}

func (e *StreamExecutionEnvironment) submitTo(ctx context.Context, address string, request *holdfastv1.SubmitRequest) (*holdfastv1.SubmitResponse, error) {
	conn, err := e.dial(address)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", address, err)
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, submitTimeout)
	defer cancel()
	return holdfastv1.NewJobServiceClient(conn).Submit(ctx, request)
}

// mayTryAgain: sending the same submission again is safe whatever became of it.
func mayTryAgain(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded:
		return true
	}
	return false
}

// runSlots runs every slot until the job ends.
func (e *StreamExecutionEnvironment) runSlots(ctx context.Context, addresses *slot.Addresses, spec *holdfastv1.JobSpec, jobID string) error {
	cfg := slot.Config{
		Dial: e.dial, Addresses: addresses, JobID: jobID, ProcessID: e.processID,
		ClientName: "holdfast-go", Version: Version, Logger: e.log, WorkingCopyBytes: e.copyBytes, FlushDelay: e.flushDelay,
		Sources: map[string]source.Source{},
	}
	p := &program{jobName: spec.GetName(), sources: map[string]*node{}}
	cfg.Program = p
	for _, n := range e.nodes {
		cfg.OperatorUIDs = append(cfg.OperatorUIDs, n.uid)
		if n.source != nil {
			cfg.Sources[n.uid] = n.source
			p.sources[n.uid] = n
		}
	}
	slots := e.slots
	if slots == 0 {
		slots = e.parallelism
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	results := make([]error, slots)
	for i := range slots {
		wg.Go(func() {
			ended, err := slot.New(cfg).Run(ctx)
			results[i] = slotResult(ended, err)
			// One slot knows the end of the job as well as all of them.
			cancel(errJobOver)
		})
	}
	wg.Wait()
	return firstResult(results)
}

var errJobOver = errors.New("another slot ended")

func slotResult(ended *holdfastv1.JobEnded, err error) error {
	var fatal *slot.FatalError
	switch {
	case errors.As(err, &fatal):
		return &StatusError{fatal.Reason, fatal.Message, fatal.Metadata}
	case err != nil:
		return err
	case ended.GetStatus() == holdfastv1.JobStatus_JOB_STATUS_FINISHED:
		return nil
	}
	return &JobError{Status: ended.GetStatus(), Reason: ended.GetReason()}
}

// firstResult is the result of a slot that ended by itself; the others were only
// told to stop.
func firstResult(results []error) error {
	for _, err := range results {
		if !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
	return results[0]
}
