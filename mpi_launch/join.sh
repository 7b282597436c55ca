#!/usr/bin/env bash
# Joins a run that goes on, from this host: fetches the run's key from the server's host, then starts a worker.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
binary=${COS2P_BINARY:-$here/../build/release/src/main/cos2p}
agent=${COS2P_LAUNCH_AGENT:-ssh -o BatchMode=yes -o ConnectTimeout=10}

usage() {
  cat <<'TEXT'
Usage: mpi_launch/join.sh [OPTIONS] [HOST:]OUTPUT [-- OPTIONS OF cos2p join]
Starts a worker on this host that joins a run which goes on. The run must have been started with --accept-joins; OUTPUT is
its output directory, on HOST (an absolute path), or here. This host needs the program and, where the run does not use the
built-in data, a copy of the data.

      --binary FILE    the program (default: build/release/src/main/cos2p of this tree, or COS2P_BINARY)
      --agent COMMAND  starts a command on a host: COMMAND HOST TEXT (default: ssh without passwords; COS2P_LAUNCH_AGENT)
  -h, --help           this text; `cos2p join --help` shows the program's own options

Example: mpi_launch/join.sh server:/home/me/cos2p/runs/fashion -- --data-dir /data/fashion-mnist --retry-for 3600

The key is kept in a temporary file that only you may read, until the worker ends. Ctrl-C or SIGTERM: the worker leaves.
The exit code is the worker's: 0 the run has ended or it left on request, 2 usage, 3 data, 5 the server could not be reached
for --retry-for seconds, 6 environment (the key cannot be had; the server refuses this host).
TEXT
}

refuse() {  # MESSAGE [EXIT CODE]
  echo "join.sh: $1" >&2
  exit "${2:-2}"
}

run=""
while [[ $# -gt 0 ]]; do
  case $1 in
    --binary | --agent)
      [[ $# -ge 2 ]] || refuse "$1 needs a value, see join.sh --help"
      declare "${1#--}=$2" && shift 2
      ;;
    -h | --help) usage && exit 0 ;;
    --) shift && break ;;
    -*) refuse "unknown option '$1' (options of the program come after --), see join.sh --help" ;;
    *)
      [[ -z $run ]] || refuse "'$1' is one run too many (already given: $run), see join.sh --help"
      run=$1 && shift
      ;;
  esac
done
[[ -n $run ]] || refuse "which run is missing, try: join.sh server:/home/me/cos2p/runs/fashion"
[[ -x $binary ]] || refuse "$binary is missing or not executable (this script never builds), build it with: cmake --preset release -DCOS2P_TESTS=OFF && cmake --build --preset release --target cos2p, or name another with --binary" 6

if [[ $run != *:* ]]; then exec "$binary" join "$run" "$@"; fi

host=${run%%:*} output=${run#*:}
[[ $host =~ ^([A-Za-z0-9._-]+@)?[A-Za-z0-9._-]+$ ]] || refuse "'$host' is no host name, try: join.sh server:/home/me/cos2p/runs/fashion"
[[ $output == /* ]] || refuse "$output on $host is no absolute path (the program may run anywhere there), give it from the root on"
key=$(mktemp "${TMPDIR:-/tmp}/cos2p-key.XXXXXX")  # mode 0600
trap 'rm -f "$key"' EXIT
# shellcheck disable=SC2086  # the agent is a command with its options
$agent "$host" "cat $(printf %q "$output/join.json")" </dev/null >"$key" ||
  refuse "$output/join.json cannot be read on $host (the line before says why), start the run with --accept-joins, and try: ${agent%% *} $host ls -l $output" 6
"$binary" join "$key" "$@" &
worker=$!
trap 'kill -TERM $worker 2>/dev/null' INT TERM
# A signal ends `wait` before the worker has left.
while code=0 && wait $worker || code=$? && kill -0 $worker 2>/dev/null; do :; done
exit "$code"
