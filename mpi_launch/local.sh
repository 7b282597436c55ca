#!/usr/bin/env bash
# Starts a training run on this machine: one server and RANKS - 1 workers under mpirun.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
ranks=""
binary=${COS2P_BINARY:-$here/../build/release/src/main/cos2p}

usage() {
  cat <<'TEXT'
Usage: mpi_launch/local.sh -n RANKS [OPTIONS] [--] COMMAND...
Starts `cos2p COMMAND...` on this machine: rank 0 is the server, the others are workers.

  -n, --ranks RANKS    processes to start, at least 2 (one server and its workers); may exceed the cores
      --binary FILE    the program (default: build/release/src/main/cos2p of this tree, or COS2P_BINARY)
  -h, --help           this text; `-- train --help` shows the program's own options

Example: mpi_launch/local.sh -n 4 -- train --dataset synthetic --rounds 4

Ctrl-C or SIGTERM: the server ends after at most one local round, with a checkpoint. Once more: everything ends at once.
The exit code is the server's: 0 fine, 2 usage, 3 data, 4 checkpoint, 5 no workers left, 6 environment.
TEXT
}

refuse() {  # MESSAGE [EXIT CODE]
  echo "local.sh: $1" >&2
  exit "${2:-2}"
}

while [[ $# -gt 0 ]]; do
  case $1 in
    -n | --ranks)
      [[ $# -ge 2 ]] || refuse "$1 needs a number of ranks"
      ranks=$2
      shift 2
      ;;
    --ranks=*) ranks=${1#*=} && shift ;;
    --binary)
      [[ $# -ge 2 ]] || refuse "--binary needs a file"
      binary=$2
      shift 2
      ;;
    --binary=*) binary=${1#*=} && shift ;;
    -h | --help) usage && exit 0 ;;
    --) shift && break ;;
    -*) refuse "unknown option '$1' (options of the program come after --), see local.sh --help" ;;
    *) break ;;
  esac
done

[[ -n $ranks ]] || refuse "-n RANKS is missing (one server and its workers), try: local.sh -n 4 -- train"
[[ $ranks =~ ^[0-9]{1,5}$ ]] || refuse "-n '$ranks' is not a number of ranks, try: local.sh -n 4 -- train"
[[ $# -gt 0 ]] || refuse "no command for the program, try: local.sh -n $ranks -- train"
command -v mpirun >/dev/null || refuse "mpirun was not found (Open MPI is missing), install it with: apt-get install openmpi-bin" 6
[[ -x $binary ]] || refuse "$binary is missing or not executable (this script never builds), build it with: cmake --preset release && cmake --build --preset release, or name another with --binary" 6

# mpirun refuses root unless told twice; in a container everybody is root.
if [[ $(id -u) -eq 0 ]]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi

# --enable-recovery: a worker that dies leaves the others running. mpirun then returns 0 whatever happened, so the server
# leaves its exit code, and its process id for signals, in files. --bind-to none: more ranks than cores share the cores.
state=$(mktemp -d "${TMPDIR:-/tmp}/cos2p-launch.XXXXXX")
export COS2P_EXIT_CODE_FILE=$state/exit_code COS2P_SERVER_PID_FILE=$state/server_pid
# mpirun gives its ranks a terminal of its own making: only this script knows whether a person looks on.
if [[ -t 1 ]]; then export COS2P_TERMINAL=${COS2P_TERMINAL:-1}; else export COS2P_TERMINAL=${COS2P_TERMINAL:-0}; fi
# Ranks end without MPI_Finalize then (it would wait for the dead), which PMIx remarks upon: its remarks go to descriptor 9.
exec 9>/dev/null
export PMIX_OUTPUT_STDERR_FD=9
export COS2P_RECOVERY_ENABLED=1  # mpirun of Open MPI 5 does not tell its ranks
line=(mpirun --enable-recovery --oversubscribe --bind-to none -n "$ranks" "$binary" "$@")
printf 'local.sh:' >&2
printf ' %q' "${line[@]}" >&2
printf '\n' >&2

signals=0
mpirun_pid=""
# shellcheck disable=SC2317  # called by trap
on_signal() {
  signals=$((signals + 1))
  local server=""
  [[ -r $COS2P_SERVER_PID_FILE ]] && server=$(<"$COS2P_SERVER_PID_FILE")
  if [[ $COS2P_TERMINAL == 1 ]]; then echo >&2; fi  # below the ^C and the progress bar
  if [[ $signals -eq 1 && -n $server ]]; then
    echo "local.sh: asking the server to end after this local round; once more ends everything at once" >&2
    kill -TERM "$server" 2>/dev/null || true
  elif [[ -n $mpirun_pid ]]; then
    if [[ -n $server ]]; then kill -KILL "$server" 2>/dev/null || true; fi
    kill -TERM "$mpirun_pid" 2>/dev/null || true
  fi
}
trap on_signal INT TERM
trap 'rm -rf "$state"' EXIT

# A session of its own: the terminal's Ctrl-C must reach the server alone, not mpirun, which would kill all ranks within a
# second or two. If this script is killed, mpirun ends too.
guard=()
setpriv --pdeathsig TERM true 2>/dev/null && guard=(setpriv --pdeathsig TERM)
setsid "${guard[@]}" "${line[@]}" </dev/null &
mpirun_pid=$!

# Workers end when the server tells them to, or when its heartbeat stands still. One that is stuck must not keep the job.
(
  exec >/dev/null 2>&1
  until [[ -r $COS2P_SERVER_PID_FILE ]]; do sleep 1; done
  while kill -0 "$(<"$COS2P_SERVER_PID_FILE")"; do sleep 1; done
  sleep 15
  kill -TERM "$mpirun_pid"
) &
watcher=$!
trap 'kill "$watcher" 2>/dev/null || true; rm -rf "$state"' EXIT

status=0
while :; do
  wait "$mpirun_pid" && status=0 || status=$?
  kill -0 "$mpirun_pid" 2>/dev/null || break  # else a signal has interrupted wait
done

[[ $signals -ge 2 ]] && exit 130
if [[ -r $COS2P_EXIT_CODE_FILE ]]; then
  exit "$(<"$COS2P_EXIT_CODE_FILE")"
fi
if [[ $status -eq 0 ]]; then
  echo "local.sh: the server ended without an exit code (killed, or out of memory); the last checkpoint is intact, go on with --resume" >&2
  status=1
fi
exit "$status"
