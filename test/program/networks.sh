# Cables between three hosts (network namespaces) are pulled, lose packets, are slow and long, and are put right again: a rank of
# the job and a worker that has joined are suspected, left out and taken back; the others go on. Who is cut off for good ends with 5.
if [[ -z ${COS2P_HOSTS:-} ]]; then
  exec bash "$2/test/harness/netns_hosts.sh" --hosts 3 -- bash "$0" "$@"
fi
source "$(dirname "$0")/lib.sh"
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
IFS=, read -r -a host <<<"$COS2P_HOSTS"
link() { bash "$SOURCE/test/harness/netns_link.sh" "$@" 2>link.txt; }
start() {  # OUTPUT RANKS OPTIONS...
  local output=$1 ranks=$2
  shift 2
  COS2P_SERVER_PID_FILE=$PWD/$output.pid mpirun_on_hosts --enable-recovery -x COS2P_SERVER_PID_FILE -n "$ranks" "$COS2P_BINARY" train "${TINY[@]}" \
    --accept-joins --event-log --suspect-after 2 --rounds 1000000 --output "$output" "$@" >"$output.txt" 2>&1 &
  job=$!
}
join() { "$COS2P_ON_HOST" "$1" bash "$SOURCE/mpi_launch/join.sh" --agent "$COS2P_AGENT" "${host[0]}:$PWD/$2" -- "${@:3}"; }
# delivers OUTPUT WHEN CLIENT...: each of them, from now on.
delivers() {
  local at
  at=$(($(wc -l <"$1/clients.csv") + 1))
  for client in "${@:3}"; do
    wait_for 90 eval "tail -n +$at '$1/clients.csv' | grep -q '^[0-9]*,$client,'" || bad "$1, $2: client $client delivers nothing: $(tail -n 4 "$1.txt")"
  done
}
goes_on() { wait_for 90 rounds "$1" $(($(wc -l <"$1/metrics.csv") + 5)) || bad "$1, $2: the run does not go on: $(tail -n 4 "$1.txt")"; }
said() { [ "$(grep -c -- "$2" "$1.txt")" -gt "$3" ]; }
stop() { kill -TERM "$(cat "$1.pid")"; wait $job; }

# Ranks on three hosts (the server on the first), and a newcomer on the third, whose cable it is.
for policy in sync semi-async; do
  start $policy 3 --policy $policy --open-seats 1
  wait_for 60 test -f $policy/join.json || bad "$policy: the run did not start: $(tail -5 $policy.txt)"
  join "${host[2]}" $policy --retry-for 120 >joined.txt 2>&1 &
  joined=$!
  wait_for 60 grep -q "worker 3 executes client 2" $policy.txt || bad "$policy: the newcomer gets no client: $(tail -n 4 $policy.txt joined.txt)"
  delivers $policy "at the start" 0 1 2
  for trouble in down "delay 5" "rate 1mbit" "loss 30"; do
    [[ $policy = sync && $trouble != down ]] && continue  # they differ in who waits for whom
    suspected=$(grep -c "is suspect" $policy.txt) back=$(grep -c "is back" $policy.txt)
    # shellcheck disable=SC2086  # an action and its value
    link "${host[2]}" $trouble
    code=$?
    if [ $code -eq 77 ]; then cat link.txt && continue; fi
    [ $code -eq 0 ] || bad "$trouble: $(cat link.txt)"
    if [ "$trouble" = down ]; then
      wait_for 60 said $policy "is suspect" $((suspected + 1)) || bad "$policy, $trouble: they are not suspected: $(tail -n 4 $policy.txt)"
    else
      sleep 6
    fi
    goes_on $policy "$trouble"
    if [ "$trouble" = down ]; then
      link "${host[2]}" up
      wait_for 90 said $policy "is back" $((back + 1)) || bad "$policy, $trouble: they are not taken back: $(tail -n 4 $policy.txt)"
    else
      link "${host[2]}" "${trouble% *}" none
    fi
    delivers $policy "after $trouble" 0 1 2
    echo "$policy: $trouble: $(($(grep -c "is suspect" $policy.txt) - suspected)) suspected, $(($(grep -c "is back" $policy.txt) - back)) back"
  done
  stop $policy
  wait $joined || bad "$policy: the newcomer ended with $?: $(tail -n 3 joined.txt)"
  expect 0 "the newest checkpoint holds the same" "$COS2P_BINARY" replay $policy
done

# A link that is slower than the merges: segments of 1 MiB at 10 Mbit/s, of which a fast worker makes several versions a second.
start slow 3 --policy semi-async --min-updates 1 --staleness-bound 1000000 --dim 256 --blocks 1 --feed-forward 256 --local-steps 1 --batch-size 4 --budgets 1 --clients 2
wait_for 60 test -f slow/clients.csv || bad "slow: the run did not start: $(tail -5 slow.txt)"
link "${host[2]}" rate 10mbit
code=$?
if [ $code -eq 0 ]; then
  for time in first second third; do delivers slow "over a slow link, for the $time time" 1; done  # the first may have been on its way
  said slow "the server holds a copy of such segments" 0 || bad "slow: it is not told that merges outrun the link: $(tail -n 4 slow.txt)"
  link "${host[2]}" rate none
elif [ $code -ne 77 ]; then
  bad "slow: $(cat link.txt)"
fi
stop slow

# A cable that stays out: the rank is put out after --worker-timeout, and ends by itself; so does the newcomer, after --retry-for.
start cut 3 --policy semi-async --open-seats 1 --worker-timeout 10
wait_for 60 test -f cut/join.json || bad "cut: the run did not start: $(tail -5 cut.txt)"
join "${host[2]}" cut --retry-for 20 >joined.txt 2>&1 &
joined=$!
wait_for 60 grep -q "worker 3 executes client 2" cut.txt || bad "cut: the newcomer gets no client: $(tail -n 4 cut.txt joined.txt)"
delivers cut "at the start" 2
link "${host[2]}" down
gone() { said cut "worker 2 is gone" 0 && said cut "worker 3 is gone" 0; }
wait_for 60 gone || bad "cut: who is silent is not put out: $(tail -n 4 cut.txt)"
goes_on cut "after two are gone"
wait $joined
code=$?
[ $code -eq 5 ] || bad "cut: the newcomer ended with $code instead of 5: $(tail -n 3 joined.txt)"
of_program() { ip netns pids "${host[2]}" | while read -r pid; do [ "$(readlink "/proc/$pid/exe")" = "$(readlink -f "$COS2P_BINARY")" ] && echo "$pid"; done; }
ended() { [ -z "$(of_program)" ]; }
wait_for 120 ended || bad "cut: the rank that cannot reach the server does not end"
link "${host[2]}" up  # mpirun waits for its daemon there; the launchers would end it
stop cut
expect 6 "cannot be read on" "$COS2P_ON_HOST" "${host[2]}" bash "$SOURCE/mpi_launch/join.sh" --agent "$COS2P_AGENT" "${host[0]}:$PWD/nowhere"
expect 2 "which run is missing" bash "$SOURCE/mpi_launch/join.sh"
expect 2 "no absolute path" bash "$SOURCE/mpi_launch/join.sh" server:runs
expect 2 "one run too many" bash "$SOURCE/mpi_launch/join.sh" a b
expect 2 "unknown option '--fast'" bash "$SOURCE/mpi_launch/join.sh" --fast
expect 2 "cannot be read" bash "$SOURCE/mpi_launch/join.sh" nowhere
finish
