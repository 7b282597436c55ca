#!/usr/bin/env bash
# Push of an 86 M parameter model beside raw MPI_Put + flush in the same run: on one host, and between two hosts over TCP
# (network namespaces, root only).
# usage: benchmark/push/run.sh [--build DIR] [--rounds N]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=$root/build/release
rounds=9
while [[ $# -gt 0 ]]; do
  case $1 in
    --build) build=$2 && shift 2 ;;
    --rounds) rounds=$2 && shift 2 ;;
    *) echo "run.sh: unknown argument '$1' (--build DIR, --rounds N)" >&2 && exit 2 ;;
  esac
done
bench=$build/benchmark/push/bench_push
[[ -x $bench ]] || { echo "run.sh: $bench does not exist, build it with: cmake --build $build --target bench_push" >&2; exit 6; }
if [[ $(id -u) -eq 0 ]]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi
# Both ranks need a core to themselves, or the figures mean nothing.
uptime
echo "== one host"
mpirun --oversubscribe --bind-to none -n 2 "$bench" --rounds "$rounds"
echo "== two hosts, TCP"
"$root/test/harness/netns_hosts.sh" -- mpirun_on_hosts -n 2 "$bench" --rounds "$rounds" || [[ $? -eq 77 ]]
