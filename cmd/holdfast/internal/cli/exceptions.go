package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/render"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// exceptionsShown is how many exceptions `describe` shows without being asked.
const exceptionsShown = 5

// exceptionView is how an attempt ended.
type exceptionView struct {
	TimeMs int64 `json:"time_ms"`
	// Class is USER, EXTERNAL or INTERNAL for a failure, LOST for a process or a
	// node that is gone.
	Class        string     `json:"class"`
	OperatorUID  string     `json:"operator_uid"`
	SubtaskIndex uint32     `json:"subtask_index"`
	Attempt      uint64     `json:"attempt"`
	NodeID       string     `json:"node_id"`
	NodeName     string     `json:"node_name,omitempty"`
	ProcessID    string     `json:"process_id,omitempty"`
	Error        *errorView `json:"error"`
	Stack        string     `json:"stack,omitempty"`
}

// viewExceptions are the exceptions of a job, newest first.
func viewExceptions(records []*holdfastv1.ExceptionRecord) (out []exceptionView) {
	for _, e := range slices.Backward(records) {
		v := exceptionView{
			TimeMs: e.GetTimeMs(), Class: strings.TrimPrefix(e.GetExceptionClass().String(), "EXCEPTION_CLASS_"),
			OperatorUID: e.GetOperatorUid(), SubtaskIndex: e.GetSubtaskIndex(), Attempt: e.GetAttempt(),
			NodeID: e.GetNodeId(), NodeName: e.GetNodeName(), ProcessID: e.GetProcessId(), Error: viewError(e.GetError()),
		}
		if v.Error != nil {
			v.Stack = e.GetError().GetMetadata()["stack"]
			v.Error = v.Error.without("stack")
		}
		out = append(out, v)
	}
	return out
}

// without is the error less one of its metadata, which is shown apart.
func (e *errorView) without(key string) *errorView {
	c := *e
	c.Metadata = nil
	for k, v := range e.Metadata {
		if k != key {
			if c.Metadata == nil {
				c.Metadata = map[string]string{}
			}
			c.Metadata[k] = v
		}
	}
	return &c
}

// subtask is the name of the subtask; a failure of the whole job has none.
func (e exceptionView) subtask() string {
	if e.OperatorUID == "" {
		return "the job"
	}
	return fmt.Sprintf("%s/%d", e.OperatorUID, e.SubtaskIndex)
}

func (e exceptionView) node() string { return nodeText(e.NodeName, e.NodeID) }

// nodeText is the name of a node, or its id where it has not told its name yet.
func nodeText(name, id string) string {
	if name != "" {
		return name
	}
	return orDash(id)
}

func (a *app) writeExceptions(w io.Writer, list []exceptionView) error {
	t := render.Table{Header: []string{"EXCEPTION AT", "CLASS", "SUBTASK", "NODE", "PROCESS", "ATTEMPT", "WHAT"}}
	for _, e := range list[:min(len(list), exceptionsShown)] {
		t.Add(render.Time(e.TimeMs), e.Class, e.subtask(), e.node(), orDash(e.ProcessID), dashZero(e.Attempt), e.Error.line())
	}
	if err := a.table(w, t); err != nil {
		return err
	}
	if n := len(list) - exceptionsShown; n > 0 {
		_, err := fmt.Fprintf(w, "%d older; --exceptions shows all, with stacks\n", n)
		return err
	}
	if slices.ContainsFunc(list, func(e exceptionView) bool { return e.Stack != "" }) {
		_, err := fmt.Fprintln(w, "--exceptions shows the stacks")
		return err
	}
	return nil
}

// writeStacks prints everything that is known of each exception.
func (a *app) writeStacks(w io.Writer, list []exceptionView) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no attempt of the job has failed or was lost")
		return err
	}
	for i, e := range list {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s  %s  %s  node %s  process %s  attempt %s\n", a.style.Bold(render.Time(e.TimeMs)), a.style.Word(e.Class), e.subtask(),
			e.node(), orDash(e.ProcessID), dashZero(e.Attempt))
		for line := range strings.Lines(strings.TrimSpace(e.Error.String())) {
			fmt.Fprintf(w, "  %s\n", strings.TrimRight(line, "\n"))
		}
		for _, k := range sortedKeys(e.Error.Metadata) {
			fmt.Fprintf(w, "  %s: %s\n", k, e.Error.Metadata[k])
		}
		for line := range strings.Lines(strings.TrimSpace(e.Stack)) {
			fmt.Fprintf(w, "    %s\n", a.style.Dim(strings.TrimRight(line, "\n")))
		}
	}
	return nil
}

func dashZero(n uint64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}
