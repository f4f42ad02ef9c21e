package demo

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/render"
)

// Timeline prints what happens with the seconds since the beginning: lines for
// a person, or one JSON object each.
type Timeline struct {
	Out   io.Writer
	Style render.Style
	JSON  bool

	mu    sync.Mutex
	began time.Time
}

// Event is a line of `demo -o json`.
type Event struct {
	TimeMs int64  `json:"time_ms"`
	Event  string `json:"event"`
	Text   string `json:"text"`
}

func (t *Timeline) print(event, text, styled string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.began.IsZero() {
		t.began = time.Now()
	}
	since := time.Since(t.began)
	if t.JSON {
		_ = render.JSONLine(t.Out, Event{since.Milliseconds(), event, text}) // a closed stdout does not end the demo
		return
	}
	fmt.Fprintf(t.Out, "%s  %s\n", t.Style.Dim(fmt.Sprintf("%6.2f s", since.Seconds())), styled)
}

// say tells a step.
func (t *Timeline) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	t.print("step", text, text)
}

// kill tells what was killed.
func (t *Timeline) kill(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	t.print("kill", "SIGKILL "+text, t.Style.Red("SIGKILL")+" "+t.Style.Bold(text))
}

// then tells what followed.
func (t *Timeline) then(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	t.print("then", text, "        "+text)
}

// good tells what was found to be right, bad what was not.
func (t *Timeline) good(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	t.print("good", text, t.Style.Green(text))
}

func (t *Timeline) bad(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	t.print("bad", text, t.Style.Red(text))
}

// text prints lines without a time, for people only.
func (t *Timeline) text(format string, args ...any) {
	if t.JSON {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.Out, format, args...)
}
