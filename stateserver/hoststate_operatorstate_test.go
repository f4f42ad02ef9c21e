package stateserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-io/holdfast/coordinator"
	"github.com/holdfast-io/holdfast/internal/statevalue"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
	"github.com/holdfast-io/holdfast/stateserver/storage"
)

// restoring is the subtask 0 of n, each of which had a part of the size.
func restoring(t *testing.T, mode holdfastv1.OperatorStateMode, n, size int) *subject {
	t.Helper()
	d := coordinator.DeclaredOperatorState{OperatorUID: "op", Descriptor: &holdfastv1.OperatorStateDescriptor{Name: "s", Type: "bytes", Mode: mode}}
	declared := []coordinator.DeclaredOperatorState{d}
	content := statevalue.AppendElement(nil, make([]byte, size))
	packed, problem := coordinator.PackOperatorStates(declared, []*holdfastv1.OperatorState{{OperatorUid: "op", StateName: "s", Content: content}})
	if problem != "" {
		t.Fatal(problem)
	}
	sub := &subject{spec: &holdfastv1.JobSpec{}, parallelism: uint32(n), operatorStates: declared}
	sub.restore.CheckpointID = 5
	for range n {
		sub.restore.OperatorState = append(sub.restore.OperatorState, coordinator.InlineOperatorState(packed))
	}
	return sub
}

func begins(sub *subject) ([]*holdfastv1.OperatorState, error) {
	return retryRestore(context.Background(), slog.New(slog.DiscardHandler), sub, time.Now(), func() ([]*holdfastv1.OperatorState, error) {
		return (&hostStates{}).operatorState(context.Background(), sub)
	})
}

// Without a union an attempt reads its own part, and no other: here those are damaged.
func TestRestore_OwnOperatorStateAlone(t *testing.T) {
	sub := restoring(t, holdfastv1.OperatorStateMode_OPERATOR_STATE_MODE_SPLIT_DISTRIBUTE, 64, 100)
	for i := 1; i < 64; i++ {
		sub.restore.OperatorState[i] = coordinator.InlineOperatorState([]byte("damaged"))
	}
	got, err := begins(sub)
	if err != nil || coordinator.OperatorStateBytes(got) != 104 {
		t.Fatalf("%v, %v", got, err)
	}
	sub.index = 1
	if _, err := begins(sub); !errors.As(err, &errRestore{}) {
		t.Fatalf("a damaged part: %v", err)
	}
}

// A union of more than an attempt may have suspends the job, and names the state: no
// other attempt could begin with it.
func TestRestore_UnionTooLarge(t *testing.T) {
	union := holdfastv1.OperatorStateMode_OPERATOR_STATE_MODE_UNION
	got, err := begins(restoring(t, union, 31, 2<<20))
	if n := coordinator.OperatorStateBytes(got); err != nil || n != 31*(2<<20+4) {
		t.Fatalf("what fits: %d bytes, %v", n, err)
	}
	_, err = begins(restoring(t, union, 33, 2<<20))
	var r errRestore
	if !errors.As(err, &r) || r.e.Reason != holdfastv1.ErrorReason_ERROR_REASON_RESTORE_FAILED || !strings.Contains(r.e.Message, `operator state "s" of operator "op" is UNION`) {
		t.Fatalf("what does not: %v", err)
	}
	sub := restoring(t, union, 1, 1)
	sub.restore.OperatorState[0].Size = coordinator.MaxOperatorStatePart + 1
	if _, err := begins(sub); !errors.As(err, &r) || !strings.Contains(r.e.Message, "which none can have") {
		t.Fatalf("a part of a size that none has: %v", err)
	}
}

// The parts of the state backend are written once, and the operator state behind them is
// written again where the storage did not answer.
func TestWriteAgain_OneBudget(t *testing.T) {
	away := &storage.Error{Op: "write", URL: "file:///x", Kind: storage.ErrUnavailable, Err: errors.New("away")}
	parts, last := 0, 0
	got, err := writeAgain(context.Background(), func() ([]*holdfastv1.StateHandle, error) {
		if parts++; parts == 1 {
			return nil, away
		}
		return []*holdfastv1.StateHandle{{Name: "part"}}, nil
	}, func() (*holdfastv1.StateHandle, error) {
		if last++; last == 1 {
			return nil, fmt.Errorf("the operator state: %w", away)
		}
		return coordinator.InlineOperatorState(nil), nil
	})
	if err != nil || len(got) != 2 || got[0].Name != "part" || coordinator.OperatorStatePart(got) != got[1] || parts != 2 || last != 2 {
		t.Fatalf("%d and %d tries: %v, %v", parts, last, got, err)
	}
	damaged := errors.New("no other try can mend it")
	if _, err := writeAgain(context.Background(), func() ([]*holdfastv1.StateHandle, error) { parts++; return nil, damaged }, nil); !errors.Is(err, damaged) || parts != 3 {
		t.Fatalf("%d tries: %v", parts, err)
	}
}

// TestWriteAgain_LongUpload: what took long and succeeded takes nothing from the
// patience, which is for a storage that does not answer, and is not without end.
func TestWriteAgain_LongUpload(t *testing.T) {
	away := &storage.Error{Op: "write", URL: "file:///x", Kind: storage.ErrUnavailable, Err: errors.New("away")}
	synctest.Test(t, func(t *testing.T) {
		last := 0
		parts := func() ([]*holdfastv1.StateHandle, error) {
			<-time.After(2 * uploadPatience) // by the clock of synctest: no time passes
			return []*holdfastv1.StateHandle{{Name: "part"}}, nil
		}
		if _, err := writeAgain(t.Context(), parts, func() (*holdfastv1.StateHandle, error) {
			if last++; last == 1 {
				return nil, away
			}
			return coordinator.InlineOperatorState(nil), nil
		}); err != nil || last != 2 {
			t.Errorf("%d tries: %v", last, err)
		}
		began := time.Now()
		_, err := writeAgain(t.Context(), func() ([]*holdfastv1.StateHandle, error) { return nil, away }, nil)
		if took := time.Since(began); !errors.Is(err, away) || took < uploadPatience || took > 3*uploadPatience {
			t.Errorf("given up after %v: %v", took, err)
		}
	})
}

func TestCheckParts_OfOperatorState(t *testing.T) {
	own := &holdfastv1.StateHandle{Name: "part", Format: "example"}
	if err := checkParts([]*holdfastv1.StateHandle{own, own}); err != nil {
		t.Fatal(err)
	}
	if err := checkParts([]*holdfastv1.StateHandle{own, coordinator.InlineOperatorState(nil)}); err == nil {
		t.Fatal("a state backend may write operator state")
	}
}
