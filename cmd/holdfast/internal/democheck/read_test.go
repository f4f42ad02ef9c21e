package democheck

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestReadTopic_AllPartitionsFromTheBeginning(t *testing.T) {
	broker, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(3, "words"))
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(broker.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	cfg := Config{BootstrapServers: broker.ListenAddrs(), Topic: "words"}
	if got, err := readTopic(ctx, cfg); err != nil || len(got) != 0 {
		t.Fatalf("an empty topic: %v, %v", got, err)
	}
	// Partition 2 stays empty.
	for i := range 100 {
		r := &kgo.Record{Topic: "words", Partition: int32(i % 2), Value: []byte([]string{"kelp", "reef", "kelp"}[i%3])}
		if err := client.ProduceSync(ctx, r).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	got, err := readTopic(ctx, cfg)
	if err != nil || got["kelp"] != 67 || got["reef"] != 33 || len(got) != 2 {
		t.Fatalf("%v, %v", got, err)
	}
	cfg.Topic = "nothing"
	if _, err := readTopic(ctx, cfg); err == nil {
		t.Fatal("a topic that does not exist is no empty one")
	}
}

func TestReadOutput_OnlyOutFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a-0-h.out": "2017-03-17T08:21:51.249: (a,1)\n", "a-1-h.out": "2017-03-17T08:21:51.249: (a,2)\n",
		"a-0-h.log": "level=INFO\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var in Input
	if err := readOutput(&in, dir); err != nil || len(in.Printed["a"]) != 2 || len(in.Malformed) != 0 {
		t.Fatalf("%+v, %v", in, err)
	}
}
