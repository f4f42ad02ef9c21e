package config

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/internal/flinkunits"
)

// Conflict is what is wrong with a value, alone or beside another one.
type Conflict struct {
	Key string
	// With is the other key, or empty.
	With    string
	Message string
	// Needs is a key without which nothing can be said yet.
	Needs string
}

// Error implements error.
func (c Conflict) Error() string { return c.Key + ": " + c.Message }

// CheckNode tells what cannot work, before anything is opened.
func CheckNode(n Node) []Conflict {
	var out []Conflict
	if n.Name == "" {
		out = append(out, Conflict{Key: "name", Message: "it is empty"})
	}
	if n.DataDir == "" {
		out = append(out, Conflict{Key: "data-dir", Message: "it is empty"})
	}
	out = append(out, n.addresses()...)
	if n.Debug.Pprof && n.MetricsListen == "" {
		out = append(out, Conflict{Key: "debug.pprof", With: "metrics-listen", Message: "/debug/pprof/ is served on the port of metrics-listen, which is not set"})
	}
	out = append(out, n.TLS.conflicts()...)
	if n.SessionTimeout < 2*n.HeartbeatInterval {
		out = append(out, between("session-timeout", n.SessionTimeout, "less than twice", "heartbeat-interval", n.HeartbeatInterval))
	}
	if r := n.Raft; r.ElectionTimeout != 0 && r.ElectionTimeout < r.HeartbeatTimeout {
		out = append(out, between("raft.election-timeout", r.ElectionTimeout, "less than", "raft.heartbeat-timeout", r.HeartbeatTimeout))
	}
	if r := n.Raft; r.LeaderLease > r.HeartbeatTimeout {
		out = append(out, between("raft.leader-lease", r.LeaderLease, "more than", "raft.heartbeat-timeout", r.HeartbeatTimeout))
	}
	if _, c := n.Members(); c != nil {
		out = append(out, *c)
	}
	if (n.S3.AccessKey == "") != (n.S3.SecretKey == "") {
		out = append(out, Conflict{Key: "s3.access-key", With: "s3.secret-key", Message: "s3.access-key and s3.secret-key are set together or not at all"})
	}
	if n.Join && n.InitialCluster != "" {
		out = append(out, Conflict{Key: "join", With: "initial-cluster", Message: "a node either makes a cluster with the others of initial-cluster or joins one that runs: set one of the two"})
	}
	return out
}

func between(key string, value time.Duration, is, with string, other time.Duration) Conflict {
	return Conflict{Key: key, With: with, Message: fmt.Sprintf("%s of %s is %s %s of %s", key, duration(value), is, with, duration(other))}
}

func duration(d time.Duration) string { return flinkunits.FormatDuration(d) }

func (n Node) addresses() []Conflict {
	var out []Conflict
	for _, a := range []struct {
		key, address   string
		empty, advised bool
		tls            TLSPort
		certKey        string
	}{
		{"listen", n.Listen, false, false, n.TLS.Client, "tls.client.cert-file"}, {key: "advertise", address: n.Advertise, empty: true, advised: true},
		{"peer-listen", n.PeerListen, false, false, TLSPort(n.TLS.Peer), "tls.peer.cert-file"}, {key: "peer-advertise", address: n.PeerAdvertise, empty: true, advised: true},
		{key: "metrics-listen", address: n.MetricsListen, empty: true},
	} {
		if a.address == "" && a.empty {
			continue
		}
		host, problem := splitAddress(a.address)
		if problem != "" {
			out = append(out, Conflict{Key: a.key, Message: problem})
			continue
		}
		if ip := net.ParseIP(host); a.advised || a.tls.CertFile != "" || n.InsecureListen || host == "localhost" || ip != nil && ip.IsLoopback() {
			continue
		}
		c := Conflict{Key: a.key, Message: a.address + " is not a loopback address, and this port has no TLS: anyone who reaches it " +
			"could read and change state; set " + a.certKey + ", use 127.0.0.1, or set insecure-listen if the network is trusted"}
		switch {
		case a.certKey == "":
			c.Message = a.address + " is not a loopback address, and this port never has TLS: anyone who reaches it could read what is there; " +
				"use 127.0.0.1, or set insecure-listen if the network is trusted"
		case a.tls != (TLSPort{}):
			c.Needs = a.certKey // the rest is there: the certificate differs from node to node
		}
		out = append(out, c)
	}
	return out
}

// conflicts tells which files are missing beside others. What is in the files is
// looked at when the node starts.
func (t TLS) conflicts() []Conflict {
	type setting struct{ key, file string }
	cert, key, ca := setting{"tls.client.cert-file", t.Client.CertFile}, setting{"tls.client.key-file", t.Client.KeyFile}, setting{"tls.client.ca-file", t.Client.CAFile}
	peerCert, peerKey, peerCA := setting{"tls.peer.cert-file", t.Peer.CertFile}, setting{"tls.peer.key-file", t.Peer.KeyFile}, setting{"tls.peer.ca-file", t.Peer.CAFile}
	var out []Conflict
	for _, rule := range []struct {
		has, needs setting
		why        string
	}{
		{cert, key, "which needs its key"}, {key, cert, "which needs its certificate"},
		{ca, cert, "which clients are judged by once the port has TLS: its certificate is needed"},
		{peerCert, peerKey, "which needs its key"}, {peerKey, peerCert, "which needs its certificate"},
		{peerCert, peerCA, "and nodes always show each other certificates: their authorities are needed"},
		{peerCA, peerCert, "and nodes always show each other certificates: this node's is needed"},
	} {
		missing := Conflict{Key: rule.needs.key, With: rule.has.key, Message: fmt.Sprintf("%s is not set, and %s is %s, %s", rule.needs.key, rule.has.key, rule.has.file, rule.why), Needs: rule.needs.key}
		known := slices.ContainsFunc(out, func(c Conflict) bool { return c.Key == missing.Key })
		if rule.has.file != "" && rule.needs.file == "" && !known {
			out = append(out, missing)
		}
	}
	return out
}

// splitAddress gives the host, or what is wrong.
func splitAddress(address string) (host, problem string) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", fmt.Sprintf("%q is not host:port", address)
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Sprintf("%q has no port from 0 to 65535", address)
	}
	return host, ""
}

// maxInitialMembers is raftstore's.
const maxInitialMembers = 15

// Member is one of the first members of a cluster.
type Member struct{ Name, Address string }

// Members reads InitialCluster, in which this node must be. It is nil for a
// cluster of this node alone.
func (n Node) Members() ([]Member, *Conflict) {
	if n.InitialCluster == "" {
		return nil, nil
	}
	var out []Member
	bad := func(format string, args ...any) *Conflict {
		return &Conflict{Key: "initial-cluster", Message: fmt.Sprintf(format, args...)}
	}
	names, addresses := map[string]bool{}, map[string]string{}
	for part := range strings.SplitSeq(n.InitialCluster, ",") {
		name, address, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok || name == "" || address == "" {
			return nil, bad("%q is not name=host:port", part)
		}
		if _, problem := splitAddress(address); problem != "" {
			return nil, bad("%s: %s", name, problem)
		}
		if names[name] {
			return nil, bad("the name %s is there twice; give each node its own", name)
		}
		if other := addresses[address]; other != "" {
			return nil, bad("%s and %s have the same address, %s; give each node its own", other, name, address)
		}
		names[name], addresses[address] = true, name
		out = append(out, Member{name, address})
	}
	if len(out) > maxInitialMembers {
		return nil, bad("it has %d members, at most %d are allowed; add others later", len(out), maxInitialMembers)
	}
	if !names[n.Name] {
		c := bad("it does not have this node, whose name is %s; add it, or set name to one of %s", n.Name, strings.Join(slices.Sorted(maps.Keys(names)), ", "))
		c.Needs = "name"
		return nil, c
	}
	return out, nil
}

func (j Job) conflicts() []Conflict {
	if e := j.Restart.ExponentialDelay; e.MaxBackoff < e.InitialBackoff {
		const family = "restart-strategy.exponential-delay."
		return []Conflict{between(family+"max-backoff", e.MaxBackoff, "less than", family+"initial-backoff", e.InitialBackoff)}
	}
	return nil
}
