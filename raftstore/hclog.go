package raftstore

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"strings"

	"github.com/hashicorp/go-hclog"
)

// hclogger lets the Raft library log through slog. Only what the library uses
// does something: levels are the business of the slog handler.
type hclogger struct {
	out  *slog.Logger
	name string
	args []any
}

func newHclog(out *slog.Logger) hclog.Logger { return &hclogger{out: out} }

// slogLevel translates a level. Errors of the library are about one failed
// message, mostly to a peer that is down: by this project's levels something
// that may heal by itself.
func slogLevel(l hclog.Level) slog.Level {
	switch l {
	case hclog.Error, hclog.Warn:
		return slog.LevelWarn
	case hclog.Info:
		return slog.LevelInfo
	default:
		return slog.LevelDebug
	}
}

// Log implements hclog.Logger.
func (h *hclogger) Log(level hclog.Level, msg string, args ...any) {
	l := slogLevel(level)
	if !h.out.Enabled(context.Background(), l) {
		return
	}
	h.out.Log(context.Background(), l, msg, plainArgs(args)...)
}

// plainArgs formats the library's lazy values, which slog would print as a
// list, and calls errors as the rest of the log does.
func plainArgs(args []any) []any {
	out := make([]any, len(args))
	for i, a := range args {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			a = fmt.Sprintf(fmt.Sprint(f[0]), f[1:]...)
		}
		if a == "error" && i%2 == 0 {
			a = "err"
		}
		out[i] = a
	}
	return out
}

// Trace implements hclog.Logger.
func (h *hclogger) Trace(msg string, args ...any) { h.Log(hclog.Trace, msg, args...) }

// Debug implements hclog.Logger.
func (h *hclogger) Debug(msg string, args ...any) { h.Log(hclog.Debug, msg, args...) }

// Info implements hclog.Logger.
func (h *hclogger) Info(msg string, args ...any) { h.Log(hclog.Info, msg, args...) }

// Warn implements hclog.Logger.
func (h *hclogger) Warn(msg string, args ...any) { h.Log(hclog.Warn, msg, args...) }

// Error implements hclog.Logger.
func (h *hclogger) Error(msg string, args ...any) { h.Log(hclog.Error, msg, args...) }

// IsTrace implements hclog.Logger.
func (h *hclogger) IsTrace() bool { return h.IsDebug() }

// IsDebug implements hclog.Logger.
func (h *hclogger) IsDebug() bool { return h.enabled(slog.LevelDebug) }

// IsInfo implements hclog.Logger.
func (h *hclogger) IsInfo() bool { return h.enabled(slog.LevelInfo) }

// IsWarn implements hclog.Logger.
func (h *hclogger) IsWarn() bool { return h.enabled(slog.LevelWarn) }

// IsError implements hclog.Logger.
func (h *hclogger) IsError() bool { return h.enabled(slog.LevelWarn) }

func (h *hclogger) enabled(l slog.Level) bool { return h.out.Enabled(context.Background(), l) }

// ImpliedArgs implements hclog.Logger.
func (h *hclogger) ImpliedArgs() []any { return h.args }

// With implements hclog.Logger.
func (h *hclogger) With(args ...any) hclog.Logger {
	all := append(append([]any{}, h.args...), args...)
	return &hclogger{out: h.out.With(plainArgs(args)...), name: h.name, args: all}
}

// Name implements hclog.Logger.
func (h *hclogger) Name() string { return h.name }

// Named implements hclog.Logger.
func (h *hclogger) Named(name string) hclog.Logger {
	return h.ResetNamed(strings.TrimPrefix(h.name+"."+name, "."))
}

// ResetNamed implements hclog.Logger.
func (h *hclogger) ResetNamed(name string) hclog.Logger {
	return &hclogger{out: h.out, name: name, args: h.args}
}

// SetLevel implements hclog.Logger and does nothing.
func (h *hclogger) SetLevel(hclog.Level) {}

// GetLevel implements hclog.Logger.
func (h *hclogger) GetLevel() hclog.Level {
	switch {
	case h.IsDebug():
		return hclog.Debug
	case h.IsInfo():
		return hclog.Info
	default:
		return hclog.Warn
	}
}

// StandardLogger implements hclog.Logger.
func (h *hclogger) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return slog.NewLogLogger(h.out.Handler(), slog.LevelDebug)
}

// StandardWriter implements hclog.Logger.
func (h *hclogger) StandardWriter(opts *hclog.StandardLoggerOptions) io.Writer {
	return h.StandardLogger(opts).Writer()
}
