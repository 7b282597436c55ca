#!/usr/bin/env bash
# Compares what cos2p chooses when nothing is set with every BLAS and every kind of kernels on this machine, in turns.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=$here/../../build/release
rounds=5
threads=$(nproc)
reference=false
extra=()

usage() {
  cat <<'TEXT'
Usage: benchmark/blas/run.sh [--build DIR] [--rounds N] [--threads N] [--reference] [--also DIR]...
Prints images/s of a training step (ViT of dim 192, 6 blocks, 65 tokens, batch 64) for each choice, and the ratio of cos2p's
own choice to the best one (at least 0.90 is wanted).

  --build DIR   build directory with benchmark/blas/bench_blas (default: build/release)
  --rounds N    how often the choices take turns (default: 5)
  --threads N   threads of each (default: all cores)
  --reference   Debian's default BLAS too (a step takes a quarter of a minute)
  --also DIR    a directory with one more libblas.so.3 (an unpacked package); may be repeated
TEXT
}

while [[ $# -gt 0 ]]; do
  case $1 in
    --reference) reference=true ;;
    -h | --help) usage && exit 0 ;;
    --build | --rounds | --threads | --also)
      [[ $# -ge 2 ]] || { echo "run.sh: $1 needs a value, see --help" >&2 && exit 2; }
      case $1 in
        --build) build=$2 ;;
        --rounds) rounds=$2 ;;
        --threads) threads=$2 ;;
        --also) extra+=("$2") ;;
      esac
      shift
      ;;
    *) echo "run.sh: unknown option '$1', see --help" >&2 && exit 2 ;;
  esac
  shift
done
program=$build/benchmark/blas/bench_blas
[[ -x $program ]] || { echo "run.sh: $program is missing, build the target bench_blas or give --build DIR" >&2 && exit 6; }

core_types=(auto)
if [[ $(uname -m) == x86_64 ]]; then
  core_types+=(NEHALEM)
  if grep -qw avx2 /proc/cpuinfo; then core_types+=(HASWELL ZEN); fi
  if grep -qw avx512bw /proc/cpuinfo; then core_types+=(SKYLAKEX); fi
  if grep -qw avx512_bf16 /proc/cpuinfo; then core_types+=(COOPERLAKE); fi
  if grep -qw amx_tile /proc/cpuinfo; then core_types+=(SAPPHIRERAPIDS); fi
fi

clean=(env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE -u LD_LIBRARY_PATH -u LD_PRELOAD -u OMP_NUM_THREADS -u OMP_WAIT_POLICY -u GOMP_SPINCOUNT)
results=$(mktemp)
trap 'rm -f "$results"' EXIT

try() {  # NAME VARIABLES... -- ARGUMENTS...
  local name=$1
  shift
  local variables=()
  while [[ $1 != -- ]]; do variables+=("$1") && shift; done
  shift
  local line
  line=$("${clean[@]}" "${variables[@]}" "$program" "$@") || line="0	failed"
  printf '%s\t%s\n' "$name" "$line" | tee -a "$results"
}

echo "threads $threads, load $(cut -d' ' -f1 /proc/loadavg 2>/dev/null || echo unknown); images/s:"
# Waiting threads sleep, as the program has it: on a busy machine spinning ones would be measured instead of the BLAS.
common=(OMP_NUM_THREADS="$threads" OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0)
# A new user sets nothing; threads only where this comparison was asked to use fewer.
names=("cos2p's choice")
settings=("")
arguments=("")
if [[ $threads -ne $(nproc) ]]; then settings=("OMP_NUM_THREADS=$threads"); fi
for directory in /usr/lib/*-linux-gnu*/{openblas-openmp,openblas-pthread,openblas-serial,blis-openmp,blis-pthread} "${extra[@]}"; do
  [[ -e $directory/libblas.so.3 ]] || continue
  kinds=("")
  if [[ $directory == *openblas* ]]; then kinds=("${core_types[@]}"); fi
  for kind in "${kinds[@]}"; do
    names+=("$(basename "$directory")${kind:+ $kind}")
    core_type=
    if [[ -n $kind && $kind != auto ]]; then core_type=OPENBLAS_CORETYPE=$kind; fi
    settings+=("${common[*]} LD_LIBRARY_PATH=$directory $core_type")
    arguments+=(--as-it-is)
  done
done
for ((round = 1; round <= rounds; ++round)); do
  # Another order each round: what ran before leaves its mark on the next.
  for place in $(shuf --input-range=0-$((${#names[@]} - 1)) --random-source=<(yes "$round")); do
    # shellcheck disable=SC2086
    try "${names[place]}" ${settings[place]} -- ${arguments[place]}
  done
  if $reference && [[ $round -eq 1 ]]; then
    for directory in /usr/lib/*-linux-gnu*/blas; do
      if [[ -e $directory/libblas.so.3 ]]; then try "reference" "${common[@]}" LD_LIBRARY_PATH="$directory" -- --as-it-is --repeats 1 --batch 16; fi
    done
  fi
done

echo
awk -F '\t' '
  function median(text,   n, values, i, j, t) {
    n = split(text, values, " ")
    for (i = 2; i <= n; ++i) for (j = i; j > 1 && values[j] + 0 < values[j - 1] + 0; --j) { t = values[j]; values[j] = values[j - 1]; values[j - 1] = t }
    return n % 2 ? values[(n + 1) / 2] + 0 : (values[n / 2] + values[n / 2 + 1]) / 2
  }
  {
    if (!($1 in all)) order[++count] = $1
    all[$1] = all[$1] " " $2
    what[$1] = $3 ", " $4
  }
  END {
    n = split(all[own], mine, " ")
    printf "%-32s %8s %8s   %s\n", "choice", "median", "own/it", "library, kernels"
    for (i = 1; i <= count; ++i) {
      name = order[i]
      ratios = ""
      if (split(all[name], its, " ") == n) for (j = 1; j <= n; ++j) if (its[j] > 0) ratios = ratios " " mine[j] / its[j]
      printf "%-32s %8.1f %8s   %s\n", name, median(all[name]), ratios ? sprintf("%.2f", median(ratios)) : "", what[name]
      if (name != own && ratios && (!worst || median(ratios) < worst)) { worst = median(ratios); winner = name }
    }
    printf "\nown choice / best choice (%s): %.2f, the median of the rounds  (at least 0.90)\n", winner, worst
  }' own="cos2p's choice" "$results"
