package e2e

import (
	"fmt"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/holdfast-io/holdfast/integration/harness"
)

// shown is the offset of partition 0 that Kafka shows for a group.
func (b *broker) shown(group, topic string) (int64, error) {
	ctx, cancel := limited()
	defer cancel()
	req := kmsg.NewPtrOffsetFetchRequest()
	req.Group = group
	of := kmsg.NewOffsetFetchRequestTopic()
	of.Topic, of.Partitions = topic, []int32{0}
	req.Topics = append(req.Topics, of)
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = group
	gt := kmsg.NewOffsetFetchRequestGroupTopic()
	gt.Topic, gt.TopicID, gt.Partitions = topic, b.topicID(topic), []int32{0}
	g.Topics = append(g.Topics, gt)
	req.Groups = append(req.Groups, g)
	r, err := req.RequestWith(ctx, b.client)
	switch {
	case err != nil:
		return 0, err
	case len(r.Groups) > 0 && len(r.Groups[0].Topics) > 0 && len(r.Groups[0].Topics[0].Partitions) > 0:
		return r.Groups[0].Topics[0].Partitions[0].Offset, nil
	case len(r.Topics) > 0 && len(r.Topics[0].Partitions) > 0:
		return r.Topics[0].Partitions[0].Offset, nil
	}
	return 0, fmt.Errorf("no offset of group %s: %v", group, r)
}

// topicID is how newer requests name a topic.
func (b *broker) topicID(topic string) [16]byte {
	b.t.Helper()
	ctx, cancel := limited()
	defer cancel()
	req := kmsg.NewPtrMetadataRequest()
	t := kmsg.NewMetadataRequestTopic()
	t.Topic = kmsg.StringPtr(topic)
	req.Topics = append(req.Topics, t)
	r, err := req.RequestWith(ctx, b.client)
	if err != nil || len(r.Topics) == 0 {
		b.t.Fatalf("the id of topic %s: %v", topic, err)
	}
	return r.Topics[0].TopicID
}

func (b *broker) waitShown(group, topic string, want int64) {
	b.t.Helper()
	harness.Until(b.t, fmt.Sprintf("Kafka to show offset %d of group %s", want, group), func() error {
		got, err := b.shown(group, topic)
		if err == nil && got != want {
			err = fmt.Errorf("it shows %d", got)
		}
		return err
	})
}

// commit shows an offset, as a process that was given up might.
func (b *broker) commit(group, topic string, offset int64) {
	b.t.Helper()
	ctx, cancel := limited()
	defer cancel()
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = group, -1
	oc := kmsg.NewOffsetCommitRequestTopic()
	oc.Topic, oc.TopicID = topic, b.topicID(topic)
	part := kmsg.NewOffsetCommitRequestTopicPartition()
	part.Partition, part.Offset, part.LeaderEpoch = 0, offset, -1
	oc.Partitions = append(oc.Partitions, part)
	req.Topics = append(req.Topics, oc)
	r, err := req.RequestWith(ctx, b.client)
	if err != nil {
		b.t.Fatalf("commit offset %d of group %s: %v", offset, group, err)
	}
	if code := r.Topics[0].Partitions[0].ErrorCode; code != 0 {
		b.t.Fatalf("commit offset %d of group %s: error code %d", offset, group, code)
	}
}

// The offset that Kafka shows is no fact (invariant 5): a process that stood
// still beyond every timeout may show an old one when it goes on. Nothing is read
// from there, and the next checkpoint puts it right.
func TestStale_ShownOffsetIsPutRight(t *testing.T) {
	b, l := sharedBroker(t), startLocal(t)
	topic := b.topic(1)
	flags := []string{"-checkpoint-enable", "-checkpoint-interval", "200", "-auto-offset-reset", "earliest"}
	first := l.startExample(b, "shown", topic, []string{"--restart", "never"}, flags...)
	b.produce(topic, "a", "b", "c")
	l.waitPrinted("shown", 0, printed{"a", 1}, printed{"b", 2}, printed{"c", 3})
	l.waitPosition("shown", 3)
	b.waitShown("shown", topic, 3)
	l.startExample(b, "shown", topic, []string{"--restart", "never"}, flags...)
	l.waitJob("shown", "a standby", func(d described) error {
		if d.Standby == 0 {
			return fmt.Errorf("there is none")
		}
		return nil
	})
	pid := first.operatorPid()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGKILL) })
	b.produce(topic, "d", "e")
	l.waitPrinted("shown", 1, printed{"d", 4}, printed{"e", 5})
	l.waitPosition("shown", 5)
	b.waitShown("shown", topic, 5)
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	// The worst that it can do: show what it had before it was stopped.
	b.commit("shown", topic, 3)
	b.waitShown("shown", topic, 5)
	b.produce(topic, "f")
	l.waitPrinted("shown", 1, printed{"d", 4}, printed{"e", 5}, printed{"f", 6})
	b.waitShown("shown", topic, 6)
	t.Log("the old offset 3 was shown for a moment, then 5 by the next checkpoint, and 6 after one more record")
}
