package cli

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/bug"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/jobs"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/procs"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/render"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/supervise"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

const (
	// jobPoll is the pause between two looks at the job.
	jobPoll = 500 * time.Millisecond
	// leaveLimit is how long processes may take to end by themselves once the
	// job has ended, which its hosts tell them.
	leaveLimit = 5 * time.Second
	// overLimit bounds the look at the job before a restart.
	overLimit = 2 * time.Second
	// hopeless is how many failures in a row end a run that has no job.
	hopeless = 5
	// refusedCode is the exit code of a program whose job is refused for good,
	// EX_CONFIG of sysexits.h: starting it again changes nothing.
	refusedCode = 78
)

// runner is one `holdfast run`: the supervisor and the job that it serves.
type runner struct {
	app        *app
	cluster    *connect.Cluster
	supervisor *supervise.Supervisor
	// jobName is --job, or "": then the job is the one that appears.
	jobName string
	// before has the jobs that existed before the run, by id, and whether
	// they had ended.
	before map[string]bool

	mu    sync.Mutex
	jobID string
	last  *holdfastv1.JobDescription
	// ended is set when the job was seen to have ended.
	ended bool
	// gaveUp is set when the program failed as soon as it started, refused when it
	// said that its job is refused for good.
	gaveUp, refused bool
	// warned is the status that the person was told last.
	warned holdfastv1.JobStatus
}

// lookBefore notes the jobs that are there. It also finds out at once that no
// node answers.
func (r *runner) lookBefore(ctx context.Context) error {
	progress := render.StartProgress(r.app.stderr, "looking for the cluster")
	defer progress.Stop()
	list, err := jobs.List(ctx, r.cluster)
	if err != nil {
		return err
	}
	r.before = map[string]bool{}
	for _, j := range list {
		r.before[j.GetJobId()] = jobs.Ended(j.GetStatus())
	}
	return nil
}

func (r *runner) report(ctx context.Context, processID string) error {
	return jobs.ReportExit(ctx, r.cluster, processID)
}

// run supervises until the job has ended, the processes are done, or a signal
// came.
func (r *runner) run(ctx context.Context) error {
	kill := r.supervisor.KillNow
	r.app.onSecondSignal.Store(&kill)
	work, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	bug.Go(func() { done <- r.supervisor.Run(work) })
	watched := make(chan struct{})
	bug.Go(func() {
		defer close(watched)
		r.watch(work)
	})
	select {
	case err := <-done:
		stop()
		<-watched
		return r.outcome(ctx, err)
	case <-watched:
	}
	// The job has ended, or a signal came. In the first case the processes
	// know it too and are given the time to say goodbye.
	if ctx.Err() == nil {
		select {
		case err := <-done:
			return r.outcome(ctx, err)
		case <-ctx.Done():
		case <-time.After(leaveLimit):
		}
	}
	stop()
	return r.outcome(ctx, <-done)
}

// watch returns when the job has ended or ctx has.
func (r *runner) watch(ctx context.Context) {
	for jobs.Pause(ctx, jobPoll) == nil {
		if r.look(ctx) {
			return
		}
	}
}

// look asks for the job once and reports whether it has ended. While nobody
// answers it has not.
func (r *runner) look(ctx context.Context) bool {
	r.mu.Lock()
	id := r.jobID
	r.mu.Unlock()
	if id == "" {
		if id = r.find(ctx); id == "" {
			return false
		}
	}
	job, err := jobs.Describe(ctx, r.cluster, id)
	if err != nil {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.jobID, r.last, r.ended = id, job, jobs.Ended(job.GetSummary().GetStatus())
	r.warn(job)
	return r.ended
}

// over tells the supervisor whether a process is still needed. One that was
// asked to stop ends well while the job goes on: then it is. Without a job it
// is not: nothing is there that a restart could save, and only a failure may
// be worth a few more tries.
func (r *runner) over(ctx context.Context, end procs.Exit, ends int) bool {
	r.mu.Lock()
	known := r.ended
	r.mu.Unlock()
	if known {
		return true
	}
	ctx, cancel := context.WithTimeout(ctx, overLimit)
	defer cancel()
	if r.look(ctx) {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if end.Code == refusedCode && end.Signal == 0 {
		r.refused = true
		return true
	}
	if r.last != nil {
		return false
	}
	r.gaveUp = !end.OK() && ends >= hopeless
	return end.OK() || r.gaveUp
}

// find looks for the job of this run.
func (r *runner) find(ctx context.Context) string {
	list, err := jobs.List(ctx, r.cluster)
	if err != nil {
		return ""
	}
	if id := r.choose(list); id != "" {
		return id
	}
	return r.chooseEnded(list)
}

// choose takes the job of --job's name that had not ended before the run, or
// without a name the only job that is new. Of several it takes none: the
// processes' exit codes decide then.
func (r *runner) choose(list []*holdfastv1.JobSummary) string {
	var fit []string
	for _, j := range list {
		hadEnded, old := r.before[j.GetJobId()]
		switch {
		case old && hadEnded:
		case r.jobName != "" && j.GetName() == r.jobName, r.jobName == "" && !old:
			fit = append(fit, j.GetJobId())
		}
	}
	if len(fit) == 1 {
		return fit[0]
	}
	return ""
}

// chooseEnded takes the only job that went on before the run and has ended
// since: a run without --job that joined a job knows it only at its end.
func (r *runner) chooseEnded(list []*holdfastv1.JobSummary) string {
	var fit []string
	for _, j := range list {
		if hadEnded, old := r.before[j.GetJobId()]; r.jobName == "" && old && !hadEnded && jobs.Ended(j.GetStatus()) {
			fit = append(fit, j.GetJobId())
		}
	}
	if len(fit) == 1 {
		return fit[0]
	}
	return ""
}

// warn tells a person of a status in which nothing moves.
func (r *runner) warn(job *holdfastv1.JobDescription) {
	status := job.GetSummary().GetStatus()
	if status == r.warned {
		return
	}
	r.warned = status
	if status == holdfastv1.JobStatus_JOB_STATUS_SUSPENDED {
		r.app.note("the job %s is SUSPENDED: %s; `holdfast resume` or `holdfast cancel` decides", job.GetSummary().GetName(), viewError(job.GetReason()))
	}
}

// outcome turns the end of the run into an exit code, by the job where it is
// known, else by the processes.
func (r *runner) outcome(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		look, cancel := context.WithTimeout(ctx, leaveLimit)
		defer cancel()
		r.look(look)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		if r.last != nil && !r.ended {
			r.app.note("the job %s waits for another run; `holdfast cancel` ends it", r.last.GetSummary().GetName())
		}
		return context.Canceled
	case r.refused && !r.ended:
		return exit.Errorf(exit.Refused, "the program ended with exit code %d: its job is refused for good, so it is not started again; the end of its log says why", refusedCode)
	case r.gaveUp:
		return asFailure(supervise.ErrGaveUp)
	case !r.ended:
		return asFailure(err)
	}
	return r.jobOutcome(r.last)
}

func (r *runner) jobOutcome(job *holdfastv1.JobDescription) error {
	summary := job.GetSummary()
	if summary.GetStatus() == holdfastv1.JobStatus_JOB_STATUS_FINISHED {
		r.line(runLine{Event: "finished", Job: summary.GetName()}, "the job %s is FINISHED", summary.GetName())
		return nil
	}
	message := fmt.Sprintf("the job %s is %s", summary.GetName(), statusName(summary.GetStatus()))
	if reason := viewError(job.GetReason()); reason != nil {
		message += ": " + reason.String()
	}
	return exit.Errorf(exit.Failure, "%s", message)
}

func asFailure(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return nil
	}
	return exit.Errorf(exit.Failure, "%w", err)
}

// runLine is one line of `run -o json`.
type runLine struct {
	Time      string `json:"time"`
	Event     string `json:"event"`
	Job       string `json:"job,omitempty"`
	Process   *int   `json:"process,omitempty"`
	Pid       int    `json:"pid,omitempty"`
	ProcessID string `json:"process_id,omitempty"`
	Out       string `json:"out,omitempty"`
	Log       string `json:"log,omitempty"`
	Exit      string `json:"exit,omitempty"`
	LastWords string `json:"last_words,omitempty"`
	DelayMs   int64  `json:"delay_ms,omitempty"`
}

func (r *runner) line(v runLine, format string, args ...any) {
	now := time.Now()
	if r.app.format == render.FormatJSON {
		v.Time = now.Format(time.RFC3339Nano)
		_ = render.JSONLine(r.app.stdout, v) // a closed stdout does not end the operators
		return
	}
	fmt.Fprintf(r.app.stdout, "%s  %s\n", r.app.style.Dim(now.Format("15:04:05.000")), fmt.Sprintf(format, args...))
}

// event prints what the supervisor tells.
func (r *runner) event(e supervise.Event) {
	p, s := e.Process, r.app.style
	v := runLine{Event: string(e.Kind), Process: &p.Slot, Pid: p.Pid, ProcessID: p.ProcessID, Out: p.Out, Log: p.Log}
	switch e.Kind {
	case supervise.Started:
		r.line(v, "process %d %s as pid %d; output %s", p.Slot+1, s.Green("started"), p.Pid, p.Out)
	case supervise.Exited:
		v.Exit = e.Exit.String()
		if e.Exit.OK() {
			r.line(v, "process %d (pid %d) ended by itself: %s", p.Slot+1, p.Pid, e.Exit)
			return
		}
		words := ""
		if e.Exit.Signal == 0 {
			// What it said last is why it ended; a signal leaves no time for words.
			v.LastWords = procs.LastLine(p.Log)
			words = ": " + v.LastWords
		}
		r.line(v, "process %d (pid %d) %s: %s; log %s%s", p.Slot+1, p.Pid, s.Red("ended"), e.Exit, p.Log, words)
	case supervise.Waiting:
		v.DelayMs = e.Delay.Milliseconds()
		r.line(v, "process %d starts again in %d ms", p.Slot+1, e.Delay.Milliseconds())
	case supervise.ReportFailed:
		r.app.note("the end of pid %d could not be reported: %v", p.Pid, e.Err)
	}
}
