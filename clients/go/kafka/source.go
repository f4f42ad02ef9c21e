// Package kafka is the Kafka source and sink, on librdkafka. It is the only package of
// the client that needs cgo.
//
// Positions belong to checkpoints, so partitions are assigned with explicit
// offsets. The group's offsets are committed with each checkpoint, for display and
// for the next job of the group; a job that has a checkpoint does not look at them.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/confluentinc/confluent-kafka-go/v2/kafka"

	"github.com/holdfast-io/holdfast/clients/go/source"
)

// Properties are librdkafka's configuration properties, for example
// bootstrap.servers, group.id and auto.offset.reset.
type Properties map[string]string

// Source reads a topic.
type Source struct {
	topic      string
	properties Properties
}

// shownOfSource are the properties that tell two jobs apart and are no secrets.
var shownOfSource = []string{"bootstrap.servers", "group.id", "auto.offset.reset", "isolation.level"}

// NewSource reads a topic from the group's committed offsets, or, where there
// are none, from where auto.offset.reset says; isolation.level is read_committed
// by default. Without checkpoints nothing is committed, and each process that takes
// over begins so anew: leave group.id out, unless it has an offset to begin at. What
// is wrong with the properties is told by Execute.
func NewSource(topic string, properties Properties) *Source {
	p := Properties{"isolation.level": "read_committed", "auto.offset.reset": "latest"}
	maps.Copy(p, properties)
	return &Source{topic: topic, properties: p}
}

// Spec implements source.Source.
func (s *Source) Spec() (source.Spec, error) {
	if s.topic == "" || s.properties["bootstrap.servers"] == "" {
		return source.Spec{}, fmt.Errorf("%w: a topic and bootstrap.servers are needed", source.ErrPermanent)
	}
	if v := s.properties["enable.auto.commit"]; v != "" && v != "false" {
		return source.Spec{}, fmt.Errorf("%w: enable.auto.commit must be false, because positions belong to checkpoints", source.ErrPermanent)
	}
	if _, err := s.reset(); err != nil {
		return source.Spec{}, err
	}
	// librdkafka knows best what it accepts.
	c, err := s.newClient(slog.New(slog.DiscardHandler))
	if err != nil {
		return source.Spec{}, err
	}
	c.close()
	return s.spec(), nil
}

// spec has of the properties only those that are shown: the others may be secrets,
// and it goes into the replicated log.
func (s *Source) spec() source.Spec {
	return source.Spec{Connector: "kafka", Topics: []string{s.topic}, Properties: s.properties.only(shownOfSource)}
}

// only returns the properties of these names.
func (p Properties) only(names []string) map[string]string {
	out := map[string]string{}
	for _, name := range names {
		if v, ok := p[name]; ok {
			out[name] = v
		}
	}
	return out
}

// reset is what auto.offset.reset says.
func (s *Source) reset() (string, error) {
	switch v := s.properties["auto.offset.reset"]; v {
	case "latest", "largest", "end":
		return "latest", nil
	case "earliest", "smallest", "beginning":
		return "earliest", nil
	case "none", "error":
		return "none", nil
	default:
		return "", fmt.Errorf("%w: auto.offset.reset is %q and must be latest, earliest or none", source.ErrPermanent, v)
	}
}

// config is what librdkafka is given. Its own idea of where to start or what to
// commit must never take effect.
func (s *Source) config() *kafka.ConfigMap {
	config := kafka.ConfigMap{"group.id": "holdfast"}
	for k, v := range s.properties {
		config[k] = v
	}
	config["enable.auto.commit"] = false
	config["enable.auto.offset.store"] = false
	config["auto.offset.reset"] = "error"
	config["enable.partition.eof"] = true
	return &config
}

// hasGroup tells whether there are committed offsets to look at.
func (s *Source) hasGroup() bool { return s.properties["group.id"] != "" }

// DiscoverSplits implements source.Source.
func (s *Source) DiscoverSplits(ctx context.Context, options source.DiscoverOptions) ([]source.Split, error) {
	c, err := s.newClient(options.Logger)
	if err != nil {
		return nil, err
	}
	defer c.close()
	splits, err := c.partitions(ctx)
	if err != nil || !options.ResolveOffsets {
		return splits, err
	}
	return splits, c.resolve(ctx, splits)
}

// Open implements source.Source.
func (s *Source) Open(ctx context.Context, options source.OpenOptions) (source.Reader, error) {
	c, err := s.newClient(options.Logger)
	if err != nil {
		return nil, err
	}
	splits := slices.Clone(options.Splits)
	if err := c.prepare(ctx, splits); err != nil {
		c.close()
		return nil, err
	}
	r, err := newReader(c, splits, options.CheckpointsEnabled && s.hasGroup())
	if err != nil {
		c.close()
		return nil, err
	}
	return r, nil
}

// newClient makes a consumer of librdkafka. It connects to nothing yet.
func (s *Source) newClient(log *slog.Logger) (*client, error) {
	logs := make(chan kafka.LogEvent, 64)
	config := s.config()
	(*config)["go.logs.channel.enable"] = true
	(*config)["go.logs.channel"] = logs
	consumer, err := kafka.NewConsumer(config)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", source.ErrPermanent, withoutSecrets(err, s.properties))
	}
	c := &client{source: s, consumer: consumer, log: log, done: make(chan struct{})}
	go forwardLogs(logs, c.done, log, s.properties)
	return c, nil
}

// withoutSecrets keeps the values of secret properties out of what is logged.
func withoutSecrets(err error, properties Properties) error {
	text := redact(err.Error(), properties)
	if text == err.Error() {
		return err
	}
	return errors.New(text)
}

// redact takes the values of secret properties out of a text.
func redact(text string, properties Properties) string {
	for k, v := range properties {
		if v != "" && isSecret(k) {
			text = strings.ReplaceAll(text, v, "***")
		}
	}
	return text
}

func isSecret(property string) bool {
	for _, part := range []string{"password", "secret", "key.pem", "token", "oauthbearer.config"} {
		if strings.Contains(property, part) {
			return true
		}
	}
	return false
}
