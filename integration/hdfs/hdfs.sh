#!/usr/bin/env bash
# hdfs.sh - a real HDFS (name node and data nodes of Hadoop's MiniDFSCluster) on 127.0.0.1, from Maven artifacts
# only. Needs: bash, coreutils, flock and setsid (util-linux), Java 17+, Maven. Self-contained: copy this one file.
set -euo pipefail

HADOOP_VERSION=${HADOOP_VERSION:-3.4.1}
JACKSON_VERSION=${JACKSON_VERSION:-2.17.2}  # MiniDFSCluster uses these three and declares none of them
MOCKITO_VERSION=${MOCKITO_VERSION:-4.11.0}
JUNIT_VERSION=${JUNIT_VERSION:-4.13.2}
DEP_PLUGIN=org.apache.maven.plugins:maven-dependency-plugin:3.8.1

usage() {
  cat <<'U'
usage: hdfs.sh COMMAND [options]
  up      [--dir D] [--port P] [--datanodes N] [--heap 512m] [--clean]
          idempotent: fetches jars on first use, formats, starts; prints host:port of the name node
  down    [--dir D] [--hard] [--clean]      --hard = SIGKILL
  status  [--dir D]                         prints host:port; exit 0 if it is alive
  fetch | classpath | pom                   download only | print class path | print the pom used
defaults: --dir ${TMPDIR:-/tmp}/hdfs-sh, --port 0 (a free one), --datanodes 1; 127.0.0.1 only
env: HADOOP_VERSION, HDFS_SH_CACHE (jar cache), MVN (maven command), MVN_ARGS, JAVA_HOME
U
}

now_ms() { date +%s%3N; }
say() { printf '%s\n' "$*" >&2; }
die() { say "hdfs.sh: $*"; exit 1; }

JAVA=java; [ -n "${JAVA_HOME:-}" ] && JAVA=$JAVA_HOME/bin/java
CACHE=${HDFS_SH_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hdfs-sh}
LIB=$CACHE/hadoop-$HADOOP_VERSION

pom() {
  cat <<P
<project>
  <modelVersion>4.0.0</modelVersion>
  <groupId>local.peers</groupId><artifactId>hdfs</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>org.apache.hadoop</groupId><artifactId>hadoop-minicluster</artifactId><version>$HADOOP_VERSION</version></dependency>
    <dependency><groupId>com.fasterxml.jackson.core</groupId><artifactId>jackson-core</artifactId><version>$JACKSON_VERSION</version></dependency>
    <dependency><groupId>com.fasterxml.jackson.core</groupId><artifactId>jackson-databind</artifactId><version>$JACKSON_VERSION</version></dependency>
    <dependency><groupId>org.mockito</groupId><artifactId>mockito-core</artifactId><version>$MOCKITO_VERSION</version></dependency>
    <dependency><groupId>junit</groupId><artifactId>junit</artifactId><version>$JUNIT_VERSION</version></dependency>
  </dependencies>
</project>
P
}

fetch() {
  [ -e "$LIB/.complete" ] && return 0
  mkdir -p "$CACHE"
  (
    flock 9
    [ -e "$LIB/.complete" ] && exit 0
    local t0 tmp; t0=$(now_ms); tmp=$(mktemp -d "$CACHE/tmp.XXXXXX")
    pom >"$tmp/pom.xml"; mkdir "$tmp/lib"
    say "fetching Hadoop $HADOOP_VERSION through Maven (first use)"
    # shellcheck disable=SC2086
    (cd "$tmp" && ${MVN:-mvn} -B -q ${MVN_ARGS:-} "$DEP_PLUGIN:copy-dependencies" \
      -DincludeScope=runtime -DoutputDirectory="$tmp/lib") >"$tmp/mvn.log" 2>&1 ||
      { cat "$tmp/mvn.log" >&2; rm -rf "$tmp"; exit 1; }
    rm -rf "$LIB"; mv "$tmp/lib" "$LIB"; touch "$LIB/.complete"; rm -rf "$tmp"
    say "fetched: $(ls "$LIB"/*.jar | wc -l) jars, $(du -sm "$LIB" | cut -f1) MiB, $(( $(now_ms) - t0 )) ms"
  ) 9>"$CACHE/.lock"
}

pid() {  # prints the pid if it is alive and ours
  local p
  [ -s "$DIR/pid" ] || return 1
  p=$(<"$DIR/pid")
  [ -r "/proc/$p/cmdline" ] && tr '\0' ' ' <"/proc/$p/cmdline" | grep -qF "$DIR/details.json" || return 1
  echo "$p"
}

address() {  # written once the cluster is up
  local port
  port=$(grep -o '"namenode_port":[0-9]*' "$DIR/details.json" 2>/dev/null | grep -o '[0-9]*$') || return 1
  echo "127.0.0.1:$port"
}

up() {
  local t0 tries p format=-format; t0=$(now_ms)
  fetch
  if ((CLEAN)); then down; rm -rf "$DIR"; fi
  mkdir -p "$DIR"
  if p=$(pid); then say "already up, pid $p"; address; return; fi
  if [ -e "$DIR/formatted" ]; then format=; fi
  rm -f "$DIR/details.json"
  : >"$DIR/log"
  # The cluster listens on 127.0.0.1 by itself. Its directories follow hadoop.test.data.dir and, for what is made
  # anew each time, the working directory.
  # shellcheck disable=SC2086
  (cd "$DIR" && exec setsid nohup "$JAVA" -Xmx"$HEAP" -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Djava.awt.headless=true \
    -Djava.net.preferIPv4Stack=true -Dtest.build.data="$DIR/data" -Dhadoop.log.dir="$DIR" \
    --add-opens java.base/java.lang=ALL-UNNAMED -cp "$LIB/*" org.apache.hadoop.test.MiniDFSClusterManager \
    $format -nnport "$PORT" -datanodes "$DATANODES" -D dfs.permissions.superusergroup=supergroup -writeDetails "$DIR/details.json" \
    >>"$DIR/log" 2>&1 </dev/null) &
  echo $! >"$DIR/pid"
  for ((tries = 0; ; tries++)); do
    address >/dev/null && break
    # not pid: until the child has exec'ed, its command line is still this script's
    kill -0 "$(<"$DIR/pid")" 2>/dev/null || { tail -20 "$DIR/log" >&2; die "HDFS died while starting"; }
    ((tries < 1200)) || die "HDFS not ready after 60 s, see $DIR/log"
    sleep 0.05
  done
  touch "$DIR/formatted"
  say "HDFS up, pid $(pid), $(( $(now_ms) - t0 )) ms, data in $DIR"
  address
}

down() {
  local p n
  p=$(pid) || { rm -f "$DIR/pid"; return 0; }
  if ((HARD)); then kill -KILL "$p"; else kill -TERM "$p"; fi
  for ((n = 0; n < 200; n++)); do p=$(pid) || break; sleep 0.05; done
  if p=$(pid); then kill -KILL "$p" || true; fi
  rm -f "$DIR/pid" "$DIR/details.json"
  say "HDFS down"
}

[ $# -ge 1 ] || { usage; exit 2; }
CMD=$1; shift
DIR=${TMPDIR:-/tmp}/hdfs-sh PORT=0 DATANODES=1 HEAP=512m CLEAN=0 HARD=0
while [ $# -gt 0 ]; do
  case $1 in
    --dir) DIR=$2; shift 2 ;;
    --port) PORT=$2; shift 2 ;;
    --datanodes) DATANODES=$2; shift 2 ;;
    --heap) HEAP=$2; shift 2 ;;
    --clean) CLEAN=1; shift ;;
    --hard) HARD=1; shift ;;
    *) usage; exit 2 ;;
  esac
done
mkdir -p "$(dirname "$DIR")"; DIR=$(cd "$(dirname "$DIR")" && pwd)/$(basename "$DIR")
case $CMD in
  up | start) up ;;
  down | stop) down; if ((CLEAN)); then rm -rf "$DIR"; fi ;;
  status) if p=$(pid) && a=$(address); then echo "$a"; else say "HDFS is down"; exit 3; fi ;;
  fetch) fetch; echo "$LIB" ;;
  classpath) fetch; echo "$LIB/*" ;;
  pom) pom ;;
  -h | --help | help) usage ;;
  *) usage; exit 2 ;;
esac
