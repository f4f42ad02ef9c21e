package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/holdfast-io/holdfast/stateserver"
)

// Bounds of the HTTP port. A profile may take half a minute.
const (
	httpHeaderTimeout = 5 * time.Second
	httpWriteTimeout  = 2 * time.Minute
	scrapeTimeout     = 10 * time.Second
	maxScrapes        = 8
)

// newRegistry makes the registry of one node, with what the process and the Go
// runtime say of themselves.
func newRegistry() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return r
}

// httpPort serves metrics and health, from before the log is opened: a node that
// waits for the other first members lives, and is not ready.
type httpPort struct {
	lis    net.Listener
	server *http.Server
	done   chan struct{}
	// edge is nil until the node belongs to a cluster.
	edge atomic.Pointer[stateserver.Server]
}

// listenHTTP binds and serves the port of metrics-listen; nil if there is none.
func listenHTTP(cfg Config, registry *prometheus.Registry) (*httpPort, error) {
	if cfg.MetricsListen == "" {
		return nil, nil
	}
	lis, err := net.Listen("tcp", cfg.MetricsListen)
	if err != nil {
		return nil, fmt.Errorf("listen for metrics: %w", err)
	}
	p := &httpPort{lis: lis, done: make(chan struct{})}
	p.server = &http.Server{
		Handler: p.routes(cfg, registry), ReadHeaderTimeout: httpHeaderTimeout, WriteTimeout: httpWriteTimeout,
		ErrorLog: slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelDebug),
	}
	go func() {
		defer close(p.done)
		if err := p.server.Serve(lis); !errors.Is(err, http.ErrServerClosed) {
			cfg.Logger.Error("a port stopped serving", "port", "metrics", "err", err)
		}
	}()
	return p, nil
}

func (p *httpPort) routes(cfg Config, registry *prometheus.Registry) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(cfg.Logger.Handler(), slog.LevelWarn), ErrorHandling: promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout,
	}))
	mux.Handle("GET /healthz", health(p.alive))
	mux.Handle("GET /readyz", health(p.ready))
	if cfg.Pprof {
		mux.HandleFunc("/debug/pprof/", pprof.Index)
		mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	}
	return mux
}

func (p *httpPort) alive() error {
	if s := p.edge.Load(); s != nil {
		return s.Alive()
	}
	return nil
}

func (p *httpPort) ready() error {
	if s := p.edge.Load(); s != nil {
		return s.Ready()
	}
	return errors.New("this node is starting: it reads its log, or waits for the other first members")
}

// address is where the port is; empty if there is none.
func (p *httpPort) address() string {
	if p == nil {
		return ""
	}
	return p.lis.Addr().String()
}

// health answers 200 and "ok", or 503 and the reason in words.
func health(check func() error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		if err := check(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = fmt.Fprintln(w, err) // the caller is gone
			return
		}
		_, _ = fmt.Fprintln(w, "ok") // the same
	})
}

// close ends the port; what is not answered soon is cut off.
func (p *httpPort) close() {
	if p == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	if p.server.Shutdown(ctx) != nil {
		_ = p.server.Close() // a slow reader holds up nobody
	}
	<-p.done
}
