package cli

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/exit"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/jobs"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/render"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/snapshots"
	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/values"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// stateFlags say which state is meant and how its keys are written.
type stateFlags struct {
	uid, state, keyType string
	// checkpoint is an id or a directory, savepoint a directory.
	checkpoint, savepoint string
}

// registerState registers those that name a state.
func (f *stateFlags) registerState(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.uid, "uid", "", "uid of the operator; not needed if the job has only one state")
	cmd.Flags().StringVar(&f.state, "state", "", "name of the state; not needed if the job has only one state")
	cmd.Flags().StringVar(&f.keyType, "key-type", values.String, "type of the keys: string, int64, float64, bool, json, or bytes as hexadecimal digits")
	completeFlag(cmd, "key-type", fixedWords(values.String, "int64", "float64", "bool", "json", "bytes"))
}

func (f *stateFlags) register(cmd *cobra.Command) {
	f.registerState(cmd)
	cmd.Flags().StringVar(&f.checkpoint, "checkpoint", "0", "read a completed checkpoint: its id, or in place of JOB its directory; 0 reads the live state as far as it is flushed")
	cmd.Flags().StringVar(&f.savepoint, "savepoint", "", "read a savepoint: its directory, in place of JOB")
	completeFlag(cmd, "savepoint", fixedWords())
}

// path is the directory of a checkpoint or savepoint, or "" where a job is read.
func (f *stateFlags) path() string {
	switch {
	case f.savepoint != "":
		return snapshots.URL(f.savepoint)
	case strings.ContainsAny(f.checkpoint, "/:"):
		return snapshots.URL(f.checkpoint)
	}
	return ""
}

// what says what path is.
func (f *stateFlags) what() string {
	if f.savepoint != "" {
		return "savepoint"
	}
	return "checkpoint"
}

// args asks for JOB and then names, or for the names alone where a directory takes
// the place of the job.
func (f *stateFlags) args(rest ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		names := rest
		if f.path() == "" {
			names = append([]string{"JOB"}, rest...)
		}
		switch {
		case f.path() != "" && f.savepoint != "" && strings.ContainsAny(f.checkpoint, "/:"):
			return exit.Errorf(exit.Usage, "--checkpoint and --savepoint are two directories; one is read at a time; see `%s --help`", cmd.CommandPath())
		case len(names) > 0 && names[len(names)-1] == "KEY":
			return atLeast(names...)(cmd, args)
		case len(names) == 0 && len(args) > 0:
			return exit.Errorf(exit.Usage, "a directory takes the place of JOB; see `%s --help`", cmd.CommandPath())
		}
		return exactly(names...)(cmd, args)
	}
}

// complete lets the flags be completed from the job on the line.
func (f *stateFlags) complete(a *app, cmd *cobra.Command) {
	cmd.ValidArgsFunction = a.completeJobs(goingOn, nil)
	completeFlag(cmd, "uid", a.completeStates(stateUID))
	completeFlag(cmd, "state", a.completeStates(stateName))
	completeFlag(cmd, "checkpoint", a.completeCheckpoints(true))
}

func (f *stateFlags) check() error {
	if !values.Known(f.keyType) {
		return exit.Errorf(exit.Usage, "--key-type is string, int64, float64, bool, json or bytes, not %q", f.keyType)
	}
	if _, err := f.checkpointID(); err != nil {
		return err
	}
	return nil
}

// checkpointID is that of --checkpoint, 0 where it is a directory.
func (f *stateFlags) checkpointID() (uint64, error) {
	if f.checkpoint == "" || f.path() != "" {
		return 0, nil
	}
	id, err := strconv.ParseUint(f.checkpoint, 10, 64)
	if err != nil {
		return 0, exit.Errorf(exit.Usage, "--checkpoint is a whole number from 0, or a directory, not %q", f.checkpoint)
	}
	return id, nil
}

// selector fills in the uid and the name of the state from the job, where they
// were left out and only one state fits.
func (f *stateFlags) selector(ctx context.Context, c *connect.Cluster, job string) (*holdfastv1.StateSelector, error) {
	id, err := f.checkpointID()
	if err != nil {
		return nil, err
	}
	s := &holdfastv1.StateSelector{Job: job, OperatorUid: f.uid, StateName: f.state, CheckpointId: id}
	if f.uid != "" && f.state != "" {
		return s, nil
	}
	description, err := jobs.Describe(ctx, c, job)
	if err != nil {
		return nil, err
	}
	spec := description.GetSpec()
	s.OperatorUid, s.StateName, err = onlyState(fmt.Sprintf("the job %q", spec.GetName()), spec.GetOperators(), f.uid, f.state)
	return s, err
}

func onlyState(where string, operators []*holdfastv1.Operator, uid, state string) (string, string, error) {
	var fit [][2]string
	var all []string
	for _, o := range operators {
		for _, d := range everyState(o) {
			all = append(all, fmt.Sprintf("--uid %s --state %s", o.GetUid(), d.GetName()))
			if (uid == "" || uid == o.GetUid()) && (state == "" || state == d.GetName()) {
				fit = append(fit, [2]string{o.GetUid(), d.GetName()})
			}
		}
	}
	switch {
	case len(fit) == 1:
		return fit[0][0], fit[0][1], nil
	case len(all) == 0:
		return "", "", exit.Errorf(exit.NotFound, "%s has no state", where)
	case len(fit) == 0:
		return "", "", exit.Errorf(exit.NotFound, "no such state in %s; it has %s", where, strings.Join(all, ", "))
	default:
		return "", "", exit.Errorf(exit.Usage, "%s has several states; choose %s", where, strings.Join(all, ", or "))
	}
}

func (a *app) stateCommand() *cobra.Command {
	cmd := a.parent("state", groupState, "Read keyed and operator state, of a job, a checkpoint or a savepoint",
		"  holdfast state list CheckpointExample\n  holdfast state get CheckpointExample a b c\n  holdfast state scan --savepoint s3://bucket/savepoints/savepoint-0a1b2c-0123456789ab")
	cmd.AddCommand(a.stateGetCommand(), a.stateListCommand(), a.stateScanCommand(), a.stateStatesCommand())
	return cmd
}

func (a *app) stateGetCommand() *cobra.Command {
	var f stateFlags
	cmd := &cobra.Command{
		Use: "get JOB KEY...", Short: "Read keys of one state", Args: f.args("KEY"),
		Long: `Prints one line for each key. A key that is not there is told and makes the exit code 3.
Operator state is read of a checkpoint or savepoint: KEY is a key of the map, or a place in
the list from 0, and there is a line for each subtask that has it.`,
		Example: "  holdfast state get CheckpointExample hello\n" +
			"  holdfast state get CheckpointExample --uid stateful-mapper --state CheckpointExample --key-type int64 1\n" +
			"  holdfast state get --savepoint s3://bucket/savepoints/savepoint-0a1b2c-0123456789ab hello",
	}
	f.register(cmd)
	f.complete(a, cmd)
	cmd.RunE = a.do(func(ctx context.Context, args []string) error {
		if f.path() != "" {
			return a.getFromSnapshot(ctx, f, args)
		}
		if err := f.check(); err != nil {
			return err
		}
		var answer *holdfastv1.GetResponse
		err := a.withCluster("reading the state", func(c *connect.Cluster) error {
			selector, operator, err := f.jobState(ctx, c, args[0])
			if err != nil {
				return err
			}
			keys, err := f.encode(operator, args[1:])
			if err != nil {
				return err
			}
			return c.Do(ctx, func(ctx context.Context, conn grpc.ClientConnInterface) (err error) {
				answer, err = holdfastv1.NewStateServiceClient(conn).Get(ctx, &holdfastv1.GetRequest{State: selector, Keys: keys})
				return err
			})
		})
		if err != nil {
			return err
		}
		return a.printGot(f.keyType, answer)
	})
	return cmd
}

// encode reads keys as --key-type says, or as an operator state declares them.
func (f *stateFlags) encode(operator *holdfastv1.OperatorStateDescriptor, texts []string) ([][]byte, error) {
	var keys [][]byte
	for _, text := range texts {
		key, err := encodeKey(f.keyType, operator, text)
		if err != nil {
			return nil, exit.Errorf(exit.Usage, "the key %w", err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

func (a *app) printGot(keyType string, answer *holdfastv1.GetResponse) error {
	entries, err := viewEntries(keyType, declared(answer), answer.GetEntries(), false)
	if err != nil {
		return err
	}
	missing := 0
	for _, e := range entries {
		if !*e.Found {
			missing++
		}
	}
	err = a.print(map[string]any{"type": answer.GetType(), "entries": entries}, func(w io.Writer) error {
		return a.writeEntries(w, entries, false)
	})
	if err == nil && missing > 0 {
		return exit.Errorf(exit.NotFound, "%d of %d keys have no value; they were read as %s, see --key-type", missing, len(entries), keyType)
	}
	return err
}

func (a *app) stateListCommand() *cobra.Command {
	var f stateFlags
	var limit uint32
	var token string
	var keysOnly bool
	cmd := &cobra.Command{
		Use: "list JOB", Short: "List keys and values of one state, by pages", Args: f.args(),
		Example: "  holdfast state list CheckpointExample --limit 20\n  holdfast state list CheckpointExample --keys-only -o json",
	}
	f.register(cmd)
	f.complete(a, cmd)
	cmd.Flags().Uint32Var(&limit, "limit", 1000, "entries of a page, 1 to 10000")
	cmd.Flags().StringVar(&token, "page-token", "", "from the page before")
	cmd.Flags().BoolVar(&keysOnly, "keys-only", false, "leave the values out")
	cmd.RunE = a.do(func(ctx context.Context, args []string) error {
		page, err := f.page(limit, token, keysOnly)
		if err != nil {
			return err
		}
		if f.path() != "" {
			return a.listSnapshot(ctx, f, int(limit), keysOnly)
		}
		var answer *holdfastv1.ScanResponse
		err = a.withCluster("reading the state", func(c *connect.Cluster) error {
			page.State, err = f.selector(ctx, c, args[0])
			if err == nil {
				answer, err = scanPage(ctx, c, page)
			}
			return err
		})
		if err != nil {
			return err
		}
		return a.printScan(f.keyType, keysOnly, answer)
	})
	return cmd
}

func scanPage(ctx context.Context, c *connect.Cluster, page *holdfastv1.ScanRequest) (*holdfastv1.ScanResponse, error) {
	var answer *holdfastv1.ScanResponse
	err := c.Do(ctx, func(ctx context.Context, conn grpc.ClientConnInterface) (err error) {
		answer, err = holdfastv1.NewStateServiceClient(conn).Scan(ctx, page)
		return err
	})
	return answer, err
}

func (f *stateFlags) page(limit uint32, token string, keysOnly bool) (*holdfastv1.ScanRequest, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if limit < 1 || limit > 10000 {
		return nil, exit.Errorf(exit.Usage, "--limit is 1 to 10000, not %d", limit)
	}
	if token != "" && f.path() != "" {
		return nil, exit.Errorf(exit.Usage, "--page-token is one of a job; `holdfast state scan` prints the whole state of a checkpoint or savepoint")
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return nil, exit.Errorf(exit.Usage, "--page-token %q is not one that was printed", token)
	}
	return &holdfastv1.ScanRequest{PageSize: limit, PageToken: raw, KeysOnly: keysOnly}, nil
}

func (a *app) printScan(keyType string, keysOnly bool, answer *holdfastv1.ScanResponse) error {
	entries, err := viewEntries(keyType, declared(answer), answer.GetEntries(), keysOnly)
	if err != nil {
		return err
	}
	v := map[string]any{"type": answer.GetType(), "entries": entries}
	next := base64.RawURLEncoding.EncodeToString(answer.GetNextPageToken())
	if next != "" {
		v["next_page_token"] = next
	}
	err = a.print(v, func(w io.Writer) error { return a.writeEntries(w, entries, keysOnly) })
	if err == nil && next != "" && a.format == render.FormatTable {
		a.note("there are more; --page-token %s shows the next page", next)
	}
	return err
}

// entryView is a key and its value. A key that does not fit --key-type is
// given as key_hex instead.
type entryView struct {
	// Subtask is set where it is an operator state, and Place where that is a list.
	Subtask *uint32    `json:"subtask,omitempty"`
	Place   *uint64    `json:"place,omitempty"`
	Key     any        `json:"key,omitempty"`
	KeyHex  values.Hex `json:"key_hex,omitempty"`
	Value   any        `json:"value,omitempty"`
	// Updated is set where the state has a TTL.
	Updated values.Updated `json:"updated,omitempty"`
	Found   *bool          `json:"found,omitempty"`
}

func viewEntries(keyType string, d declaredState, entries []*holdfastv1.StateEntry, keysOnly bool) ([]entryView, error) {
	out := []entryView{}
	for _, e := range entries {
		found := e.GetFound()
		v := entryView{}
		if !keysOnly {
			v.Found = &found
		}
		v.setKey(keyType, d.operator, e)
		if found && !keysOnly {
			var err error
			if v.Value, v.Updated, err = values.DecodeState(d.value, e.GetValue()); err != nil {
				return nil, exit.Errorf(exit.Failure, "the value of key %x: %w", e.GetKey(), err)
			}
		}
		out = append(out, v)
	}
	return out, nil
}

func (e entryView) keyText() string {
	text := ""
	switch {
	case e.Place != nil:
		text = strconv.FormatUint(*e.Place, 10)
	case e.Key == nil:
		text = "hex:" + string(e.KeyHex)
	default:
		text = values.Text(e.Key)
	}
	if e.Subtask != nil {
		text = fmt.Sprintf("%d/%s", *e.Subtask, text)
	}
	return text
}

func (e entryView) valueText() string {
	if !*e.Found {
		return "(absent)"
	}
	return values.Text(e.Value)
}

func (a *app) writeEntries(w io.Writer, entries []entryView, keysOnly bool) error {
	t := render.Table{Header: []string{"KEY", "VALUE"}}
	if keysOnly {
		t.Header = t.Header[:1]
	}
	for _, e := range entries {
		switch {
		case keysOnly:
			t.Add(e.keyText())
		default:
			t.Add(e.keyText(), e.valueText())
		}
	}
	return a.table(w, t)
}
