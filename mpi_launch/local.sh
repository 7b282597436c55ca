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

  -n, --ranks RANKS    processes to start: one server and its workers (1, the server alone, with --accept-joins); may exceed the cores
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
[[ -x $binary ]] || refuse "$binary is missing or not executable (this script never builds), build it with: cmake --preset release -DCOS2P_TESTS=OFF && cmake --build --preset release --target cos2p, or name another with --binary" 6

# shellcheck source=mpi_launch/job.sh
source "$here/job.sh"
# shellcheck disable=SC2317  # called by run_job
on_server() { bash -c "$1"; }
# --bind-to none: more ranks than cores share the cores.
run_job local.sh mpirun --enable-recovery --oversubscribe --bind-to none -n "$ranks" "$binary" "$@"
