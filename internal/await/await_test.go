package await

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// recorder is a test that may fail.
type recorder struct {
	testing.TB
	said []string
}

func (r *recorder) Helper() {}

func (r *recorder) Logf(format string, args ...any) {
	r.said = append(r.said, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Logf(format, args...)
	runtime.Goexit()
}

func until(patience time.Duration, ok func() bool, instead ...func() string) (said string, returned bool) {
	r := &recorder{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		Until(r, patience, "tea", ok, instead...)
		returned = true
	}()
	<-done
	return strings.Join(r.said, "\n"), returned
}

func TestUntil_LooksAgain(t *testing.T) {
	looks := 0
	if said, returned := until(time.Hour, func() bool { looks++; return looks == 3 }); said != "" || !returned || looks != 3 {
		t.Errorf("%d looks, returned %v, said %q", looks, returned, said)
	}
}

func TestUntil_PatienceEnds(t *testing.T) {
	said, returned := until(time.Millisecond, func() bool { return false }, func() string { return "coffee" })
	if want := "there is instead: coffee\nwaited 1ms in vain for tea"; returned || said != want {
		t.Errorf("returned %v, said %q, want %q", returned, said, want)
	}
}
