# A worker killed in the middle does not end the run; with all workers gone the server writes a checkpoint and ends with 5.
source "$(dirname "$0")/lib.sh"
workers() { pgrep -f "$COS2P_BINARY train .*--output $1" | while read -r pid; do
  rank=$(tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | sed -n 's/^OMPI_COMM_WORLD_RANK=//p')
  [ -n "$rank" ] && [ "$rank" != 0 ] && [ "$(readlink "/proc/$pid/exe")" = "$(readlink -f "$COS2P_BINARY")" ] && echo "$pid"; done; }

start() { bash "$LAUNCH" -n 4 -- train "${TINY[@]}" --rounds "$2" --output "$1" "${@:3}" >"$1.txt" 2>&1 & launcher=$!; }
closed() { tail -n 1 "$1/metrics.csv" | cut -d, -f1; }

start one 400  # long enough that it still runs when the worker has been found
wait_for 60 rounds one 3 || bad "the run did not start: $(tail -5 one.txt)"
kill -9 "$(workers one | head -1)"
wait $launcher
code=$?
[ $code -eq 0 ] || bad "the run ended with $code after one worker was killed: $(tail -5 one.txt)"
grep -q "is gone" one.txt || bad "the loss of a worker was not told"
grep -q "round  400/400" one.txt || bad "the run did not go on to its end: $(tail -5 one.txt)"
expect 0 '"accuracy"' "$COS2P_BINARY" evaluate one/latest --dataset synthetic --json

start all 100000
wait_for 60 rounds all 3 || bad "the run did not start: $(tail -5 all.txt)"
workers all | xargs kill -9
wait $launcher
code=$?
[ $code -eq 5 ] || bad "with all workers gone the run ended with $code instead of 5: $(tail -5 all.txt)"
grep -q "no workers are left" all.txt || bad "it was not said that no workers are left"
expect 0 "block_00" "$COS2P_BINARY" inspect all/latest

# The whole job killed: the last checkpoint stands, and a new job goes on from it.
start job 100000
wait_for 60 test -e job/latest || bad "the run did not start: $(tail -5 job.txt)"
pkill -9 -f "$COS2P_BINARY train .*--output job"
wait $launcher
expect 0 "checkpoint:" bash "$LAUNCH" -n 4 -- train --resume job --rounds "$(($("$COS2P_BINARY" inspect job --json >j.json; json j.json round) + 3))"

# With an event log nothing is lost: the new job goes on from where the killed server last wrote to it.
start logged 100000 --event-log --checkpoint-every 25 --evaluate-every 2
wait_for 60 test -e logged/latest || bad "the run did not start: $(tail -5 logged.txt)"
at=$(closed logged)
wait_for 60 rounds logged $((at + 5)) || bad "the run did not go on: $(tail -5 logged.txt)"
pkill -9 -f "$COS2P_BINARY train .*--output logged"
wait $launcher
killed_at=$(closed logged)
sed '$d' logged/evaluations.csv >evaluations.csv  # the last line may have been cut off
expect 0 "resumed from the event log, in round" bash "$LAUNCH" -n 4 -- train --resume logged --rounds "$((killed_at + 3))"
from=$(sed -n 's/.*resumed from the event log, in round \([0-9]*\).*/\1/p' out.txt)
[ "$from" -ge "$killed_at" ] || bad "resumed from round $from, and round $killed_at had been closed"
[ "$(wc -l <evaluations.csv)" -gt 5 ] || bad "there were no evaluations to lose"
missing=$(grep -cvxFf logged/evaluations.csv evaluations.csv)
[ "$missing" = 0 ] || bad "$missing of $(wc -l <evaluations.csv) rows of evaluations are missing after the resume: $(grep -vxFf logged/evaluations.csv evaluations.csv | head -3)"
[ -z "$(sort logged/evaluations.csv | uniq -d)" ] || bad "rows of evaluations are there twice: $(sort logged/evaluations.csv | uniq -d | head -3)"
[ "$(states logged 1)" = "active active" ] || bad "/history/members has '$(states logged 1)' of worker 1"
expect 0 "the same bits" "$COS2P_BINARY" replay logged
finish
