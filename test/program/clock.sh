# The wall clock jumps while a run goes on, an hour forward and a day back: nothing waits for it, and the model is the same to the bit.
source "$(dirname "$0")/lib.sh"
library=$(find /usr/lib -name libfaketimeMT.so.1 2>/dev/null | head -1)
[ -n "$library" ] || { echo "skipped: libfaketime was not found (mpi_launch/install_packages.sh --tests)"; exit 77; }
run=("${TINY[@]}" --policy sync --rounds 60 --emulate-speeds 0.02)
expect 0 "round   60/60" bash "$LAUNCH" -n 4 -- train "${run[@]}" --output undisturbed

echo "+0" >offset
printf '#!/bin/sh\nexec env LD_PRELOAD=%s FAKETIME_TIMESTAMP_FILE=%s FAKETIME_NO_CACHE=1 FAKETIME_DONT_FAKE_MONOTONIC=1 "%s" "$@"\n' \
  "$library" "$PWD/offset" "$COS2P_BINARY" >jumping_clock && chmod +x jumping_clock
bash "$LAUNCH" -n 4 --binary "$PWD/jumping_clock" -- train "${run[@]}" --output jumping >jumping.txt 2>&1 &
launcher=$!
wait_for 60 rounds jumping 10 || bad "the run did not start: $(tail -5 jumping.txt)"
echo "+3600" >offset.new && mv offset.new offset
wait_for 60 rounds jumping 30 || bad "the run stands still after an hour forward: $(tail -5 jumping.txt)"
echo "-86400" >offset.new && mv offset.new offset
wait $launcher
code=$?
[ $code -eq 0 ] || bad "the run ended with $code: $(tail -5 jumping.txt)"
grep -q "round   60/60" jumping.txt || bad "the run did not come to its end: $(tail -5 jumping.txt)"
grep -qE "suspect|is gone" jumping.txt && bad "somebody was thought to be silent: $(grep -E 'suspect|is gone' jumping.txt)"
days() { cut -c1-10 jumping/run.log | grep '^20' | sort -u | wc -l; }
[ "$(days)" -ge 2 ] || bad "the clock did not jump: $(cut -c1-25 jumping/run.log | tail -3)"
awk -F, 'NR > 1 && ($2 < before || $2 > 100) { print "time_s " $2 " after " before; wrong = 1 } { before = $2 + 0 } END { exit wrong }' jumping/metrics.csv >times.txt ||
  bad "times of rounds jump: $(cat times.txt)"
for group in /model /segments; do
  h5diff undisturbed/latest jumping/latest $group >diff.txt || bad "$group is another one: $(head -3 diff.txt)"
done
finish
