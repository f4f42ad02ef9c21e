package kafka

import (
	"context"
	"fmt"
	"log/slog"
	"maps"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"github.com/holdfast-io/holdfast/clients/go/sink"
)

// Sink writes records to topics.
type Sink struct {
	topic      string
	properties Properties
	guarantee  sink.DeliveryGuarantee
}

// NewSink writes to a topic, and to others where a record names one. The properties are
// those of librdkafka's producer; enable.idempotence is true by default where acks allows
// it, so that what librdkafka sends again is in order and not there twice. Without more the guarantee is
// sink.None, as in Flink. What is wrong with the properties is told by Execute.
func NewSink(topic string, properties Properties) *Sink {
	p := Properties{}
	if all := func(acks string) bool { return acks == "" || acks == "all" || acks == "-1" }; all(properties["acks"]) && all(properties["request.required.acks"]) {
		p["enable.idempotence"] = "true" // which needs acks=all
	}
	maps.Copy(p, properties)
	return &Sink{topic: topic, properties: p}
}

// WithDeliveryGuarantee returns the sink with another guarantee.
func (s *Sink) WithDeliveryGuarantee(g sink.DeliveryGuarantee) *Sink {
	c := *s
	c.guarantee = g
	return &c
}

// shownOfSink are the properties that tell two jobs apart and are no secrets.
var shownOfSink = []string{"bootstrap.servers", "compression.type", "partitioner"}

// Spec implements sink.Sink.
func (s *Sink) Spec() (sink.Spec, error) {
	if s.topic == "" || s.properties["bootstrap.servers"] == "" {
		return sink.Spec{}, fmt.Errorf("%w: a topic and bootstrap.servers are needed", sink.ErrPermanent)
	}
	if s.properties["transactional.id"] != "" {
		return sink.Spec{}, fmt.Errorf("%w: transactional.id is not for programs; the guarantee exactly-once will have transactions of its own", sink.ErrPermanent)
	}
	if s.properties["delivery.report.only.error"] == "true" {
		return sink.Spec{}, fmt.Errorf("%w: delivery.report.only.error is true, and without reports nobody knows what is written; leave it out", sink.ErrPermanent)
	}
	for _, name := range []string{"acks", "request.required.acks"} {
		if v := s.properties[name]; v == "0" && s.guarantee != sink.None {
			return sink.Spec{}, fmt.Errorf("%w: %s is 0, and the guarantee %s needs the broker's answer; leave it out, or set it to all", sink.ErrPermanent, name, s.guarantee)
		}
	}
	// librdkafka knows best what it accepts.
	p, err := s.newProducer(nil)
	if err != nil {
		return sink.Spec{}, err
	}
	p.Close()
	return sink.Spec{Connector: "kafka", Topics: []string{s.topic}, Guarantee: s.guarantee, Properties: s.properties.only(shownOfSink)}, nil
}

// newProducer makes a producer of librdkafka. It connects to nothing yet. logs nil: what
// it says is dropped.
func (s *Sink) newProducer(logs chan kafka.LogEvent) (*kafka.Producer, error) {
	config := kafka.ConfigMap{"go.delivery.report.fields": "none"}
	for k, v := range s.properties {
		config[k] = v
	}
	if logs == nil {
		config["log_level"] = 0
	} else {
		config["go.logs.channel.enable"], config["go.logs.channel"] = true, logs
	}
	p, err := kafka.NewProducer(&config)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", sink.ErrPermanent, withoutSecrets(err, s.properties))
	}
	return p, nil
}

// Open implements sink.Sink.
func (s *Sink) Open(_ context.Context, options sink.OpenOptions) (sink.Writer, error) {
	logs := make(chan kafka.LogEvent, 64)
	p, err := s.newProducer(logs)
	if err != nil {
		return nil, err
	}
	w := newWriter(s, p, options)
	go forwardLogs(logs, w.done, options.Logger, s.properties)
	go w.send()
	go w.reports()
	return w, nil
}

// forwardLogs keeps what librdkafka says out of standard error.
func forwardLogs(logs <-chan kafka.LogEvent, done <-chan struct{}, log *slog.Logger, properties Properties) {
	for {
		select {
		case e := <-logs:
			log.Debug(redact(e.Message, properties), "librdkafka", e.Name, "tag", e.Tag)
		case <-done:
			return
		}
	}
}
