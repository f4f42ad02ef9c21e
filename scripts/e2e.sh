#!/usr/bin/env bash
# e2e.sh LIMIT [GO-TEST-FLAGS...] - the end-to-end tier: real processes against a real Apache Kafka.
#
# Starts one broker, one S3 server and one HDFS on free ports, tells the tests where everything is, and takes them
# down again:
#   HOLDFAST_TEST_KAFKA    bootstrap servers of the broker
#   HOLDFAST_TEST_S3       URL of the S3 server; the bucket is ckpt, AWS_* have the credentials
#   HOLDFAST_TEST_HDFS     host:port of the name node
#   HOLDFAST_TEST_BIN      directory with holdfastd, holdfast and the examples
#   HOLDFAST_TEST_PYTHON   a Python with the pinned gRPC packages
# What is already set is used and left alone. E2E_PKGS are the packages, if not all of the tier.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

limit=${1:?usage: e2e.sh LIMIT [GO-TEST-FLAGS...]}
shift
export HOLDFAST_TEST_BIN=${HOLDFAST_TEST_BIN:-$PWD/bin}
export HOLDFAST_TEST_PYTHON=${HOLDFAST_TEST_PYTHON:-$PWD/build/venv/bin/python}

kafka=$PWD/integration/kafka/kafka.sh
s3=$PWD/integration/s3/s3.sh
hdfs=$PWD/integration/hdfs/hdfs.sh
dir=$(mktemp -d)
port=
# Silent, so that go test's lines stay the last ones.
# shellcheck disable=SC2317
cleanup() {
  [ -z "$port" ] || "$kafka" down --port "$port" --dir "$dir/kafka" --hard --clean >/dev/null 2>&1 || true
  "$s3" down --dir "$dir/s3" --hard --clean >/dev/null 2>&1 || true
  "$hdfs" down --dir "$dir/hdfs" --hard --clean >/dev/null 2>&1 || true
  rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

if [ -z "${HOLDFAST_TEST_KAFKA:-}" ]; then
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
if [ -z "${HOLDFAST_TEST_S3:-}" ]; then
  HOLDFAST_TEST_S3=$("$s3" up --dir "$dir/s3" 2>"$dir/up.log") || { cat "$dir/up.log" >&2; echo "e2e.sh: no S3" >&2; exit 1; }
  export HOLDFAST_TEST_S3 AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=secretsecret
  echo "S3 at $HOLDFAST_TEST_S3"
fi
if [ -z "${HOLDFAST_TEST_HDFS:-}" ]; then
  HOLDFAST_TEST_HDFS=$("$hdfs" up --dir "$dir/hdfs" 2>"$dir/up.log") || { cat "$dir/up.log" >&2; echo "e2e.sh: no HDFS" >&2; exit 1; }
  export HOLDFAST_TEST_HDFS
  echo "HDFS at $HOLDFAST_TEST_HDFS"
fi

# In the background, so that a signal is handled at once and not after the tests.
scripts/gotest.sh end-to-end "$limit" "${E2E_PKGS:-./integration/e2e/...}" -- "$@" &
tests=$!
trap 'kill -TERM "$tests" 2>/dev/null; wait "$tests"; exit 130' INT TERM
wait "$tests"
