#!/usr/bin/env bash
# Builds the fuzz targets and runs each with libFuzzer; docs/fuzzing.md says what each one reads.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
all=(idx cifar csv glue vocabulary hdf5_images hdf5_bytes toml options fleet device_profile compared_run join_key ring checkpoint
     event_log)
targets=("${all[@]}")
runs=1000000
seconds=0
jobs=1
output=""
build=true
fast=false

usage() {
  cat <<TEXT
Usage: test/fuzz/run.sh [--target A,B] [--runs N] [--seconds S] [--jobs N] [--output DIR] [--fast] [--no-build]
Builds build/fuzz (clang, libFuzzer, address and undefined-behaviour sanitizers), runs each target from its seeds
(test/fuzz/seeds/TARGET) and prints a table: target, runs, runs a second, findings.

      --target A,B   only these of: ${all[*]}
      --runs N       inputs a target (default 1000000)
      --seconds S    at most so long a target (default 0: as long as the inputs take)
      --jobs N       targets at a time, and compilers (default 1)
      --output DIR   logs, corpora and the inputs that were found (default: build/fuzz/findings)
      --fast         without sanitizers (build/fuzz-fast), 4 to 8 times the inputs; then what was kept of them, the inputs that
                     reach something new, goes through the programs with sanitizers once
      --no-build     run what was built before
  -h, --help         this text

Exit code: 0 nothing was found, 1 there are findings (each with the log that names it), 2 usage, 6 clang is missing.
TEXT
}

refuse() {
  echo "run.sh: $1" >&2
  exit "${2:-2}"
}

while [[ $# -gt 0 ]]; do
  case $1 in
    --target | --runs | --seconds | --jobs | --output)
      [[ $# -ge 2 ]] || refuse "$1 needs a value"
      case $1 in
        --target) IFS=, read -r -a targets <<<"$2" ;;
        --runs) runs=$2 ;;
        --seconds) seconds=$2 ;;
        --jobs) jobs=$2 ;;
        --output) output=$2 ;;
      esac
      shift
      ;;
    --fast) fast=true ;;
    --no-build) build=false ;;
    -h | --help) usage && exit 0 ;;
    *) refuse "unknown option '$1', see run.sh --help" ;;
  esac
  shift
done
for number in "$runs" "$seconds" "$jobs"; do
  [[ $number =~ ^[0-9]+$ ]] || refuse "'$number' is no whole number, see run.sh --help"
done
for target in "${targets[@]}"; do
  [[ " ${all[*]} " == *" $target "* ]] || refuse "there is no target '$target' (known: ${all[*]}), see run.sh --help"
done
command -v clang++ >/dev/null || refuse "clang++ was not found (libFuzzer is a part of it), run: mpi_launch/install_packages.sh --fuzz" 6

cd "$root"
presets=(fuzz)
if $fast; then presets=(fuzz-fast fuzz); fi
output=${output:-build/${presets[0]}/findings}
if $build; then
  mkdir -p build
  for name in "${presets[@]}"; do
    cmake --preset "$name" >"build/$name-configure.log" ||
      { tail -20 "build/$name-configure.log" >&2; refuse "the build cannot be configured (see above)" 6; }
    cmake --build --preset "$name" --parallel "$jobs"
  done
fi
mkdir -p "$output"
output=$(cd "$output" && pwd)

# Files that a target makes by name lie in memory where that is possible.
scratch=$(mktemp -d "$([[ -w /dev/shm ]] && echo /dev/shm || echo "${TMPDIR:-/tmp}")/cos2p-fuzz.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
export TMPDIR=$scratch
# What is freed is kept for a while so that its later use is seen; a few megabytes of it suffice here.
export ASAN_OPTIONS=quarantine_size_mb=16:allocator_may_return_null=0:detect_stack_use_after_return=0
export UBSAN_OPTIONS=print_stacktrace=1
# Without sanitizers a third of the time would go into giving memory back and getting it again.
export MALLOC_TRIM_THRESHOLD_=1000000000 MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TOP_PAD_=16777216
for name in $(compgen -e COS2P_ || true); do unset "$name"; done

# run_one TARGET: libFuzzer's log is DIR/TARGET.log; an input that ends the program is DIR/TARGET/found-...
run_one() {
  local target=$1 length=1024 leaks=1 more=()
  case $target in
    cifar) length=8192 ;;
    options) length=4096 && more=(-dict="$root/test/fuzz/options.dict") ;;
    # HDF5 keeps caches, which look as leaks to libFuzzer and make it look for them after each input.
    checkpoint | hdf5_images | hdf5_bytes | event_log) leaks=0 ;;
  esac
  ((leaks)) || more+=(-detect_leaks=0)
  local -x ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=$leaks
  mkdir -p "$output/$target/corpus" "$scratch/$target"
  more+=(-max_len="$length" -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=256 -print_final_stats=1
    -artifact_prefix="$output/$target/found-" "$output/$target/corpus" "$root/test/fuzz/seeds/$target")
  cd "$scratch/$target"
  "$root/build/$preset/test/fuzz/fuzz_$target" -runs="$runs" -max_total_time="$seconds" "${more[@]}" >"$output/$target.log" 2>&1 ||
    return
  if $fast; then "$root/build/fuzz/test/fuzz/fuzz_$target" -runs=0 "${more[@]}" >"$output/$target-sanitized.log" 2>&1; fi
}

export -f run_one
preset=${presets[0]}
export output scratch root runs seconds fast preset
printf '%s\0' "${targets[@]}" | xargs -0 -P "$jobs" -I{} bash -c 'run_one {} && echo 0 >"$output/{}.status" || echo $? >"$output/{}.status"'

findings=0
printf '%-16s %10s %8s %s\n' target runs run/s findings
for target in "${targets[@]}"; do
  log=$output/$target.log
  done_runs=$(awk '/stat::number_of_executed_units/ {print $2}' "$log")
  # Where a run ends with a finding libFuzzer prints no sum: the last line of progress is the nearest.
  [[ -n $done_runs ]] || done_runs=$(grep -oE '^#[0-9]+' "$log" | tail -1 | tr -d "#" || true)
  speed=$(grep -oE 'exec/s: [0-9]+' "$log" | tail -1 | grep -oE '[0-9]+' || true)
  found=none
  if [[ $(cat "$output/$target.status") != 0 ]]; then
    findings=$((findings + 1))
    sanitized=$output/$target-sanitized.log  # the last to have run, if it did
    if [[ $sanitized -nt $log ]]; then log=$sanitized; fi
    found="$(grep -m1 -oE 'FOUND: .*|runtime error: .*|ERROR: (Address|Leak)Sanitizer: [a-zA-Z-]+|ERROR: libFuzzer: .*|what\(\): .*' "$log" || echo "ended with an error") ($log)"
  fi
  printf '%-16s %10s %8s %s\n' "$target" "${done_runs:-0}" "${speed:-0}" "$found"
done
if ((findings > 0)); then
  echo "run.sh: $findings targets have findings; the inputs are $output/TARGET/found-*" >&2
  exit 1
fi
