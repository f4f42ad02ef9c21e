package render

import (
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/bug"
)

// quiet is how long something may take without a word.
const quiet = 2 * time.Second

// Progress tells on w what is being waited for once that takes longer than two
// seconds: one line that counts on a terminal, else a line every five seconds.
type Progress struct {
	w    io.Writer
	tty  bool
	mu   sync.Mutex
	what string
	// drawn is set while the terminal's line holds our text.
	drawn bool
	stop  chan struct{}
	done  chan struct{}
}

// StartProgress begins to count. Stop must be called.
func StartProgress(w io.Writer, what string) *Progress {
	p := &Progress{w: w, tty: IsTerminal(w), what: what, stop: make(chan struct{}), done: make(chan struct{})}
	began := time.Now()
	bug.Go(func() { p.run(began) })
	return p
}

// Set changes what is waited for. Safe for concurrent use.
func (p *Progress) Set(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.what = what
}

// Stop ends the telling and clears the line. It may be called once.
func (p *Progress) Stop() {
	close(p.stop)
	<-p.done
}

func (p *Progress) run(start time.Time) {
	defer close(p.done)
	every := 5 * time.Second
	if p.tty {
		every = time.Second
	}
	timer := time.NewTimer(quiet)
	defer timer.Stop()
	for {
		select {
		case <-p.stop:
			p.clear()
			return
		case <-timer.C:
			p.draw(time.Since(start))
			timer.Reset(every)
		}
	}
}

func (p *Progress) draw(since time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	line := fmt.Sprintf("holdfast: %s (%d s)", p.what, int(since.Seconds()))
	if p.tty {
		fmt.Fprint(p.w, "\r\x1b[K"+line)
		p.drawn = true
		return
	}
	fmt.Fprintln(p.w, line)
}

func (p *Progress) clear() {
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
