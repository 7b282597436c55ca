#!/usr/bin/env bash
# The transport between two hosts over real TCP: two network namespaces (test/harness/netns_hosts.sh; skipped in words where
# they cannot be made). usage: two_hosts_test.sh SOURCE_DIR RMA_TEST TRANSPORT_JOB CASE
set -uo pipefail
source_dir=$1
rma_test=$2
job=$3
case=$4

if [[ -z ${COS2P_HOSTS:-} ]]; then  # not yet among the hosts
  exec "$source_dir/test/harness/netns_hosts.sh" --hosts 2 -- "$0" "$@"
fi

out=$(mktemp)
export COS2P_EXIT_CODE_FILE=$out.code
trap 'rm -f "$out" "$out.code"' EXIT
failures=0
fail() {
  echo "FAILED: $*" >&2
  failures=$((failures + 1))
}
run() {  # MPIRUN'S AND THE PROGRAM'S ARGUMENTS...
  code=0
  timeout -s KILL 100 mpirun_on_hosts -x COS2P_EXIT_CODE_FILE "$@" >"$out" 2>&1 || code=$?
  sed 's/^/  | /' "$out"
}
expect() { grep -Eq -- "$1" "$out" || fail "the output does not say '$1'"; }
expect_recorded() { [[ $(cat "$out.code" 2>/dev/null) == "$1" ]] || fail "the server recorded '$(cat "$out.code" 2>/dev/null)', not $1"; }

# Ranks go to the hosts in turn: the server and worker 2 share one, worker 1 is on the other.
case $case in
  contract)
    run -n 3 "$rma_test" --log_level=warning
    [[ $code -eq 0 ]] || fail "exit code $code"
    expect 'several hosts, pml=ob1'
    ;;
  worker_killed)
    run --enable-recovery -n 3 "$job" --seconds 1 --silence 2 --kill 1
    expect_recorded 0
    expect 'one-sided: .*messages'
    expect 'delivered [1-9][0-9]* wrong 0 dead 1 truncated [01] otherwise dropped 0'
    expect 'worker 2 pushed [1-9]'
    ;;
  server_killed)
    start=$SECONDS
    run --enable-recovery -n 3 "$job" --seconds 1 --silence 2 --kill-server
    [[ $((SECONDS - start)) -le 20 ]] || fail "the workers took $((SECONDS - start)) s to end"
    expect 'server silent|The server cannot be reached'
    ;;
  broken_fabric)
    start=$SECONDS
    run -x OMPI_MCA_osc=rdma -n 2 "$job"
    [[ $code -eq 6 ]] || fail "exit code $code instead of 6"
    [[ $((SECONDS - start)) -le 12 ]] || fail "the refusal took $((SECONDS - start)) s"
    expect_recorded 6
    expect 'The network cannot carry one-sided MPI between the server on .*h1 and worker 1 on .*h2 \(.*osc=rdma\)'
    ;;
  *) fail "unknown case '$case'" ;;
esac
exit $((failures > 0))
