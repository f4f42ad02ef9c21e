package main

import (
	"fmt"
	"strconv"
	"time"

	holdfast "github.com/holdfast-io/holdfast/clients/go"
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
