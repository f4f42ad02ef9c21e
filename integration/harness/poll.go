package harness

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

const pollEvery = 5 * time.Millisecond

// Until polls until f returns nil. When the patience is over the test ends,
// with what was awaited and why the last try was not enough.
func Until(t testing.TB, what string, f func() error) {
	t.Helper()
	if err := poll(Patience(), f); err != nil {
		t.Fatalf("waited %s for %s: %v", Patience(), what, err)
	}
}

// Soon is Until for what may also not happen: it gives up after a limit, with
// why the last try was not enough.
func Soon(limit time.Duration, f func() error) error { return poll(limit, f) }

// errStop wraps an error that more waiting cannot heal.
type errStop struct{ error }

// Unwrap returns the error itself.
func (e errStop) Unwrap() error { return e.error }

// Stop makes Until give up at once.
func Stop(format string, args ...any) error { return errStop{fmt.Errorf(format, args...)} }

func poll(limit time.Duration, f func() error) error {
	deadline := time.Now().Add(limit)
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		err := f()
		if err == nil {
			return nil
		}
		if stop := (errStop{}); errors.As(err, &stop) {
			return stop.error
		}
		if time.Now().After(deadline) {
			return err
		}
		<-tick.C
	}
}
