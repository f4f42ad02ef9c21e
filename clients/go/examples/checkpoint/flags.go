package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	holdfast "github.com/holdfast-io/holdfast/clients/go"
	"github.com/holdfast-io/holdfast/clients/go/sink"
)

func parseInterval(text string) (time.Duration, error) {
	if ms, err := strconv.Atoi(text); err == nil {
		return time.Duration(ms) * time.Millisecond, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("-checkpoint-interval: %w", err)
	}
	return d, nil
}

func parseMode(text string) (holdfast.CheckpointingMode, error) {
	switch text {
	case "EXACTLY_ONCE":
		return holdfast.ExactlyOnce, nil
	case "AT_LEAST_ONCE":
		return holdfast.AtLeastOnce, nil
	}
	return 0, fmt.Errorf("-checkpoint-mode must be EXACTLY_ONCE or AT_LEAST_ONCE, and is %q", text)
}

func parseGuarantee(text string, checkpoints bool) (sink.DeliveryGuarantee, error) {
	switch {
	case text == "" && checkpoints:
		return sink.AtLeastOnce, nil
	case text == "":
		return sink.None, nil
	}
	for _, g := range []sink.DeliveryGuarantee{sink.None, sink.AtLeastOnce} {
		if text == g.String() {
			return g, nil
		}
	}
	return 0, fmt.Errorf("-delivery-guarantee must be none or at-least-once, and is %q", text)
}

// readProperties reads a file as Kafka's own tools take it with --consumer.config.
// What is wrong with it is told without its content: it may have passwords.
func readProperties(file string) (map[string]string, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("-consumer-config: %w", err)
	}
	properties, line := map[string]string{}, 0
	for entry := range strings.Lines(string(text)) {
		line++
		entry = strings.TrimSpace(entry)
		if entry == "" || entry[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(entry, "=")
		if !ok {
			return nil, fmt.Errorf("-consumer-config: %s:%d: it is not name=value", file, line)
		}
		properties[strings.TrimSpace(name)] = strings.TrimSpace(value)
	}
	return properties, nil
}
