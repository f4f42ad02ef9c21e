// Package config is everything that a node and a job can be told, once: the
// fields of Config with their tags give the keys of the configuration file, the
// variables of the environment, the flags of holdfastd and
// docs/configuration.md.
//
// The tags are:
//
//   - key, the name, and old, former names that mean the same, by commas
//   - default in the key's own syntax, or derived, which says in words what
//     follows from other settings while the key is not set
//   - values, the words a text may be, each with its aliases (name=alias|alias),
//     planned, words of Flink's that are refused as not supported yet, and open,
//     what else the text may be: a name of letters, digits, - and _
//   - syntax, directory for a text that is the URL of one
//   - min and max, and why, the reason of max
//   - since, the version that had it first; about, one sentence; secret
package config

import (
	"strings"
	"time"

	"github.com/holdfast-io/holdfast/internal/flinkunits"
)

//go:generate go run ./gendoc ../../docs/configuration.md

// Config is the whole configuration. Node is read by holdfastd, Job by programs.
type Config struct {
	Node Node
	Job  Job
}

// Node configures one holdfastd.
type Node struct {
	Name           string `key:"name" default:"n1" since:"0.1.0" about:"Name of the node in initial-cluster and in what people read."`
	DataDir        string `key:"data-dir" default:"holdfast-data" since:"0.1.0" about:"Directory of the node's identity, log and snapshots. One node a directory."`
	Listen         string `key:"listen" default:"127.0.0.1:7070" since:"0.1.0" about:"host:port for clients. Port 0 takes a free one."`
	Advertise      string `key:"advertise" derived:"the address of listen" since:"0.1.0" about:"host:port told to clients."`
	PeerListen     string `key:"peer-listen" default:"127.0.0.1:7080" since:"0.1.0" about:"host:port for other nodes."`
	PeerAdvertise  string `key:"peer-advertise" derived:"the address in initial-cluster, else of peer-listen" since:"0.1.0" about:"host:port told to other nodes."`
	InitialCluster string `key:"initial-cluster" derived:"a cluster of this node alone" since:"0.1.0" about:"The first members, the same list on each: name=host:port,... of their peer addresses. Used once."`
	Join           bool   `key:"join" default:"false" since:"0.1.0" about:"A new data directory waits to be added to a cluster that runs (holdfast cluster add) and makes none. Not together with initial-cluster. Used once."`
	InsecureListen bool   `key:"insecure-listen" default:"false" since:"0.1.0" about:"Listen beyond loopback on a port without TLS."`
	MetricsListen  string `key:"metrics-listen" derived:"no such port" since:"0.1.0" about:"host:port of an HTTP port for /metrics, /healthz and /readyz. Port 0 takes a free one."`

	HeartbeatInterval time.Duration `key:"heartbeat-interval" default:"3 s" min:"1 ms" since:"0.1.0" about:"How often operator processes send a heartbeat."`
	SessionTimeout    time.Duration `key:"session-timeout" default:"15 s" min:"1 ms" since:"0.1.0" about:"How long an operator process or a host may be silent before its subtasks are given away; at least twice heartbeat-interval."`
	ReconnectGrace    time.Duration `key:"reconnect-grace" default:"1 s" min:"1 ms" since:"0.1.0" about:"How long the process of a broken stream may take to come back before its subtask is given away."`
	MaxStreams        uint32        `key:"max-streams" default:"4096" min:"1" since:"0.1.0" about:"Streams of clients that the node has open at a time: one for each slot of an operator process, one for each job that is watched. More are refused, and go to another node."`

	MaxClusterVersion uint64 `key:"max-cluster-version" derived:"the highest that the build supports" min:"1" since:"0.1.0" about:"The highest cluster version that the node says it supports. Set to the cluster's version it keeps the way back to the release before open, see docs/upgrades.md."`

	State   State
	Storage Storage
	S3      S3

	TLS   TLS
	Raft  Raft
	Log   Log
	Debug Debug
}

// Storage says where the node lets checkpoints and savepoints live, see
// stateserver/storage/DESIGN.md.
type Storage struct {
	AllowedRoots string `key:"storage.allowed-roots" derived:"the directories that execution.checkpointing.dir and execution.checkpointing.savepoint-dir name to the node; without them every directory is refused" since:"0.1.0" about:"Directories below which jobs and callers may name theirs, by commas, as in file:///mnt/ckpt,s3://bucket/path,hdfs://host:8020/path. What lies outside is refused. Those of file must exist, on every node the same."`
}

// AllowedRoots are the URLs of the directories below which others may be named: those
// of storage.allowed-roots, else those of execution.checkpointing.*.
func (c Config) AllowedRoots() []string {
	list := c.Node.Storage.AllowedRoots
	if strings.TrimSpace(list) == "" {
		list = c.Job.Checkpointing.Dir + "," + c.Job.Checkpointing.SavepointDir
	}
	var roots []string
	for r := range strings.SplitSeq(list, ",") {
		if r = strings.TrimSpace(r); r != "" {
			roots = append(roots, r)
		}
	}
	return roots
}

// S3 is s3.*, with Flink's names.
type S3 struct {
	Endpoint  string `key:"s3.endpoint" derived:"that of Amazon" since:"0.1.0" about:"host:port of a server that speaks the protocol of S3, or its URL; http:// is without TLS."`
	PathStyle bool   `key:"s3.path.style.access" default:"false" since:"0.1.0" about:"Put the bucket into the path and not into the name of the host, as most servers other than Amazon's want it."`
	Region    string `key:"s3.region" derived:"AWS_REGION, else the server is asked" since:"0.1.0" about:"Region of the buckets."`
	AccessKey string `key:"s3.access-key" derived:"AWS_ACCESS_KEY_ID, else ~/.aws/credentials, else the role of the machine" secret:"true" since:"0.1.0" about:"Access key of the buckets. A secret has no flag, because others see the command line."`
	SecretKey string `key:"s3.secret-key" derived:"as s3.access-key" secret:"true" since:"0.1.0" about:"Secret of s3.access-key."`
}

// TLS secures the ports of a node, see docs/security.md. The files are read anew
// when they change.
type TLS struct {
	Client TLSPort // tls.client.*: the port for clients
	Peer   TLSPeer // tls.peer.*: the port for other nodes
}

// TLSPort is tls.client.*.
type TLSPort struct {
	CertFile string `key:"tls.client.cert-file" derived:"no TLS on the client port" since:"0.1.0" about:"Certificate of the port for clients, in PEM, with those between it and the authority behind it. Its names are those under which clients reach the node."`
	KeyFile  string `key:"tls.client.key-file" derived:"no TLS on the client port" since:"0.1.0" about:"Private key of tls.client.cert-file, in PEM, without a passphrase."`
	CAFile   string `key:"tls.client.ca-file" derived:"clients need no certificate" since:"0.1.0" about:"Authorities of clients, in PEM. If it is set, clients must show a certificate of one of them."`
}

// TLSPeer is tls.peer.*.
type TLSPeer struct {
	CertFile string `key:"tls.peer.cert-file" derived:"no TLS between nodes" since:"0.1.0" about:"Certificate that this node shows other nodes, in PEM, as a server and as a client. It must be for the DNS name NAME.node.holdfast, where NAME is the value of name."`
	KeyFile  string `key:"tls.peer.key-file" derived:"no TLS between nodes" since:"0.1.0" about:"Private key of tls.peer.cert-file, in PEM, without a passphrase."`
	CAFile   string `key:"tls.peer.ca-file" derived:"no TLS between nodes" since:"0.1.0" about:"Authorities of nodes, in PEM. Nodes must show a certificate of one of them."`
}

// Raft configures the replicated log of a node. A zero field that is derived
// takes what its tag says.
type Raft struct {
	HeartbeatTimeout  time.Duration `key:"raft.heartbeat-timeout" default:"300 ms" min:"1 ms" since:"0.1.0" about:"How long a follower waits for the leader before it asks for an election."`
	ElectionTimeout   time.Duration `key:"raft.election-timeout" derived:"300 ms, or raft.heartbeat-timeout if that is longer" min:"1 ms" since:"0.1.0" about:"How long a candidate waits for votes; at least raft.heartbeat-timeout."`
	LeaderLease       time.Duration `key:"raft.leader-lease" derived:"300 ms, or raft.heartbeat-timeout if that is shorter" min:"1 ms" since:"0.1.0" about:"How long a leader without contact to a majority goes on; at most raft.heartbeat-timeout."`
	SnapshotThreshold uint64        `key:"raft.snapshot-threshold" default:"8192" min:"1" since:"0.1.0" about:"Entries after which a snapshot of the log is taken."`
	SnapshotInterval  time.Duration `key:"raft.snapshot-interval" default:"10 s" min:"1 ms" since:"0.1.0" about:"How often raft.snapshot-threshold is checked."`
	TrailingLogs      uint64        `key:"raft.trailing-logs" default:"1024" min:"1" since:"0.1.0" about:"Entries kept behind a snapshot, so that a follower that is a little behind needs no snapshot."`
	LogStoreDeadline  time.Duration `key:"raft.log-store-deadline" default:"5 s" min:"1 ms" since:"0.1.0" about:"How long one operation on the log may take. After that the process ends, because a leader whose disk hangs must not go on leading."`
	PeerTimeout       time.Duration `key:"raft.peer-timeout" default:"2 s" min:"1 ms" since:"0.1.0" about:"How long dialing another node, the handshake or one message may take."`
}

// State configures the state backends of a node.
type State struct {
	Directory string          `key:"state.directory" derived:"state in data-dir" since:"0.1.0" about:"Directory in which the state backends of the node keep working state, in holdfast-state, which is emptied when the node starts: what survives a node is in checkpoints. No two nodes may have the same."`
	CacheSize flinkunits.Size `key:"state.cache-size" default:"256 mb" min:"1 mb" max:"1 tb" since:"0.1.0" about:"Memory that a state backend with its state on the disk (rocksdb) takes for its caches, for all jobs of the node together."`
	// TransferThreads is an option of the rocksdb backend, by Flink's name.
	TransferThreads uint32 `key:"state.backend.rocksdb.checkpoint.transfer.thread.num" default:"4" min:"1" max:"64" since:"0.1.0" about:"Files of one checkpoint of the rocksdb backend that are written or read at a time."`
}

// Log configures what a node logs.
type Log struct {
	Level  string `key:"log.level" default:"info" values:"debug,info,warn,error" since:"0.1.0" about:"The least level that is logged."`
	Format string `key:"log.format" default:"text" values:"text,json" since:"0.1.0" about:"How a line looks."`
}

// Debug configures what helps to look into a node, and to test and measure it.
type Debug struct {
	Pprof   bool `key:"debug.pprof" default:"false" since:"0.1.0" about:"Serve /debug/pprof/ on the port of metrics-listen."`
	NoFsync bool `key:"debug.no-fsync" default:"false" since:"0.1.0" about:"Never wait for the disk. For tests and benchmarks only: what the machine had not written when it crashed is lost, although it was acknowledged."`
}

// Job has the defaults of jobs, for what their programs do not set themselves.
// A node checks them and leaves them alone.
type Job struct {
	StateBackend  string          `key:"state.backend.type" old:"state.backend" default:"memory" values:"memory=jobmanager,filesystem=hashmap,rocksdb" planned:"forst" open:"the name of a factory that the nodes have" since:"0.1.0" about:"Where working state lives. memory: replicated in the memory of the nodes; filesystem: on the heap, and rocksdb: on the disk of the node that hosts the subtask."`
	MemoryMaxSize flinkunits.Size `key:"state.memory.max-size" default:"5 mb" min:"1 bytes" max:"64 gb" since:"0.1.0" about:"The most that the keys and values of one named state of a subtask may have in the memory backend."`
	FlushMaxDelay time.Duration   `key:"state.flush.max-delay" default:"1 s" min:"1 ms" since:"0.1.0" about:"How old a change may get in a process before it is flushed, where checkpoints are enabled. Without checkpoints each batch is flushed."`
	WorkingCopy   flinkunits.Size `key:"state.working-copy.size" default:"64 mb" min:"1 kb" max:"1 tb" since:"0.1.0" about:"State that a slot keeps in its process before it forgets what it did not use of late."`

	Checkpointing Checkpointing
	Recovery      Recovery
	Restart       Restart
}

// Checkpointing is Flink's execution.checkpointing.*.
type Checkpointing struct {
	Interval      time.Duration `key:"execution.checkpointing.interval" default:"0 ms" min:"10 ms" zero:"true" since:"0.1.0" about:"Time from the beginning of one checkpoint to that of the next. 0: checkpoints are disabled."`
	Mode          string        `key:"execution.checkpointing.mode" default:"EXACTLY_ONCE" values:"EXACTLY_ONCE,AT_LEAST_ONCE" since:"0.1.0" about:"What a checkpoint guarantees."`
	Timeout       time.Duration `key:"execution.checkpointing.timeout" default:"10 min" min:"1 ms" since:"0.1.0" about:"A checkpoint that takes longer is aborted."`
	NumRetained   uint32        `key:"execution.checkpointing.num-retained" old:"state.checkpoints.num-retained" default:"1" min:"1" max:"100" since:"0.1.0" about:"Completed checkpoints that are kept."`
	MinPause      time.Duration `key:"execution.checkpointing.min-pause" default:"0 ms" min:"1 ms" zero:"true" since:"0.1.0" about:"Least time from the end of one checkpoint to the beginning of the next."`
	Tolerable     uint32        `key:"execution.checkpointing.tolerable-failed-checkpoints" default:"0" since:"0.1.0" about:"Checkpoints that may fail one after the other before the job restarts from the newest completed one."`
	MaxConcurrent uint32        `key:"execution.checkpointing.max-concurrent-checkpoints" default:"1" min:"1" max:"1" why:"a subtask seals its working copy for one checkpoint at a time, so a second one could only wait for the first" since:"0.1.0" about:"Checkpoints under way at a time. Only 1 is possible in this version."`

	Dir             string          `key:"execution.checkpointing.dir" old:"state.checkpoints.dir,state.backend.fs.checkpointdir" derived:"none: checkpoints are kept in the log" syntax:"directory" since:"0.1.0" about:"Directory for checkpoints that every node reaches and allows (storage.allowed-roots). Each job has one of its own below it."`
	SavepointDir    string          `key:"execution.checkpointing.savepoint-dir" old:"state.savepoints.dir,savepoints.state.backend.fs.dir" derived:"none: each savepoint must name its own" syntax:"directory" since:"0.1.0" about:"Directory for savepoints that name none."`
	Storage         string          `key:"execution.checkpointing.storage" old:"state.checkpoint-storage" derived:"filesystem where a directory is set, else jobmanager" values:"jobmanager,filesystem" since:"0.1.0" about:"Where checkpoints are kept. jobmanager: in the log, for small state; filesystem: in execution.checkpointing.dir."`
	Retention       string          `key:"execution.checkpointing.externalized-checkpoint-retention" default:"NO_EXTERNALIZED_CHECKPOINTS" values:"NO_EXTERNALIZED_CHECKPOINTS,DELETE_ON_CANCELLATION,RETAIN_ON_CANCELLATION" since:"0.1.0" about:"What becomes of the completed checkpoints of a job that ended early: deleted; deleted if it was cancelled and kept if it failed; kept in both cases. Kept ones need execution.checkpointing.dir."`
	Incremental     bool            `key:"execution.checkpointing.incremental" old:"state.backend.incremental" default:"false" since:"0.1.0" about:"Write what changed since the checkpoint before, where the state backend can tell."`
	InlineThreshold flinkunits.Size `key:"execution.checkpointing.data-inline-threshold" old:"state.storage.fs.memory-threshold,state.backend.fs.memory-threshold" default:"20 kb" min:"1 bytes" max:"1 mb" since:"0.1.0" about:"State of a subtask up to this size is kept in the log with the checkpoint, and not in a file."`
}

// Recovery is Flink's execution.state-recovery.*: what a job begins from that is
// made, and not joined.
type Recovery struct {
	Path            string `key:"execution.state-recovery.path" old:"execution.savepoint.path" derived:"empty state" syntax:"directory" since:"0.1.0" about:"Directory of the savepoint or retained checkpoint from which a new job begins. As of holdfast run --from-savepoint."`
	IgnoreUnclaimed bool   `key:"execution.state-recovery.ignore-unclaimed-state" old:"execution.savepoint.ignore-unclaimed-state" default:"false" since:"0.1.0" about:"Begin although the snapshot has state that the job does not have. As of --allow-non-restored-state."`
	ClaimMode       string `key:"execution.state-recovery.claim-mode" old:"execution.savepoint-restore-mode" default:"NO_CLAIM" values:"NO_CLAIM,CLAIM" planned:"LEGACY" since:"0.1.0" about:"Whose the files of the snapshot are. NO_CLAIM: the user's, the job never deletes them; CLAIM: the job's, they go once newer checkpoints have taken their place."`
}

// Restart is Flink's restart-strategy.*.
type Restart struct {
	Type             string           `key:"restart-strategy.type" old:"restart-strategy" derived:"exponential-delay with checkpoints, else fixed-delay without bound" values:"none=off|disable,fixed-delay=fixeddelay,exponential-delay=exponentialdelay,failure-rate=failurerate" since:"0.1.0" about:"What follows the failure of a subtask."`
	FixedDelay       FixedDelay       // restart-strategy.fixed-delay.*
	ExponentialDelay ExponentialDelay // restart-strategy.exponential-delay.*
	FailureRate      FailureRate      // restart-strategy.failure-rate.*
}

// FailureRate is restart-strategy.failure-rate.*.
type FailureRate struct {
	MaxFailures uint32        `key:"restart-strategy.failure-rate.max-failures-per-interval" default:"1" min:"1" max:"1000" since:"0.1.0" about:"Failures in one interval before the job fails, where restart-strategy.type is failure-rate."`
	Interval    time.Duration `key:"restart-strategy.failure-rate.failure-rate-interval" default:"1 min" min:"1 ms" since:"0.1.0" about:"The interval in which failures are counted."`
	Delay       time.Duration `key:"restart-strategy.failure-rate.delay" default:"1 s" min:"1 ms" since:"0.1.0" about:"Time before each restart."`
}

// FixedDelay is restart-strategy.fixed-delay.*.
type FixedDelay struct {
	Attempts uint32        `key:"restart-strategy.fixed-delay.attempts" default:"1" min:"1" since:"0.1.0" about:"Restarts before the job fails, where restart-strategy.type is fixed-delay. restart-strategy.type none is the way to have no restart."`
	Delay    time.Duration `key:"restart-strategy.fixed-delay.delay" default:"1 s" min:"1 ms" since:"0.1.0" about:"Time before each restart."`
}

// ExponentialDelay is restart-strategy.exponential-delay.*.
type ExponentialDelay struct {
	InitialBackoff        time.Duration `key:"restart-strategy.exponential-delay.initial-backoff" default:"1 s" min:"1 ms" since:"0.1.0" about:"Time before the first restart."`
	MaxBackoff            time.Duration `key:"restart-strategy.exponential-delay.max-backoff" default:"1 min" min:"1 ms" since:"0.1.0" about:"The longest time before a restart; at least initial-backoff."`
	BackoffMultiplier     float64       `key:"restart-strategy.exponential-delay.backoff-multiplier" default:"1.5" min:"1" since:"0.1.0" about:"By this the time grows with each restart."`
	ResetBackoffThreshold time.Duration `key:"restart-strategy.exponential-delay.reset-backoff-threshold" default:"1 h" min:"1 ms" since:"0.1.0" about:"Running this long without a failure sets the time back to initial-backoff."`
	JitterFactor          float64       `key:"restart-strategy.exponential-delay.jitter-factor" default:"0.1" min:"0.001" max:"1" since:"0.1.0" about:"The share by which the time varies in both directions."`
	AttemptsBeforeReset   uint32        `key:"restart-strategy.exponential-delay.attempts-before-reset-backoff" derived:"no bound" min:"1" since:"0.1.0" about:"Restarts before the job fails, counted anew when the time is set back."`
}
