#!/usr/bin/env bash
# s3.sh - a real S3-compatible server (versitygw, on a directory) on 127.0.0.1. It is built once by tools/install.sh
# at the version that tools/versitygw/go.mod pins. Needs: bash, coreutils, setsid (util-linux), Go.
set -euo pipefail

usage() {
  cat <<'U'
usage: s3.sh COMMAND [options]
  up      [--dir D] [--port P] [--access A] [--secret S] [--bucket B] [--clean]
          idempotent: builds the server on first use, makes the bucket, starts; prints its URL
  down    [--dir D] [--hard] [--clean]      --hard = SIGKILL
  status  [--dir D]                         prints the URL; exit 0 if it is alive
  fetch                                     build only
defaults: --dir ${TMPDIR:-/tmp}/s3-sh, --port 0 (a free one), --access test --secret secretsecret --bucket ckpt
The buckets are directories below DIR/buckets. 127.0.0.1 only.
env: HOLDFAST_TOOLS_CACHE, as for tools/install.sh
U
}

now_ms() { date +%s%3N; }
say() { printf '%s\n' "$*" >&2; }
die() { say "s3.sh: $*"; exit 1; }

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BIN=$TOP/build/tools/versitygw

fetch() { [ -x "$BIN" ] || "$TOP/tools/install.sh" versitygw "$BIN"; }

port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

pid() {  # prints the pid if it is alive and ours
  local p
  [ -s "$DIR/pid" ] || return 1
  p=$(<"$DIR/pid")
  [ -r "/proc/$p/cmdline" ] && tr '\0' ' ' <"/proc/$p/cmdline" | grep -qF "$DIR/buckets" || return 1
  echo "$p"
}

# The server takes no port 0. A free one may be taken in this moment: then the next one.
free_port() {
  local p
  while :; do
    p=$((20000 + RANDOM % 12000)); port_open "$p" || { echo "$p"; return; }
  done
}

start() {  # start PORT: false if it does not stay up
  local tries
  : >"$DIR/log"
  # Buckets are directories; metadata is beside them, for file systems without extended attributes.
  mkdir -p "$DIR/buckets/$BUCKET" "$DIR/meta"
  ROOT_ACCESS_KEY=$ACCESS ROOT_SECRET_KEY=$SECRET setsid nohup "$BIN" --quiet --port "127.0.0.1:$1" \
    posix --sidecar "$DIR/meta" "$DIR/buckets" >>"$DIR/log" 2>&1 </dev/null &
  echo $! >"$DIR/pid"
  for ((tries = 0; tries < 400; tries++)); do
    kill -0 "$(<"$DIR/pid")" 2>/dev/null || return 1
    port_open "$1" && { echo "http://127.0.0.1:$1" >"$DIR/url"; return 0; }
    sleep 0.05
  done
  return 1
}

up() {
  local t0 p tries; t0=$(now_ms)
  fetch
  if ((CLEAN)); then down; rm -rf "$DIR"; fi
  mkdir -p "$DIR"
  if p=$(pid); then say "already up, pid $p"; cat "$DIR/url"; return; fi
  for ((tries = 0; ; tries++)); do
    ((tries < 5)) || { cat "$DIR/log" >&2; die "the server does not start"; }
    if ((PORT)); then start "$PORT" && break; else start "$(free_port)" && break; fi
  done
  say "S3 up, pid $(pid), $(( $(now_ms) - t0 )) ms, data in $DIR"
  cat "$DIR/url"
}

down() {
  local p n
  p=$(pid) || { rm -f "$DIR/pid"; return 0; }
  if ((HARD)); then kill -KILL "$p"; else kill -TERM "$p"; fi
  for ((n = 0; n < 100; n++)); do p=$(pid) || break; sleep 0.05; done
  if p=$(pid); then kill -KILL "$p" || true; fi
  rm -f "$DIR/pid" "$DIR/url"
  say "S3 down"
}

[ $# -ge 1 ] || { usage; exit 2; }
CMD=$1; shift
DIR=${TMPDIR:-/tmp}/s3-sh PORT=0 ACCESS=test SECRET=secretsecret BUCKET=ckpt CLEAN=0 HARD=0
while [ $# -gt 0 ]; do
  case $1 in
    --dir) DIR=$2; shift 2 ;;
    --port) PORT=$2; shift 2 ;;
    --access) ACCESS=$2; shift 2 ;;
    --secret) SECRET=$2; shift 2 ;;
    --bucket) BUCKET=$2; shift 2 ;;
    --clean) CLEAN=1; shift ;;
    --hard) HARD=1; shift ;;
    *) usage; exit 2 ;;
  esac
done
mkdir -p "$(dirname "$DIR")"; DIR=$(cd "$(dirname "$DIR")" && pwd)/$(basename "$DIR")
case $CMD in
  up | start) up ;;
  down | stop) down; if ((CLEAN)); then rm -rf "$DIR"; fi ;;
  status) if pid >/dev/null; then cat "$DIR/url"; else say "S3 is down"; exit 3; fi ;;
  fetch) fetch; echo "$BIN" ;;
  -h | --help | help) usage ;;
  *) usage; exit 2 ;;
esac
