// Package supervise keeps operator processes running: it starts them, tells
// the cluster at once when one is gone, starts another in its place, and ends
// them all.
package supervise

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/bug"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/procs"
)

// Config is a run: some processes of one program under one submission id.
type Config struct {
	Path string
	Args []string
	// Env is added to the environment of each process.
	Env       []string
	Processes int
	// Addresses, Parallelism and JobName become HOLDFAST_ADDRESS,
	// HOLDFAST_PARALLELISM and, unless empty, HOLDFAST_JOB_NAME.
	Addresses   []string
	Parallelism int
	JobName     string
	Logs        LogNames
	// Restart is whether a process that failed is followed by another.
	Restart bool
	// MinDelay and MaxDelay bound the pause before a restart. It doubles with
	// each failure that follows soon on the last start.
	MinDelay, MaxDelay time.Duration
	// GiveUp ends the run after this many ends in a row of processes that
	// lived less than steady; 0: never.
	GiveUp int
	// Over is asked when a process has ended, with the number of its ends in a
	// row; true means that none is needed in its place. nil: one that ended
	// with exit code 0 was the last, one that failed was not.
	Over func(ctx context.Context, exit procs.Exit, ends int) bool
	// Grace is the time between SIGTERM and SIGKILL.
	Grace time.Duration
	// Report tells the cluster that a process is gone. It may be slow.
	Report func(ctx context.Context, processID string) error
	// Event is told what happens, one call at a time.
	Event func(Event)
}

// steady is how long a process must live for its failure not to count as one
// of a row.
const steady = 10 * time.Second

// One report of an exit takes at most reportLimit, and lastReportLimit where a
// person waits for the end of the run.
const (
	reportLimit     = 10 * time.Second
	lastReportLimit = 2 * time.Second
)

// Kind is a kind of Event.
type Kind string

// The kinds of events.
const (
	Started      Kind = "started"
	Exited       Kind = "exited"
	Waiting      Kind = "restart_in"
	ReportFailed Kind = "report_failed"
)

// Event is something that happened to a process.
type Event struct {
	Kind    Kind
	Process Process
	Exit    procs.Exit
	Delay   time.Duration
	Err     error
}

// Process is one running operator process.
type Process struct {
	// Slot counts the places from 0; a restarted process takes its
	// predecessor's.
	Slot      int
	Pid       int
	ProcessID string
	Out, Log  string
}

// ErrGaveUp is returned by Run when processes fail as soon as they start.
var ErrGaveUp = errors.New("the program ends as soon as it starts")

// Supervisor runs a Config.
type Supervisor struct {
	cfg          Config
	submissionID string

	mu      sync.Mutex
	running map[int]Process
	handles map[int]*procs.Process
	// stopping lets no process start any more.
	stopping bool
	reports  sync.WaitGroup
	eventMu  sync.Mutex
}

// New makes a supervisor with a fresh submission id; nothing runs yet.
func New(cfg Config) *Supervisor {
	return &Supervisor{
		cfg: cfg, submissionID: randomID(),
		running: map[int]Process{}, handles: map[int]*procs.Process{},
	}
}

// randomID is 128 random bits in hexadecimal.
func randomID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the program instead
	return hex.EncodeToString(b[:])
}

// Processes are those that run now, in the order of their slots.
func (s *Supervisor) Processes() []Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Process
	for slot := range s.cfg.Processes {
		if p, ok := s.running[slot]; ok {
			out = append(out, p)
		}
	}
	return out
}

// Run keeps the processes running until none is needed any more (see
// Config.Over), one cannot be started, or ctx ends; then it ends the others. The error of a
// program that could not be started or gave up is returned; the end of ctx is
// none.
func (s *Supervisor) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	// However Run is left, nothing it started is left behind.
	defer s.reports.Wait()
	stopped := context.AfterFunc(ctx, bug.Guarded(s.stop))
	defer stopped()
	var wg sync.WaitGroup
	for slot := range s.cfg.Processes {
		wg.Go(bug.Guarded(func() {
			if err := s.keep(ctx, slot); err != nil {
				cancel(err)
			}
		}))
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// keep runs one slot: a process, and another when it has ended too early.
func (s *Supervisor) keep(ctx context.Context, slot int) error {
	delay, ends := s.cfg.MinDelay, 0
	for ctx.Err() == nil {
		began := time.Now()
		exit, err := s.one(slot)
		if err != nil || ctx.Err() != nil {
			return err
		}
		ends++
		if time.Since(began) > steady {
			delay, ends = s.cfg.MinDelay, 1
		}
		if s.over(ctx, exit, ends) || ctx.Err() != nil {
			return nil
		}
		if !s.cfg.Restart {
			return fmt.Errorf("a process ended with %s and is not restarted", exit)
		}
		if s.cfg.GiveUp > 0 && ends >= s.cfg.GiveUp {
			return fmt.Errorf("%w: %d times in a row, at last with %s", ErrGaveUp, ends, exit)
		}
		s.event(Event{Kind: Waiting, Process: Process{Slot: slot}, Delay: delay})
		select {
		case <-ctx.Done():
		case <-time.After(delay):
		}
		delay = min(2*delay, s.cfg.MaxDelay)
	}
	return nil
}

func (s *Supervisor) over(ctx context.Context, exit procs.Exit, ends int) bool {
	if s.cfg.Over == nil {
		return exit.OK()
	}
	return s.cfg.Over(ctx, exit, ends)
}

// one starts a process and waits for its end.
func (s *Supervisor) one(slot int) (procs.Exit, error) {
	handle, p, err := s.start(slot)
	if err != nil || handle == nil {
		return procs.Exit{}, err
	}
	s.event(Event{Kind: Started, Process: p})
	<-handle.Done()
	s.mu.Lock()
	delete(s.running, slot)
	delete(s.handles, slot)
	s.mu.Unlock()
	s.report(p)
	s.event(Event{Kind: Exited, Process: p, Exit: handle.Exit()})
	return handle.Exit(), nil
}

// start returns no handle when the supervisor stops.
func (s *Supervisor) start(slot int) (*procs.Process, Process, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return nil, Process{}, nil
	}
	files, err := s.cfg.Logs.Create()
	if err != nil {
		return nil, Process{}, err
	}
	p := Process{Slot: slot, ProcessID: randomID(), Out: files.Out.Name(), Log: files.Log.Name()}
	handle, err := procs.Start(procs.Spec{
		Path: s.cfg.Path, Args: s.cfg.Args, Env: s.environment(p.ProcessID),
		Stdout: files.Out, Stderr: files.Log, DieWithParent: true,
	})
	_ = files.Close() // the child writes through its own handles
	if err != nil {
		return nil, Process{}, err
	}
	p.Pid = handle.Pid()
	s.running[slot], s.handles[slot] = p, handle
	return handle, p, nil
}

func (s *Supervisor) environment(processID string) []string {
	env := append([]string(nil), s.cfg.Env...)
	env = append(env,
		"HOLDFAST_ADDRESS="+strings.Join(s.cfg.Addresses, ","),
		"HOLDFAST_SUBMISSION_ID="+s.submissionID,
		"HOLDFAST_PROCESS_ID="+processID,
		"HOLDFAST_PARALLELISM="+strconv.Itoa(s.cfg.Parallelism),
	)
	if s.cfg.JobName != "" {
		env = append(env, "HOLDFAST_JOB_NAME="+s.cfg.JobName)
	}
	return env
}

// report runs beside everything else: a restart does not wait for it.
func (s *Supervisor) report(p Process) {
	if s.cfg.Report == nil {
		return
	}
	s.mu.Lock()
	limit := reportLimit
	if s.stopping {
		limit = lastReportLimit
	}
	s.mu.Unlock()
	s.reports.Go(bug.Guarded(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		if err := s.cfg.Report(ctx, p.ProcessID); err != nil {
			s.event(Event{Kind: ReportFailed, Process: p, Err: err})
		}
	}))
}

func (s *Supervisor) event(e Event) {
	if s.cfg.Event == nil {
		return
	}
	s.eventMu.Lock()
	defer s.eventMu.Unlock()
	s.cfg.Event(e)
}

// stop forwards SIGTERM and, after the grace, SIGKILL. It returns when all
// processes have ended.
func (s *Supervisor) stop() {
	s.mu.Lock()
	s.stopping = true
	handles := make([]*procs.Process, 0, len(s.handles))
	for _, h := range s.handles {
		handles = append(handles, h)
	}
	s.mu.Unlock()
	var wg sync.WaitGroup
	for _, h := range handles {
		wg.Go(bug.Guarded(func() {
			if err := h.Stop(s.cfg.Grace); err != nil {
				s.event(Event{Kind: ReportFailed, Process: Process{Pid: h.Pid()}, Err: err})
			}
		}))
	}
	wg.Wait()
}

// KillNow ends every process with SIGKILL, for an impatient person.
func (s *Supervisor) KillNow() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopping = true
	for _, h := range s.handles {
		_ = h.SignalGroup(syscall.SIGKILL) // it ends or it has ended
	}
}

// Kill ends the process with this pid with SIGKILL, if it is one of ours.
func (s *Supervisor) Kill(pid int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.handles {
		if h.Pid() == pid {
			return h.Signal(syscall.SIGKILL)
		}
	}
	return fmt.Errorf("pid %d is no operator process of this run", pid)
}
