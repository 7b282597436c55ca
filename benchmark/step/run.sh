#!/usr/bin/env bash
# Compares a training step of cos2p with eager PyTorch, in turns, with the same BLAS kernels and threads, and prints ratios.
# usage: run.sh [--build DIR] [--rounds N] [--threads N] [--coretype NAME] [--python FILE]
#   --build     build directory with benchmark/step/bench_step  (default: build/release)
#   --rounds    how often the two take turns; medians are taken over the rounds  (default: 5)
#   --threads   threads of each  (default: all cores)
#   --coretype  OpenBLAS kernels for both; "auto" leaves the choice to OpenBLAS  (default: $OPENBLAS_CORETYPE or auto)
#   --python    Python with PyTorch, the same LibTorch as the build's  (default: /usr/bin/python3)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$here/../../build/release
rounds=5
threads=$(nproc)
coretype=${OPENBLAS_CORETYPE:-auto}
python=/usr/bin/python3
while [[ $# -gt 0 ]]; do
  if [[ $# -lt 2 ]]; then
    echo "run.sh: $1 has no value (every option takes one), see the head of $0" >&2
    exit 2
  fi
  case $1 in
    --build) build=$2 ;;
    --rounds) rounds=$2 ;;
    --threads) threads=$2 ;;
    --coretype) coretype=$2 ;;
    --python) python=$2 ;;
    *)
      echo "run.sh: $1 is unknown, see the head of $0" >&2
      exit 2
      ;;
  esac
  shift 2
done
program=$build/benchmark/step/bench_step
if [[ ! -x $program ]]; then
  echo "run.sh: $program is missing, build the target bench_step or give --build DIR" >&2
  exit 2
fi
unset OPENBLAS_L2_SIZE
if [[ $coretype == auto ]]; then unset OPENBLAS_CORETYPE; else export OPENBLAS_CORETYPE=$coretype; fi
export OMP_NUM_THREADS=$threads
# Where other programs run as well, a thread that spins while its partner waits for a core would be timed instead.
export GOMP_SPINCOUNT=${GOMP_SPINCOUNT:-10000}
echo "kernels=$coretype threads=$threads rounds=$rounds load=$(cut -d' ' -f1 /proc/loadavg)"

results=$(mktemp)
trap 'rm -f "$results"' EXIT
for ((round = 0; round < rounds; ++round)); do
  "$python" "$here/step_reference.py" --threads "$threads" | tee -a "$results"
  "$program" --threads "$threads" | tee -a "$results"
done

# Ratios of what ran next to each other, then their medians: the machine's ups and downs cancel.
awk '
  function median(values, n,   i, j, t) {
    for (i = 2; i <= n; ++i) for (j = i; j > 1 && values[j] < values[j - 1]; --j) { t = values[j]; values[j] = values[j - 1]; values[j - 1] = t }
    return n % 2 ? values[(n + 1) / 2] : (values[n / 2] + values[n / 2 + 1]) / 2
  }
  { split("", field); for (i = 2; i <= NF; ++i) { split($i, pair, "="); field[pair[1]] = pair[2] } }
  function keep_best(name, value) { if (!(name in best) || value < best[name]) best[name] = value }
  { keep_best($1, field["best_ms"]) }
  $1 == "eager" { eager = field["step_ms"] }
  $1 == "full" { ++n; full = field["step_ms"]; peak = field["peak_mib"]; speed[n] = eager / full }
  $1 == "half-units" { units[n] = field["step_ms"] / full; memory = field["peak_mib"] / peak }
  $1 == "half-frozen" { frozen[n] = field["step_ms"] / full; frozen_memory = field["peak_mib"] / peak }
  END {
    print "                                   median  of the best steps  (target)"
    printf "full / eager, images/s:             %.2f   %.2f  (at least 1.00)\n", median(speed, n), best["eager"] / best["full"]
    printf "half of the units / full, time:     %.2f   %.2f  (at most 0.60)\n", median(units, n), best["half-units"] / best["full"]
    printf "half of the units / full, memory:   %.2f         (at most 0.65)\n", memory
    printf "half frozen / full, time:           %.2f   %.2f  (at most 0.70)\n", median(frozen, n), best["half-frozen"] / best["full"]
    printf "half frozen / full, memory:         %.2f\n", frozen_memory
  }' "$results"
