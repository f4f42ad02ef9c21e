#!/usr/bin/env bash
# gen.sh [DIR] - generates the Python stubs of the public protos into DIR (default build/python), for PYTHONPATH.
#
# PYTHON names a Python with grpcio-tools (default: the one of `make venv`).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

dir=${1:-build/python}
mkdir -p "$dir"
"${PYTHON:-build/venv/bin/python}" -m grpc_tools.protoc --proto_path=proto \
  --python_out="$dir" --pyi_out="$dir" --grpc_python_out="$dir" \
  proto/holdfast/v1/*.proto
