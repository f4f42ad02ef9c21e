// CheckpointExample counts the records of a topic in a keyed state and prints
// each with its number: the example that Flink's users know, to be killed and
// started again.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"strings"
	"time"

	holdfast "github.com/holdfast-io/holdfast/clients/go"
	"github.com/holdfast-io/holdfast/clients/go/kafka"
	"github.com/holdfast-io/holdfast/clients/go/sink"
)

const className = "CheckpointExample"

// Defaults of the flags.
const (
	kafkaBroker     = "localhost:9092"
	kafkaInputTopic = "input-topic"
	kafkaGroupID    = "holdfast-checkpointer"
)

func main() {
	switch err := run(context.Background(), os.Args[1:]); {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		slog.Error(className+": ended", "error", err)
		os.Exit(holdfast.ExitCode(err))
	}
}

func run(ctx context.Context, args []string) error {
	f, err := parse(args)
	if err != nil {
		return err
	}
	slog.Info(className + ": starting...")
	env := holdfast.GetExecutionEnvironment()

	// kafka source
	properties := kafka.Properties{
		"bootstrap.servers":  f.bootstrapServers,
		"auto.offset.reset":  f.autoOffsetReset,
		"enable.auto.commit": "false",
	}
	if f.groupID != "" {
		properties["group.id"] = f.groupID
	}
	maps.Copy(properties, f.consumerConfig)
	source := kafka.NewSource(f.topic, properties)

	// checkpoints
	if f.checkpointEnable {
		env.EnableCheckpointing(f.checkpointInterval, f.checkpointMode)
	}
	if f.parallelism > 0 {
		env.SetParallelism(f.parallelism)
	}

	records := holdfast.FromSource(env, "kafka-source", source, holdfast.SimpleStringSchema)
	results := holdfast.FlatMap(f.keyed(env, records), "stateful-mapper", &StatefulMapper{})
	results.Print()

	// kafka sink
	if f.outputTopic != "" {
		output := kafka.NewSink(f.outputTopic, f.producer()).WithDeliveryGuarantee(f.deliveryGuarantee)
		holdfast.SinkTo(results, "kafka-sink", output, holdfast.SimpleStringSerializer)
	}

	err = env.Execute(ctx, f.jobName)
	if errors.Is(err, context.Canceled) {
		slog.Info(className + ": stopped; the job waits for another process")
		return nil
	}
	return err
}

// StatefulMapper counts records.
type StatefulMapper struct {
	state *holdfast.ValueState[int64]
}

// Open declares the state.
func (m *StatefulMapper) Open(ctx holdfast.RuntimeContext) (err error) {
	m.state, err = holdfast.GetState(ctx, holdfast.ValueStateDescriptor[int64]{Name: className, Default: 0})
	return err
}

// FlatMap emits a record with its number.
func (m *StatefulMapper) FlatMap(record string, out holdfast.Collector[string]) error {
	// access the state value
	currentState, err := m.state.Value()
	if err != nil {
		return err
	}
	// update the counts
	currentState++
	out.Collect(fmt.Sprintf("%s: (%s,%d)", time.Now().Format("2006-01-02T15:04:05.000"), record, currentState))
	// update the state
	return m.state.Update(currentState)
}

// producer has what the sink shares with the source: where the brokers are, and how
// they are talked to.
func (f *flags) producer() kafka.Properties {
	properties := kafka.Properties{"bootstrap.servers": cmp.Or(f.outputServers, f.bootstrapServers)}
	for name, value := range f.consumerConfig {
		if strings.HasPrefix(name, "security.") || strings.HasPrefix(name, "sasl.") || strings.HasPrefix(name, "ssl.") {
			properties[name] = value
		}
	}
	return properties
}

// keyed is keyBy((any) -> 1) by default.
func (f *flags) keyed(env *holdfast.StreamExecutionEnvironment, records *holdfast.DataStream[string]) holdfast.Stream[string] {
	record := func(v string) string { return v }
	switch {
	case f.keyBy == "constant":
		return holdfast.KeyBy(records, func(string) int64 { return 1 })
	case env.Parallelism() > 1:
		return holdfast.KeyByCoPartitioned(records, record)
	}
	return holdfast.KeyBy(records, record)
}

// flags are what to play with.
type flags struct {
	checkpointEnable   bool
	checkpointInterval time.Duration
	checkpointMode     holdfast.CheckpointingMode
	bootstrapServers   string
	topic              string
	groupID            string
	autoOffsetReset    string
	jobName            string
	parallelism        int
	keyBy              string
	consumerConfig     map[string]string
	outputTopic        string
	outputServers      string
	deliveryGuarantee  sink.DeliveryGuarantee
}

func parse(args []string) (*flags, error) {
	f := &flags{checkpointInterval: time.Second}
	set := flag.NewFlagSet(className, flag.ContinueOnError)
	set.BoolVar(&f.checkpointEnable, "checkpoint-enable", false, "enable checkpoints")
	interval := set.String("checkpoint-interval", "1000", "time between checkpoints, in ms or as a duration")
	mode := set.String("checkpoint-mode", "EXACTLY_ONCE", "EXACTLY_ONCE or AT_LEAST_ONCE")
	set.StringVar(&f.keyBy, "key-by", "constant", "constant: one counter for all; record: one for each value")
	set.StringVar(&f.bootstrapServers, "bootstrap-servers", kafkaBroker, "Kafka brokers")
	set.StringVar(&f.topic, "topic", kafkaInputTopic, "topic to read")
	set.StringVar(&f.groupID, "group-id", "", "Kafka consumer group; a source starts at its committed offset, which only checkpoints move (default \""+kafkaGroupID+"\" with -checkpoint-enable, else none)")
	set.StringVar(&f.autoOffsetReset, "auto-offset-reset", "latest", "latest or earliest")
	consumerConfig := set.String("consumer-config", "", "file of further properties of librdkafka, one name=value a line, for example for SASL; they stay in this process")
	set.StringVar(&f.outputTopic, "output-topic", "", "topic to write to, besides standard output")
	guarantee := set.String("delivery-guarantee", "", "of -output-topic: none or at-least-once (default at-least-once with -checkpoint-enable, else none)")
	set.StringVar(&f.outputServers, "output-bootstrap-servers", "", "Kafka brokers of -output-topic, if they are not those of -topic")
	set.StringVar(&f.jobName, "job-name", className, "name of the job")
	set.IntVar(&f.parallelism, "parallelism", 0, "number of subtasks; above 1 it needs -key-by record on a topic that is partitioned by the record")
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	if f.groupID == "" && f.checkpointEnable {
		f.groupID = kafkaGroupID
	}
	var err error
	if f.checkpointInterval, err = parseInterval(*interval); err != nil {
		return nil, err
	}
	if f.consumerConfig, err = readProperties(*consumerConfig); err != nil {
		return nil, err
	}
	if f.checkpointMode, err = parseMode(*mode); err != nil {
		return nil, err
	}
	if f.deliveryGuarantee, err = parseGuarantee(*guarantee, f.checkpointEnable); err != nil {
		return nil, err
	}
	if f.keyBy != "constant" && f.keyBy != "record" {
		return nil, fmt.Errorf("-key-by must be constant or record, and is %q", f.keyBy)
	}
	return f, nil
}
