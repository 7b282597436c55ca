#!/usr/bin/env bash
# A run over three hosts (network namespaces, 1 Gbit/s) whose workers' speeds are spread 1:8, undisturbed and disturbed: a
# worker is killed, another hangs for ten seconds, a fourth joins and goes on with what the killed one did. Ends with 1
# where the accuracies are more than a point apart. Needs root.
#
#   three_hosts.sh [--program FILE] [--data-dir DIR with Fashion-MNIST] [--rounds N] [--seed N] [--output DIR]
#
# Without --data-dir it takes the built-in data, of which too much is learnt to tell much.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
if [[ -z ${COS2P_HOSTS:-} ]]; then
  exec bash "$root/test/harness/netns_hosts.sh" --hosts 3 --rate 1gbit -- bash "$0" "$@"
fi
program=$root/build/release/src/main/cos2p
rounds=1200
seed=0
output=three-hosts
data=(--dataset synthetic)
while [[ $# -gt 0 ]]; do
  case $1 in
    --program | --rounds | --seed | --output) declare "${1#--}=$2" && shift 2 ;;
    --data-dir) data=(--dataset fashion-mnist --data-dir "$(realpath "$2")" --patch 7) && shift 2 ;;
    *) echo "three_hosts.sh: unknown option '$1'" >&2 && exit 2 ;;
  esac
done
program=$(realpath "$program")
mkdir -p "$output"
cd "$output" || exit 1
source "$root/test/program/lib.sh" "$program" "$root"
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
IFS=, read -r -a host <<<"$COS2P_HOSTS"
fail() {
  echo "FAILED: $1" >&2
  exit 1
}
start() {  # NAME OPTIONS...
  local name=$1
  shift
  mpirun_on_hosts --enable-recovery -n 4 "$COS2P_BINARY" train --config "$root/mpi_launch/images.toml" "${data[@]}" --seed "$seed" \
    --emulate-speeds 1,0.5,0.125 --suspect-after 3 --worker-timeout 30 --rounds "$rounds" --output "$name" --threads 1 "$@" >"$name.txt" 2>&1 &
  job=$!
}
accuracy() { sed -n 's/^test accuracy of the full model: \([0-9.]*\) %/\1/p' "$1.txt"; }
until_round() { wait_for 3600 rounds disturbed "$1" || fail "round $1 was not reached: $(tail -5 disturbed.txt)"; }
said() { wait_for 90 grep -q -- "$1" disturbed.txt || fail "'$1' was not said: $(tail -5 disturbed.txt)"; }
tell() { echo "round $(wc -l <disturbed/metrics.csv): $1"; }

start undisturbed
wait $job || fail "the undisturbed run ended with $?: $(tail -5 undisturbed.txt)"
echo "undisturbed: $(accuracy undisturbed) %"

start disturbed --accept-joins --event-log --event-log-limit 0
until_round $((rounds / 4))
kill -KILL "$(worker disturbed 2)"
said "worker 2 is gone"
tell "worker 2 (client 1, on the third host) killed"
until_round $((rounds * 2 / 5))
"$COS2P_ON_HOST" "${host[2]}" bash "$root/mpi_launch/join.sh" --agent "$COS2P_AGENT" "${host[0]}:$PWD/disturbed" -- --threads 1 >joined.txt 2>&1 &
joined=$!
said "worker 4 executes client 1"
tell "worker 4 has joined from the third host"
until_round $((rounds / 2))
hung=$(worker disturbed 1)
kill -STOP "$hung"
said "worker 1 is suspect"
tell "worker 1 (client 0, on the second host) hangs"
sleep 10
kill -CONT "$hung"
said "worker 1 is back"
tell "worker 1 is back"
wait $job
wait $joined || fail "the newcomer ended with $?: $(tail -5 joined.txt)"
"$COS2P_BINARY" replay disturbed >replay.txt 2>&1 || fail "the event log and the model differ: $(cat replay.txt)"
echo "disturbed: $(accuracy disturbed) %; $(tail -1 replay.txt)"
awk -v a="$(accuracy undisturbed)" -v b="$(accuracy disturbed)" 'BEGIN { if (a == "" || b == "" || a - b > 1 || b - a > 1) exit 1 }' ||
  fail "the accuracies are more than a point apart"
