package democheck

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"google.golang.org/grpc"

	"github.com/holdfast-io/holdfast/cmd/holdfast/internal/connect"
	holdfastv1 "github.com/holdfast-io/holdfast/proto/holdfast/v1"
)

// Config says where to look.
type Config struct {
	// BootstrapServers are Kafka brokers; Topic is read from its beginning.
	BootstrapServers []string
	Topic            string
	// Job, UID and State name the state with the counts.
	Job, UID, State string
	// OutputDir holds the processes' .out files.
	OutputDir string
	// Replicas is how many must be reachable and equal.
	Replicas int
}

// Run reads everything and judges it.
func Run(ctx context.Context, cfg Config, cluster *connect.Cluster) (*Report, error) {
	var in Input
	var err error
	if in.Topic, err = readTopic(ctx, cfg); err != nil {
		return nil, fmt.Errorf("read the topic %s: %w", cfg.Topic, err)
	}
	if in.State, err = readState(ctx, cfg, cluster); err != nil {
		return nil, fmt.Errorf("read the state %s of %s: %w", cfg.State, cfg.Job, err)
	}
	if err = readOutput(&in, cfg.OutputDir); err != nil {
		return nil, fmt.Errorf("read the output: %w", err)
	}
	r := Check(in)
	return r, r.checkReplicas(ctx, cfg, cluster)
}

// readTopic counts the words from the first offset to where the topic ends now.
func readTopic(ctx context.Context, cfg Config) (map[string]int64, error) {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(cfg.BootstrapServers...),
		kgo.ConsumeTopics(cfg.Topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	left, err := endOffsets(ctx, client, cfg.Topic)
	if err != nil {
		return nil, err
	}
	counts := map[string]int64{}
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return nil, err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			end, open := left[r.Partition]
			if !open || r.Offset >= end {
				return
			}
			counts[string(r.Value)]++
			if r.Offset == end-1 {
				delete(left, r.Partition)
			}
		})
	}
	return counts, nil
}

// endOffsets are the ends of the partitions that hold anything.
func endOffsets(ctx context.Context, client *kgo.Client, topic string) (map[int32]int64, error) {
	meta := kmsg.NewPtrMetadataRequest()
	meta.Topics = []kmsg.MetadataRequestTopic{{Topic: kmsg.StringPtr(topic)}}
	answer, err := meta.RequestWith(ctx, client)
	if err != nil {
		return nil, err
	}
	list := kmsg.NewPtrListOffsetsRequest()
	asked := kmsg.NewListOffsetsRequestTopic()
	asked.Topic = topic
	for _, t := range answer.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return nil, err
		}
		for _, p := range t.Partitions {
			part := kmsg.NewListOffsetsRequestTopicPartition()
			part.Partition, part.Timestamp = p.Partition, -1 // the end
			asked.Partitions = append(asked.Partitions, part)
		}
	}
	list.Topics = append(list.Topics, asked)
	offsets, err := list.RequestWith(ctx, client)
	if err != nil {
		return nil, err
	}
	ends := map[int32]int64{}
	for _, t := range offsets.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return nil, err
			}
			if p.Offset > 0 {
				ends[p.Partition] = p.Offset
			}
		}
	}
	return ends, nil
}

// readState pages through the whole state.
func readState(ctx context.Context, cfg Config, cluster *connect.Cluster) (map[string]int64, error) {
	request := &holdfastv1.ScanRequest{State: &holdfastv1.StateSelector{Job: cfg.Job, OperatorUid: cfg.UID, StateName: cfg.State}}
	counts := map[string]int64{}
	for {
		var page *holdfastv1.ScanResponse
		err := cluster.Do(ctx, func(ctx context.Context, conn grpc.ClientConnInterface) (err error) {
			page, err = holdfastv1.NewStateServiceClient(conn).Scan(ctx, request)
			return err
		})
		if err != nil {
			return nil, err
		}
		for _, e := range page.GetEntries() {
			if _, twice := counts[string(e.GetKey())]; twice {
				return nil, fmt.Errorf("the key %q came twice", e.GetKey())
			}
			if counts[string(e.GetKey())], err = count(e.GetValue()); err != nil {
				return nil, fmt.Errorf("the value of %q: %w", e.GetKey(), err)
			}
		}
		if request.PageToken = page.GetNextPageToken(); len(request.PageToken) == 0 {
			return counts, nil
		}
	}
}

// count reads a value: 8 bytes, little endian.
func count(raw []byte) (int64, error) {
	if len(raw) != 8 {
		return 0, fmt.Errorf("%d bytes, not 8", len(raw))
	}
	return int64(binary.LittleEndian.Uint64(raw)), nil
}

func readOutput(in *Input, dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.out"))
	if err != nil {
		return err
	}
	in.Printed = map[string]map[int64]int64{}
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			return err
		}
		addOutput(in, string(raw))
	}
	return nil
}

// addOutput takes one process's output. What follows the last newline was torn
// by the process's end and is no line.
func addOutput(in *Input, text string) {
	lines := strings.Split(text, "\n")
	for _, line := range lines[:len(lines)-1] {
		word, n, ok := parse(line)
		if !ok {
			in.Malformed = append(in.Malformed, line)
			continue
		}
		if in.Printed[word] == nil {
			in.Printed[word] = map[int64]int64{}
		}
		in.Printed[word][n]++
	}
}

// parse reads "2017-03-17T08:21:51.249: (word,n)". The word may hold anything.
func parse(line string) (word string, n int64, ok bool) {
	at, rest, ok := strings.Cut(line, ": (")
	if !ok || !strings.HasSuffix(rest, ")") {
		return "", 0, false
	}
	if _, err := time.Parse("2006-01-02T15:04:05.999999999", at); err != nil {
		return "", 0, false
	}
	rest = strings.TrimSuffix(rest, ")")
	comma := strings.LastIndexByte(rest, ',')
	if comma < 0 {
		return "", 0, false
	}
	n, err := strconv.ParseInt(rest[comma+1:], 10, 64)
	return rest[:comma], n, err == nil
}

// checkReplicas asks the cluster to compare its replicas. An answer in which
// one is missing proves nothing and so is not good.
func (r *Report) checkReplicas(ctx context.Context, cfg Config, cluster *connect.Cluster) error {
	var answer *holdfastv1.VerifyReplicasResponse
	err := cluster.DoSlowly(ctx, func(ctx context.Context, conn grpc.ClientConnInterface) (err error) {
		answer, err = holdfastv1.NewClusterServiceClient(conn).VerifyReplicas(ctx, &holdfastv1.VerifyReplicasRequest{})
		return err
	})
	if err != nil {
		return fmt.Errorf("compare the replicas: %w", err)
	}
	hashes := map[string]bool{}
	for _, replica := range answer.GetReplicas() {
		if replica.GetReachable() && replica.GetHash() != "" {
			r.Replicas++
			hashes[replica.GetHash()] = true
		} else {
			r.problem("the replica on %s was not compared: %s", replica.GetName(), replica.GetError())
		}
	}
	r.ReplicasEqual = answer.GetEqual() && len(hashes) == 1 && r.Replicas == cfg.Replicas
	if !r.ReplicasEqual {
		r.OK = false
		r.problem("%d of %d replicas were compared at index %d, with %d different hashes", r.Replicas, cfg.Replicas, answer.GetIndex(), len(hashes))
	}
	return nil
}
