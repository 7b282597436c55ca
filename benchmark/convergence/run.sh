#!/usr/bin/env bash
# The convergence theorem in numbers (docs/method.md, "Theory in numbers"): builds, runs, draws.
# usage: benchmark/convergence/run.sh [--build DIR] [--seeds N] [--csv FILE] [--figure FILE]
#   --build   configured build directory  (default: build/release)
#   --seeds   problems and noises to average over  (default: 4)
#   --csv     where the points go  (default: BUILD/benchmark/convergence/convergence.csv)
#   --figure  where the figure goes  (default: docs/convergence.svg)
# Ends with 1 where the numbers are not as the theorem says; the figure is drawn all the same.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$here/../..
build=$root/build/release
seeds=4
csv=""
figure=$root/docs/convergence.svg
while [[ $# -gt 0 ]]; do
  if [[ $# -lt 2 ]]; then
    echo "run.sh: $1 has no value (every option takes one), see the head of $0" >&2
    exit 2
  fi
  case $1 in
    --build) build=$2 ;;
    --seeds) seeds=$2 ;;
    --csv) csv=$2 ;;
    --figure) figure=$2 ;;
    *) echo "run.sh: unknown argument '$1' (--build DIR, --seeds N, --csv FILE, --figure FILE)" >&2 && exit 2 ;;
  esac
  shift 2
done
if [[ ! -e $build/CMakeCache.txt ]]; then
  echo "run.sh: $build is not configured (no CMakeCache.txt), run: cmake --preset release, or give --build DIR" >&2
  exit 6
fi
cmake --build "$build" --target bench_convergence
csv=${csv:-$build/benchmark/convergence/convergence.csv}
status=0
"$build/benchmark/convergence/bench_convergence" --seeds "$seeds" --csv "$csv" || status=$?
if [[ $status -gt 1 ]]; then exit "$status"; fi
python3 "$here/plot.py" "$csv" "$figure"
echo "run.sh: points in $csv, figure in $figure"
exit "$status"
