package holdfast

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/holdfast-io/holdfast/clients/go/internal/slot"
	"github.com/holdfast-io/holdfast/internal/grpctls"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// DefaultAddress is where a node listens by default.
const DefaultAddress = "127.0.0.1:7070"

// StreamExecutionEnvironment is where a job is built and executed. It is not
// safe for concurrent use.
type StreamExecutionEnvironment struct {
	addresses    []string
	submissionID string
	processID    string
	jobName      string
	parallelism  int
	maxParallel  int
	slots        int
	log          *slog.Logger
	credentials  func() credentials.TransportCredentials

	checkpoint *holdfastv1.CheckpointConfig
	backend    StateBackend
	restart    RestartStrategy
	restore    *holdfastv1.RestoreFrom
	copyBytes  int
	flushDelay time.Duration
	defaults   defaults

	nodes    []*node
	writers  map[io.Writer]*lineWriter
	problems []error
}

// Option sets what otherwise comes from the environment of the process.
type Option func(*StreamExecutionEnvironment)

// WithAddresses sets the nodes (host:port), instead of HOLDFAST_ADDRESS.
func WithAddresses(addresses ...string) Option {
	return func(e *StreamExecutionEnvironment) { e.addresses = addresses }
}

// WithSubmissionID names one act of submitting, instead of
// HOLDFAST_SUBMISSION_ID.
func WithSubmissionID(id string) Option {
	return func(e *StreamExecutionEnvironment) { e.submissionID = id }
}

// WithProcessID names this process, instead of HOLDFAST_PROCESS_ID.
func WithProcessID(id string) Option {
	return func(e *StreamExecutionEnvironment) { e.processID = id }
}

// WithLogger sets where the client logs; standard error by default. Contents of
// records are never logged.
func WithLogger(log *slog.Logger) Option {
	return func(e *StreamExecutionEnvironment) { e.log = log }
}

// WithTransportCredentials sets how connections are secured, instead of
// HOLDFAST_TLS_CA_FILE and the other variables of TLS.
func WithTransportCredentials(c credentials.TransportCredentials) Option {
	return func(e *StreamExecutionEnvironment) {
		e.credentials = func() credentials.TransportCredentials { return c }
	}
}

// WithTaskSlots sets how many subtasks this process offers to run, instead of
// HOLDFAST_TASK_SLOTS; the parallelism by default.
func WithTaskSlots(n int) Option {
	return func(e *StreamExecutionEnvironment) { e.slots = n }
}

// GetExecutionEnvironment reads HOLDFAST_ADDRESS (comma separated),
// HOLDFAST_SUBMISSION_ID, HOLDFAST_PROCESS_ID, HOLDFAST_PARALLELISM,
// HOLDFAST_TASK_SLOTS and HOLDFAST_JOB_NAME. With HOLDFAST_TLS_CA_FILE the
// connections have TLS, with HOLDFAST_TLS_CERT_FILE and HOLDFAST_TLS_KEY_FILE they
// show a certificate, and HOLDFAST_TLS_SERVER_NAME is what the nodes' certificates
// are for if it is not the host; the files are read anew for each connection.
//
// What the program does not set of a job comes from the file that HOLDFAST_CONFIG names and from variables such as
// HOLDFAST_EXECUTION_CHECKPOINTING_INTERVAL; docs/configuration.md has the list.
// What is wrong with any of them is told by Execute.
func GetExecutionEnvironment(options ...Option) *StreamExecutionEnvironment {
	e := &StreamExecutionEnvironment{
		submissionID: os.Getenv("HOLDFAST_SUBMISSION_ID"),
		processID:    os.Getenv("HOLDFAST_PROCESS_ID"),
		jobName:      os.Getenv("HOLDFAST_JOB_NAME"),
		parallelism:  1,
		checkpoint:   &holdfastv1.CheckpointConfig{},
		writers:      map[io.Writer]*lineWriter{},
	}
	for address := range strings.SplitSeq(os.Getenv("HOLDFAST_ADDRESS"), ",") {
		if address = strings.TrimSpace(address); address != "" {
			e.addresses = append(e.addresses, address)
		}
	}
	if len(e.addresses) == 0 {
		e.addresses = []string{DefaultAddress}
	}
	e.readDefaults()
	e.readNumber("HOLDFAST_PARALLELISM", &e.parallelism)
	e.readNumber("HOLDFAST_TASK_SLOTS", &e.slots)
	for _, o := range options {
		o(e)
	}
	if e.credentials == nil {
		e.secure()
	}
	if e.processID == "" {
		e.processID = slot.RandomID()
	}
	if e.log == nil {
		e.log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	for _, n := range e.defaults.notes {
		e.log.Warn("configuration: " + n)
	}
	return e
}

// secure reads how connections are secured.
func (e *StreamExecutionEnvironment) secure() {
	client, err := grpctls.FromEnvironment(os.Getenv).Open()
	if err != nil {
		e.problem(err)
	}
	e.credentials = func() credentials.TransportCredentials { return client.Credentials() }
}

func (e *StreamExecutionEnvironment) readNumber(name string, to *int) {
	text := os.Getenv(name)
	if text == "" {
		return
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		e.problem(fmt.Errorf("%s must be a number from 1, and is %q", name, text))
		return
	}
	*to = n
}

// SetParallelism sets the number of subtasks of every operator, over
// HOLDFAST_PARALLELISM.
func (e *StreamExecutionEnvironment) SetParallelism(n int) { e.parallelism = n }

// Parallelism is the number of subtasks of every operator.
func (e *StreamExecutionEnvironment) Parallelism() int { return e.parallelism }

// SetMaxParallelism sets the number of key groups; 0 means 128. A
// co-partitioned source must not have more partitions.
func (e *StreamExecutionEnvironment) SetMaxParallelism(n int) { e.maxParallel = n }

// EnableCheckpointing begins a checkpoint every interval. Without a mode it is
// the one of execution.checkpointing.mode, ExactlyOnce by default.
func (e *StreamExecutionEnvironment) EnableCheckpointing(interval time.Duration, mode ...CheckpointingMode) {
	if interval < time.Millisecond {
		e.problem(fmt.Errorf("the checkpoint interval must be at least 1 ms, and is %s", interval))
		return
	}
	e.checkpoint.IntervalMs = milliseconds(interval)
	if len(mode) > 0 {
		e.checkpoint.Mode = mode[0].proto()
	}
}

// SetCheckpointTimeout aborts a checkpoint that takes longer; 10 minutes by
// default.
func (e *StreamExecutionEnvironment) SetCheckpointTimeout(d time.Duration) {
	if d < time.Millisecond {
		e.problem(fmt.Errorf("the checkpoint timeout must be at least 1 ms, and is %s", d))
		return
	}
	e.checkpoint.TimeoutMs = milliseconds(d)
}

// SetMinPauseBetweenCheckpoints sets the least time from the end of a checkpoint
// to the beginning of the next; none by default.
func (e *StreamExecutionEnvironment) SetMinPauseBetweenCheckpoints(d time.Duration) {
	if d < 0 {
		e.problem(fmt.Errorf("the pause between checkpoints must not be negative, and is %s", d))
		return
	}
	e.checkpoint.MinPauseMs = milliseconds(d)
}

// SetMaxConcurrentCheckpoints is here because Flink has it: 1 is the only number
// that this version does, and Execute says so of another.
func (e *StreamExecutionEnvironment) SetMaxConcurrentCheckpoints(n int) {
	if n != 1 {
		e.problem(fmt.Errorf("the number of concurrent checkpoints must be 1, and is %d: "+
			"a subtask seals its working copy for one checkpoint at a time, so a second one could only wait for the first", n))
	}
}

// SetTolerableCheckpointFailureNumber sets how many checkpoints may fail one
// after the other before the job restarts from the newest completed one; 0 by
// default.
func (e *StreamExecutionEnvironment) SetTolerableCheckpointFailureNumber(n uint32) {
	e.checkpoint.TolerableFailedCheckpoints = n
}

// SetNumRetainedCheckpoints sets how many completed checkpoints are kept; 1 by
// default.
func (e *StreamExecutionEnvironment) SetNumRetainedCheckpoints(n uint32) {
	e.checkpoint.NumRetained = n
}

// SetStateBackend says where working state lives.
func (e *StreamExecutionEnvironment) SetStateBackend(b StateBackend) {
	if b == nil {
		e.problem(errors.New("SetStateBackend needs a backend"))
		return
	}
	e.backend = b
}

// SetRestartStrategy says what follows a failure; nothing of restart-strategy.*
// counts then. Without either the server decides: fixed delay without bound where
// checkpoints are disabled, else exponential delay.
func (e *StreamExecutionEnvironment) SetRestartStrategy(r RestartStrategy) {
	if rs, ok := r.(restartStrategy); ok && rs.problem != nil {
		e.problem(rs.problem)
	}
	e.restart = r
}

// SetFlushMaxDelay sets how old a change may get before it is flushed, where
// checkpoints are enabled; 1 second by default.
func (e *StreamExecutionEnvironment) SetFlushMaxDelay(d time.Duration) {
	if d < time.Millisecond {
		e.problem(fmt.Errorf("the flush delay must be at least 1 ms, and is %s", d))
		return
	}
	e.flushDelay = d
}

// SetWorkingCopySize sets how many bytes of state a slot keeps in memory before
// it forgets what it did not use of late; 64 MiB by default.
func (e *StreamExecutionEnvironment) SetWorkingCopySize(bytes int) { e.copyBytes = bytes }

// problem is told by Execute, where it can be told as an error.
func (e *StreamExecutionEnvironment) problem(err error) { e.problems = append(e.problems, err) }
