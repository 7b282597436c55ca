#!/usr/bin/env bash
# Whole jobs under the real mpirun, started by mpi_launch/local.sh: what is left when ranks are killed, signals, refusals.
# usage: job_test.sh SOURCE_DIR TRANSPORT_JOB CASE
set -uo pipefail
launcher=$1/mpi_launch/local.sh
job=$2
case=$3

out=$(mktemp)
trap 'rm -f "$out"' EXIT
failures=0

fail() {
  echo "FAILED: $*" >&2
  failures=$((failures + 1))
}
run() {  # WANTED_CODE ARGUMENTS...
  local wanted=$1 code=0
  shift
  timeout -s KILL 60 "$launcher" --binary "$job" "$@" >"$out" 2>&1 || code=$?
  sed 's/^/  | /' "$out"
  [[ $code -eq $wanted ]] || fail "exit code $code instead of $wanted: $*"
}
expect() { grep -Eq -- "$1" "$out" || fail "the output does not say '$1'"; }
refuse_output() { if grep -Eq -- "$1" "$out"; then fail "the output says '$1'"; fi; }
await_start() {
  for _ in $(seq 100); do
    if grep -q one-sided "$out"; then return; fi
    sleep 0.1
  done
}
seconds_since() { awk -v a="$1" -v b="$(date +%s.%N)" 'BEGIN { printf "%.1f", b - a }'; }
at_most() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a <= b) }' || fail "it took $1 s, more than $2 s"; }

case $case in
  everybody_lives)
    run 0 -n 3 -- --seconds 0.5
    expect 'delivered [1-9][0-9]* wrong 0 dead 0 truncated 0 otherwise dropped 0'
    refuse_output 'PMIX|improper'
    ;;
  one_worker_killed)
    # Killed while it pushes: the others and the server go on, and of the broken message nothing is applied.
    run 0 -n 4 -- --seconds 1.2 --silence 1 --kill 2
    expect 'delivered [1-9][0-9]* wrong 0 dead 1 truncated [01] otherwise dropped 0'
    expect 'worker 1 pushed [1-9]'
    expect 'worker 3 pushed [1-9]'
    ;;
  all_workers_killed)
    run 5 -n 4 -- --seconds 1 --silence 1 --kill-workers
    expect 'wrong 0 dead 3 truncated [0-3] otherwise dropped 0'
    ;;
  server_killed)
    start=$(date +%s.%N)
    run 1 -n 3 -- --seconds 2 --silence 1 --kill-server
    at_most "$(seconds_since "$start")" 8
    expect 'worker 1 pushed [0-9]+, server silent'
    expect 'worker 2 pushed [0-9]+, server silent'
    expect 'the server ended without an exit code'
    ;;
  signals)
    # One signal: the server gets the time that it needs (here 3 s, more than mpirun would give), and ends with its own code.
    "$launcher" --binary "$job" -n 3 -- --seconds 30 --linger 3 >"$out" 2>&1 &
    pid=$!
    await_start
    kill -TERM $pid
    wait $pid || fail "exit code $? after one signal"
    sed 's/^/  | /' "$out"
    expect 'stopped by a signal'
    # Two signals: everything ends at once.
    : >"$out"
    "$launcher" --binary "$job" -n 3 -- --seconds 30 --linger 30 >"$out" 2>&1 &
    pid=$!
    await_start
    kill -TERM $pid
    sleep 0.3
    start=$(date +%s.%N)
    kill -TERM $pid
    code=0
    wait $pid || code=$?
    [[ $code -eq 130 ]] || fail "exit code $code instead of 130 after two signals"
    at_most "$(seconds_since "$start")" 6
    ;;
  hanging_fabric)
    # A fabric whose first put never returns, at the first worker; the others wait for their turn no longer than that.
    start=$(date +%s.%N)
    COS2P_TEST_HANG_FABRIC=1 run 6 -n 5 -- --seconds 1
    at_most "$(seconds_since "$start")" 12
    expect 'The network cannot carry one-sided MPI between the server on .* and worker 1 on .*osc='
    expect 'and worker 4 on .*the server has not got past worker 1'
    ;;
  refusals)
    run 2
    expect '-n RANKS is missing'
    run 2 -n
    expect 'needs a number'
    run 2 -n two -- train
    expect "'two' is not a number of ranks"
    run 2 -n 4
    expect 'no command for the program'
    run 2 --frobnicate
    expect "unknown option '--frobnicate'"
    run 6 --binary /nonexistent/cos2p -n 2 -- train
    expect 'is missing or not executable \(this script never builds\), build it with'
    run 0 --help
    expect 'Usage: mpi_launch/local.sh'
    ;;
  *) fail "unknown case '$case'" ;;
esac
exit $((failures > 0))
