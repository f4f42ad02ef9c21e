package cli

import (
	"context"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/supervise"
)

// The supervisor's times; they are in the help of run.
const (
	runMinDelay = 200 * time.Millisecond
	runMaxDelay = 5 * time.Second
	runGrace    = 10 * time.Second
)

type runFlags struct {
	parallelism, standby, giveUp int
	job, logDir, restart         string
	minDelay, maxDelay           time.Duration
	restore                      restoreFlags
}

func (a *app) runCommand() *cobra.Command {
	var f runFlags
	cmd := &cobra.Command{
		Use: "run [flags] -- PROGRAM ARGS...", GroupID: groupJobs, Short: "Run a program's operator processes and keep them running", Args: atLeast("PROGRAM"),
		Long: `Starts processes of the program, tells the cluster at once when one is gone,
starts another in its place, and ends with the job. Each run is a new submission:
a job of the same name that has ended starts anew, one that runs is joined.

With --from-savepoint a job that starts begins from that savepoint or retained
checkpoint, whatever its state backend and parallelism were. State that the program
no longer has is refused unless --allow-non-restored-state gives it up. The files
stay yours with NO_CLAIM; with CLAIM they are the job's, and go when its own
checkpoints have taken their place.

stdout of each process goes to <log-dir>/holdfast-<user>-<job>-<n>-<host>.out and
stderr to the same name with .log; every new process takes the next n.

The first SIGINT or SIGTERM is forwarded as SIGTERM, and SIGKILL follows after
ten seconds; the second one kills at once. The job then waits for another run;
` + "`holdfast cancel`" + ` ends it.

A program that fails five times in a row before it has submitted a job is given
up. One that ends with exit code 78 (EX_CONFIG) says that its job is refused for
good: it is not started again, and the exit code is 5. The exit code is 0 if the job FINISHED, 1 if it FAILED or was CANCELED.`,
		Example: "  holdfast run -- ./my-program --topic input-topic\n  holdfast run -p 2 --standby 1 --job counts -- python3 counts.py\n" +
			"  holdfast run -s s3://bucket/savepoints/savepoint-0a1b2c-0123456789ab -n -- ./my-program   # holdfast stop wrote it",
	}
	flags := cmd.Flags()
	// What follows PROGRAM is the program's, also without "--".
	flags.SetInterspersed(false)
	flags.IntVarP(&f.parallelism, "parallelism", "p", 1, "processes that work; the program gets it as HOLDFAST_PARALLELISM")
	flags.IntVar(&f.standby, "standby", 0, "processes more than that, which take over at once")
	flags.StringVar(&f.job, "job", "", "name of the job, for the program (HOLDFAST_JOB_NAME) and the files (default: the program's name for the files)")
	flags.StringVar(&f.logDir, "log-dir", "logs", "directory of the output files")
	flags.StringVar(&f.restart, "restart", "on-failure", "on-failure: a process that ends before its job is followed by another; never: it ends the run")
	flags.DurationVar(&f.minDelay, "restart-delay", runMinDelay, "pause before a restart; it doubles with each failure that follows soon")
	flags.DurationVar(&f.maxDelay, "restart-max-delay", runMaxDelay, "bound of that pause")
	flags.IntVar(&f.giveUp, "restart-attempts", 0, "ends in a row of a process, each within 10 s of its start, that end the run; 0: no bound")
	f.restore.register(cmd)
	completeFlag(cmd, "restart", fixedWords("on-failure", "never"))
	cmd.RunE = a.do(func(ctx context.Context, args []string) error { return a.run(ctx, f, args) })
	return cmd
}

func (f *runFlags) check() error {
	switch {
	case f.parallelism < 1:
		return exit.Errorf(exit.Usage, "-p is 1 or more, not %d", f.parallelism)
	case f.standby < 0:
		return exit.Errorf(exit.Usage, "--standby is 0 or more, not %d", f.standby)
	case f.restart != "on-failure" && f.restart != "never":
		return exit.Errorf(exit.Usage, "--restart is on-failure or never, not %q", f.restart)
	case f.minDelay <= 0 || f.maxDelay < f.minDelay:
		return exit.Errorf(exit.Usage, "--restart-delay is above 0 and not above --restart-max-delay")
	}
	return f.restore.check()
}

func (a *app) run(ctx context.Context, f runFlags, args []string) error {
	if err := f.check(); err != nil {
		return err
	}
	program, err := exec.LookPath(args[0])
	if err != nil {
		return exit.Errorf(exit.Usage, "%w", err)
	}
	c, t, err := a.open()
	if err != nil {
		return err
	}
	defer c.Close()
	r := &runner{app: a, cluster: c, jobName: f.job}
	if err := r.lookBefore(ctx); err != nil {
		return err
	}
	logs, err := logNames(f, args[0])
	if err != nil {
		return err
	}
	r.supervisor = supervise.New(supervise.Config{
		Path: program, Args: args[1:], Processes: f.parallelism + f.standby, Addresses: t.addresses, Env: append(tlsEnvironment(a.tlsFlags.settings(t.tls)), f.restore.environment()...),
		Parallelism: f.parallelism, JobName: f.job, Logs: logs,
		Restart: f.restart == "on-failure", MinDelay: f.minDelay, MaxDelay: f.maxDelay, GiveUp: f.giveUp,
		Grace: runGrace, Report: r.report, Event: r.event, Over: r.over,
	})
	return r.run(ctx)
}

func logNames(f runFlags, program string) (supervise.LogNames, error) {
	dir, err := filepath.Abs(f.logDir)
	if err != nil {
		return supervise.LogNames{}, err
	}
	job := f.job
	if job == "" {
		base := filepath.Base(program)
		job = strings.TrimSuffix(base, filepath.Ext(base))
	}
	return supervise.LogNames{Dir: dir, User: userName(), Job: job, Host: hostName()}, nil
}

func userName() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return os.Getenv("USER")
}

func hostName() string {
	host, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	short, _, _ := strings.Cut(host, ".")
	return short
}
