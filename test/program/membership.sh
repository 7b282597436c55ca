# A hung worker (SIGSTOP) is not waited for and is taken back when it goes on; lost coverage is told, and ends the run where that was asked for.
source "$(dirname "$0")/lib.sh"
start() { bash "$LAUNCH" -n 4 -- train "${TINY[@]}" --suspect-after 1.5 --output "$@" >"$1.txt" 2>&1 & launcher=$!; }
count_of() { wc -l <"$1/metrics.csv"; }

for policy in sync semi-async; do
  start $policy --policy $policy --rounds 100000
  wait_for 60 rounds $policy 3 || bad "$policy: the run did not start: $(tail -5 $policy.txt)"
  hung=$(worker $policy 2)
  kill -STOP "$hung"
  wait_for 30 grep -q "worker 2 is suspect" $policy.txt || bad "$policy: a stopped worker is not suspected: $(tail -5 $policy.txt)"
  at=$(count_of $policy)
  wait_for 30 rounds $policy $((at + 10)) || bad "$policy: the run waits for a suspect: $(tail -5 $policy.txt)"
  kill -CONT "$hung"
  wait_for 30 grep -q "worker 2 is back" $policy.txt || bad "$policy: a worker that goes on is not taken back: $(tail -5 $policy.txt)"
  delivered() { awk -F, '$2 == 1' $policy/clients.csv | wc -l; }
  before=$(delivered)
  more() { [ "$(delivered)" -gt $((before + 3)) ]; }
  wait_for 30 more || bad "$policy: client 1 delivers nothing after its worker is back: $(tail -5 $policy.txt)"
  kill -TERM $launcher
  wait $launcher
  code=$?
  [ $code -eq 0 ] || bad "$policy: the run ended with $code: $(tail -5 $policy.txt)"
  [ "$(states $policy 2 | cut -d' ' -f1-3)" = "active suspect active" ] || bad "$policy: /history/members has '$(states $policy 2)' of worker 2"
done

# Client 0 alone trains the deeper blocks: without its worker another client takes them over, and gives them back.
start replanned --micro-batch 0 --policy sync --rounds 100000 --event-log --accept-joins --stop-uncovered
wait_for 60 rounds replanned 3 || bad "the run did not start: $(tail -5 replanned.txt)"
kill -KILL "$(worker replanned 1)"
wait_for 30 grep -q "a new plan from the next round on (2 of 3 clients are here, N\* 1): client 1 trains 3 blocks" replanned.txt ||
  bad "no new plan was made: $(tail -5 replanned.txt)"
versions() { "$COS2P_BINARY" inspect replanned/latest --json | python3 -c '
import json, sys
print(next(s["version"] for s in json.load(sys.stdin)["segments"] if s["name"] == "block_02/attention"))'; }
at=$(versions)
grown() { [ "$(versions)" -gt $((at + 3)) ]; }
wait_for 30 grown || bad "nobody trains the deeper blocks: $(tail -5 replanned.txt)"
"$COS2P_BINARY" join replanned/join.json >join.txt 2>&1 & newcomer=$!
wait_for 60 grep -q "a new plan from the next round on (3 of 3 clients are here, N\* 1): that of the start" replanned.txt ||
  bad "the plan of the start does not come back with its clients: $(tail -5 replanned.txt join.txt)"
at=$(count_of replanned)
wait_for 30 rounds replanned $((at + 5)) || bad "the run does not go on with the plan of the start: $(tail -5 replanned.txt)"
kill -TERM $launcher
wait $launcher
code=$?
wait $newcomer
[ $code -eq 0 ] || bad "the run with another plan ended with $code: $(tail -5 replanned.txt)"
grep -q "update of client" replanned.txt && bad "updates were dropped: $(grep "update of client" replanned.txt | head -3)"
expect 0 "the same bits" "$COS2P_BINARY" replay replanned

# Told not to plan anew, they stay as they are.
start uncovered --micro-batch 0 --no-replan --rounds 100000
wait_for 60 rounds uncovered 3 || bad "the run did not start: $(tail -5 uncovered.txt)"
kill -KILL "$(worker uncovered 1)"
wait_for 30 grep -q "segments are without a trainer (block_01/attention .. block_02/exit_head)" uncovered.txt ||
  bad "the segments without a trainer are not named: $(tail -5 uncovered.txt)"
at=$(count_of uncovered)
wait_for 30 rounds uncovered $((at + 5)) || bad "the run does not go on without the deeper blocks: $(tail -5 uncovered.txt)"
kill -TERM $launcher
wait $launcher
case $(states uncovered 1) in
  active*gone) ;;  # a busy machine may have made it suspect before
  *) bad "/history/members has '$(states uncovered 1)' of worker 1" ;;
esac

start stopped --micro-batch 0 --no-replan --rounds 100000 --stop-uncovered
wait_for 60 rounds stopped 3 || bad "the run did not start: $(tail -5 stopped.txt)"
kill -KILL "$(worker stopped 1)"
ended() { ! kill -0 $launcher 2>/dev/null; }
wait_for 45 ended || { bad "--stop-uncovered: the run goes on"; kill -TERM $launcher; }
wait $launcher
code=$?
[ $code -eq 5 ] || bad "--stop-uncovered: the run ended with $code instead of 5: $(tail -5 stopped.txt)"
grep -q "a segment has no trainer (--stop-uncovered)" stopped.txt || bad "--stop-uncovered: no reason was given: $(tail -5 stopped.txt)"
expect 0 "block_02" "$COS2P_BINARY" inspect stopped/latest
finish
