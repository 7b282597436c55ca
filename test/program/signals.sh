# Ctrl-C and SIGTERM end a run with a checkpoint and exit 0; a second one ends it at once, the last checkpoint intact.
source "$(dirname "$0")/lib.sh"
for signal in INT TERM; do
  set -m  # job control: in a script, background jobs would otherwise ignore SIGINT
  bash "$LAUNCH" -n 3 -- train "${TINY[@]}" --rounds 100000 --output "$signal" >"$signal.txt" 2>&1 &
  launcher=$!
  set +m
  wait_for 60 rounds "$signal" 2 || bad "the run did not start: $(tail -5 "$signal.txt")"
  kill -$signal $launcher
  before=$SECONDS
  wait $launcher
  code=$?
  [ $code -eq 0 ] || bad "SIG$signal: exit code $code instead of 0: $(tail -5 "$signal.txt")"
  [ $((SECONDS - before)) -le 30 ] || bad "SIG$signal took $((SECONDS - before)) s"
  grep -q "stopped on request" "$signal.txt" || bad "SIG$signal: it was not said that the run stopped: $(tail -5 "$signal.txt")"
  expect 0 "block_00" "$COS2P_BINARY" inspect "$signal/latest"
done
# Stopped in the middle of a synchronous round, while the slow client trains: who has reported in it does not train again in it.
set -m
bash "$LAUNCH" -n 3 -- train "${TINY[@]/1,0.7,0.5/1}" --policy sync --emulate-speeds 0.001,0.0002 --rounds 100000 --output middle >middle.txt 2>&1 &
launcher=$!
set +m
reports() { [ "$(grep -c "$1" middle/clients.csv 2>/dev/null)" -ge "$2" ]; }
wait_for 60 reports '^1,0,' 1 || bad "the fast client did not report in round 1: $(tail -5 middle.txt)"
kill -TERM $launcher
wait $launcher || bad "stopped in the middle of a round: exit code $? instead of 0: $(tail -5 middle.txt)"
! reports '^1,1,' 1 || bad "the slow client was not in the middle of its round: $(cat middle/clients.csv)"
expect 0 "checkpoint:" bash "$LAUNCH" -n 3 -- train --resume middle --rounds 3
again=$(cut -d, -f1,2 middle/clients.csv | sort | uniq -d)
[ -z "$again" ] || bad "reported twice in a round (round,client): $again"
"$COS2P_BINARY" train --transport in-process "${TINY[@]}" --rounds 100000 --output alone >alone.txt 2>&1 &
pid=$!
wait_for 60 rounds alone 2 || bad "the in-process run did not start: $(tail -5 alone.txt)"
kill -TERM $pid
wait $pid || bad "SIGTERM to an in-process run: exit code $? instead of 0"
expect 0 "block_00" "$COS2P_BINARY" inspect alone/latest
finish
