#!/usr/bin/env bash
# Runs lr_mnist.toml several times through cos2p simulate, and in turns a lean loop of as many steps with NumPy (gradient written out) and,
# where PyTorch is installed, with its autograd. Prints medians: seconds of the 100 rounds, microseconds of a step, milliseconds of a round,
# accuracy, and the ratios of neighbours. The loop starts when data, partition and plan are ready, and ends before the evaluation.
# usage: run.sh --data-dir DIR [--dataset mnist|fashion-mnist] [--build DIR] [--runs N] [--threads N] [--python FILE]
#   --data-dir  directory of the IDX files
#   --dataset   (default: fashion-mnist)
#   --build     build directory with src/main/cos2p  (default: build/release)
#   --runs      how often all take turns  (default: 5)
#   --threads   local rounds that cos2p computes at a time  (default: all cores; the references have one thread)
#   --python    Python with NumPy  (default: /usr/bin/python3)
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$here/../../build/release
dataset=fashion-mnist
data=
runs=5
threads=0
python=/usr/bin/python3
while [[ $# -gt 0 ]]; do
  if [[ $# -lt 2 ]]; then
    echo "run.sh: $1 has no value (every option takes one), see the head of $0" >&2
    exit 2
  fi
  case $1 in
    --data-dir) data=$2 ;;
    --dataset) dataset=$2 ;;
    --build) build=$2 ;;
    --runs) runs=$2 ;;
    --threads) threads=$2 ;;
    --python) python=$2 ;;
    *)
      echo "run.sh: $1 is unknown, see the head of $0" >&2
      exit 2
      ;;
  esac
  shift 2
done
program=$build/src/main/cos2p
if [[ ! -x $program ]]; then
  echo "run.sh: $program is missing, build the target cos2p or give --build DIR" >&2
  exit 2
fi
if [[ -z $data ]]; then
  echo "run.sh: --data-dir is missing, see the head of $0" >&2
  exit 2
fi
if ! "$python" -c "import numpy" 2>/dev/null; then
  echo "run.sh: $python has no NumPy (the reference needs it), install python3-numpy or give --python FILE" >&2
  exit 2
fi
references=(numpy)
if "$python" -c "import torch" 2>/dev/null; then references+=(torch); fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1
echo "dataset=$dataset runs=$runs threads=$threads load=$(cut -d' ' -f1 /proc/loadavg)"
for ((run = 0; run < runs; ++run)); do
  rm -rf "$work/out"
  "$program" simulate --config "$here/lr_mnist.toml" --dataset "$dataset" --data-dir "$data" --threads "$threads" --quiet \
    --output "$work/out" >"$work/log"
  awk '/ of real time, / {
         gsub(",", ""); rounds = $1; steps = $3; loop = $6; begin = $12
       }
       /^test accuracy/ {
         printf "cos2p loop_s=%.4f steps=%d step_us=%.2f round_ms=%.3f accuracy=%.4f begin_s=%.2f\n",
                loop, steps, 1e6 * loop / steps, 1e3 * loop / rounds, $(NF - 1) / 100, begin
       }' "$work/log" | tee -a "$work/results"
  for reference in "${references[@]}"; do
    "$python" "$here/lr_reference.py" "$reference" --data-dir "$data" --clients "$work/out/clients.csv" | tee -a "$work/results"
  done
done
awk '
  function median(values, n,   i, j, t, sorted) {
    for (i = 1; i <= n; ++i) sorted[i] = values[i]
    for (i = 2; i <= n; ++i) for (j = i; j > 1 && sorted[j] < sorted[j - 1]; --j) { t = sorted[j]; sorted[j] = sorted[j - 1]; sorted[j - 1] = t }
    return n % 2 ? sorted[(n + 1) / 2] : (sorted[n / 2] + sorted[n / 2 + 1]) / 2
  }
  function column(name, key,   i, list) {
    for (i = 1; i <= count[name]; ++i) list[i] = all[name, key, i]
    return median(list, count[name])
  }
  {
    ++count[$1]
    for (i = 2; i <= NF; ++i) { split($i, pair, "="); all[$1, pair[1], count[$1]] = pair[2] }
  }
  END {
    print "medians      loop s   steps   us/step   ms/round   accuracy"
    for (i = split("cos2p numpy torch", names, " "); i >= 1; --i) order[4 - i] = names[i]
    for (i = 3; i >= 1; --i) {
      name = order[i]
      if (!(name in count)) continue
      printf "%-10s %8.3f %7d %9.1f %10.2f %10.4f\n", name, column(name, "loop_s"), column(name, "steps"), column(name, "step_us"),
             column(name, "round_ms"), column(name, "accuracy")
    }
    printf "cos2p before its first round: %.2f s (data, partition, plan)\n", column("cos2p", "begin_s")
    for (i = 2; i >= 1; --i) {
      name = order[i]
      if (!(name in count)) continue
      for (run = 1; run <= count[name]; ++run) ratio[run] = all[name, "loop_s", run] / all["cos2p", "loop_s", run]
      printf "%s / cos2p, time of neighbours: %.2f\n", name, median(ratio, count[name])
    }
  }' "$work/results"
