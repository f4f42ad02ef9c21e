// Package daemon is one Holdfast node as a library: cmd/holdfastd is a command
// line around it, and tests run several in one process.
package daemon

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/raftstore"
)

// Config is everything a node can be told.
type Config struct {
	// DataDir holds the node's identity, log and snapshots. One node a
	// directory.
	DataDir string
	// Name is the node's name in InitialCluster and in what people read.
	Name string
	// Listen is where clients connect, host:port; port 0 takes a free one.
	Listen string
	// Advertise is the address told to clients; empty: the bound one.
	Advertise string
	// PeerListen is where other nodes connect, host:port.
	PeerListen string
	// PeerAdvertise is the address told to other nodes; empty: the bound one.
	PeerAdvertise string
	// InitialCluster names the first members, as name=host:port of their peer
	// addresses, joined by commas. Empty: a cluster of this node alone.
	InitialCluster string
	// InsecureListen allows addresses other than loopback although there is no
	// TLS.
	InsecureListen bool

	// HeartbeatInterval and SessionTimeout are told to operator processes.
	HeartbeatInterval, SessionTimeout time.Duration
	// ReconnectGrace is how long the process of a broken stream may take to
	// come back before its subtask is given away.
	ReconnectGrace time.Duration
	// StatusInterval is how often a host tells the leader of its streams.
	StatusInterval time.Duration

	// Raft holds the timeouts of the replicated log. DataDir, names and
	// addresses in it are set from the fields above.
	Raft raftstore.Config

	Logger *slog.Logger
}

// DefaultConfig returns a node for development: alone, on loopback.
func DefaultConfig() Config {
	return Config{
		DataDir: "holdfast-data", Name: "n1", Listen: "127.0.0.1:7070", PeerListen: "127.0.0.1:7080",
		HeartbeatInterval: 3 * time.Second, SessionTimeout: 15 * time.Second,
		ReconnectGrace: time.Second, StatusInterval: 500 * time.Millisecond,
		Raft: raftstore.DefaultConfig(), Logger: slog.Default(),
	}
}

// validate checks what can be checked before anything is opened.
func (c Config) validate() error {
	if c.DataDir == "" {
		return errors.New("the data directory is empty; set --data-dir")
	}
	for name, addr := range map[string]string{"--listen": c.Listen, "--peer-listen": c.PeerListen} {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return fmt.Errorf("%s %q is not host:port: %w", name, addr, err)
		}
		if ip := net.ParseIP(host); !c.InsecureListen && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
			return fmt.Errorf("%s %s is not a loopback address, and this node has no TLS: anyone who reaches it could read and change state; "+
				"use 127.0.0.1, or --insecure-listen if the network is trusted", name, addr)
		}
	}
	if c.HeartbeatInterval <= 0 || c.SessionTimeout < 2*c.HeartbeatInterval {
		return fmt.Errorf("the session timeout %s must be at least twice the heartbeat interval %s", c.SessionTimeout, c.HeartbeatInterval)
	}
	return nil
}

// initialMembers parses InitialCluster and checks that this node is in it.
func (c Config) initialMembers() ([]raftstore.InitialMember, error) {
	if c.InitialCluster == "" {
		return nil, nil
	}
	var out []raftstore.InitialMember
	self := false
	for _, part := range strings.Split(c.InitialCluster, ",") {
		name, addr, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok || name == "" || addr == "" {
			return nil, fmt.Errorf("--initial-cluster: %q is not name=host:port", part)
		}
		self = self || name == c.Name
		out = append(out, raftstore.InitialMember{Name: name, Address: addr})
	}
	if !self {
		return nil, fmt.Errorf("--initial-cluster does not name this node (--name %s)", c.Name)
	}
	return out, nil
}
