#!/usr/bin/env bash
# e2e.sh LIMIT [GO-TEST-FLAGS...] - the end-to-end tier: real processes against a real Apache Kafka.
#
# Starts one broker on a free port, tells the tests where everything is, and takes it down again:
#   HOLDFAST_TEST_KAFKA    bootstrap servers of the broker
#   HOLDFAST_TEST_BIN      directory with holdfastd, holdfast and the examples
#   HOLDFAST_TEST_PYTHON   a Python with the pinned gRPC packages
# With HOLDFAST_TEST_KAFKA already set that broker is used and left alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

limit=${1:?usage: e2e.sh LIMIT [GO-TEST-FLAGS...]}
shift
export HOLDFAST_TEST_BIN=${HOLDFAST_TEST_BIN:-$PWD/bin}
export HOLDFAST_TEST_PYTHON=${HOLDFAST_TEST_PYTHON:-$PWD/build/venv/bin/python}

if [ -z "${HOLDFAST_TEST_KAFKA:-}" ]; then
  kafka=$PWD/integration/kafka/kafka.sh
  dir=$(mktemp -d)
  port=
  # Silent, so that go test's lines stay the last ones.
  # shellcheck disable=SC2317
  cleanup() {
    [ -z "$port" ] || "$kafka" down --port "$port" --dir "$dir/kafka" --hard --clean >/dev/null 2>&1 || true
    rm -rf "$dir"
  }
  trap cleanup EXIT
  trap 'exit 130' INT TERM
  # Another run may hold a port or take it in this moment: then the next one.
  for port in 19092 19292 19492 19692 19892; do
    if HOLDFAST_TEST_KAFKA=$("$kafka" up --port "$port" --dir "$dir/kafka" --clean 2>"$dir/up.log"); then
      export HOLDFAST_TEST_KAFKA
      break
    fi
  done
  [ -n "$HOLDFAST_TEST_KAFKA" ] || { cat "$dir/up.log" >&2; echo "e2e.sh: no Kafka" >&2; exit 1; }
  echo "Kafka at $HOLDFAST_TEST_KAFKA"
fi

# In the background, so that a signal is handled at once and not after the tests.
scripts/gotest.sh end-to-end "$limit" ./integration/e2e/... -- "$@" &
tests=$!
trap 'kill -TERM "$tests" 2>/dev/null; wait "$tests"; exit 130' INT TERM
wait "$tests"
