# A client whose machine gets slower, or runs short of memory, gets a smaller submodel until that is over.
source "$(dirname "$0")/lib.sh"
start() { "${within[@]}" bash "$LAUNCH" -n 3 -- train "${TINY[@]/1,0.7,0.5/1}" --seed 5 --event-log --output "$@" >"$1.txt" 2>&1 & launcher=$!; }
stop() {
  kill -TERM $launcher
  wait $launcher
  local code=$?
  [ $code -eq 0 ] || bad "$1: the run ended with $code: $(tail -5 "$1.txt")"
  expect 0 "the same bits" "$COS2P_BINARY" replay "$1"
}
plans() { grep -c "a new plan from the next round on" "$1.txt"; }
seconds_of() { rounds "$1" 1 && [ "$(tail -1 "$1/metrics.csv" | cut -d, -f2 | cut -d. -f1)" -ge "$2" ]; }
newest_plan() { grep "a new plan from the next round on" "$1.txt" | tail -1; }
within=()

# The machine of worker 2 has time for it in one of ten moments, each of which is shorter than a round.
start slow --policy semi-async --min-updates 1 --rounds 1000000 --local-steps 100 --replan-speed 2.5 --evaluate-every 0 --checkpoint-every 0
wait_for 60 seconds_of slow 16 || bad "the run did not start: $(tail -5 slow.txt)"
slowed=$(worker slow 2)
python3 -c 'import os, signal, sys, time
while True:
    for name, seconds in ((signal.SIGSTOP, 0.03), (signal.SIGCONT, 0.003)):
        os.kill(int(sys.argv[1]), name)
        time.sleep(seconds)' "$slowed" & brake=$!
# On a busy machine the other one may be slow too.
gets_less() { grep -q "client 1 trains .* (it computes more slowly than before)" slow.txt; }
wait_for 90 gets_less || bad "who is slow has its submodel still: $(newest_plan slow; tail -3 slow.txt)"
delivered() { awk -F, '$2 == 1' slow/clients.csv | wc -l; }
at=$(delivered)
more() { [ "$(delivered)" -gt $((at + 15)) ]; }
wait_for 60 more || bad "client 1 delivers nothing of its smaller submodel: $(tail -5 slow.txt)"
kill $brake
wait $brake 2>/dev/null
kill -CONT "$slowed"
blocks_of() { newest_plan slow | grep -o "client 1 trains [0-9]*" | tail -1 | grep -o '[0-9]*$' || echo 3; }
gets_more() { [ "$(blocks_of)" -gt "$least" ]; }  # all that it had, if nobody else uses the machine
least=$(blocks_of)
[ "$least" -lt 3 ] || bad "a client ten times as slow has all blocks still: $(newest_plan slow)"
wait_for 120 gets_more || bad "who is fast again has its small submodel still: $(newest_plan slow; tail -3 slow.txt)"
stop slow

# Told not to, everybody has what they had.
start as_it_was --policy semi-async --min-updates 1 --rounds 300
wait $launcher
[ "$(plans as_it_was)" -eq 0 ] || bad "a plan was changed without --replan-speed: $(newest_plan as_it_was)"

if ! unshare --mount true 2>/dev/null; then
  echo "note: without a mount namespace (root) nothing is seen of a machine that runs short of memory" >&2
  finish
fi
# What the machine says of its memory is a file of this test. Workers hold what they need when others take the rest.
cp /proc/meminfo meminfo
say_free() { sed "s/^MemAvailable:.*/MemAvailable: $1 kB/" /proc/meminfo >told && cat told >meminfo; }
free_kib=$(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo)
total=$(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo)
[ ! -r /sys/fs/cgroup/memory.max ] || [ "$(cat /sys/fs/cgroup/memory.max)" = max ] || total=$(( $(cat /sys/fs/cgroup/memory.max) / 1024 ))
within=(unshare --mount bash -c 'mount --bind "$PWD/meminfo" /proc/meminfo && exec "$@"' bash)
start short --dim 192 --feed-forward 768 --batch-size 64 --rounds 1000000
wait_for 60 rounds short 10 || bad "the run did not start: $(tail -5 short.txt)"
[ "$(plans short)" -eq 0 ] || bad "the plan has changed with memory for everybody: $(newest_plan short)"
reserve=$((total / 20 < 524288 ? total / 20 : 524288))
say_free $((reserve - 120000))
short_plan() { newest_plan short | grep -q "client 0 trains .* of free memory).*client 1 trains .* of free memory)"; }
wait_for 60 short_plan || bad "the machine is short of memory and the plan is the same: $(tail -3 short.txt; tail -2 short/clients.csv)"
at=$(wc -l <short/metrics.csv)
wait_for 60 rounds short $((at + 5)) || bad "the run does not go on with less memory: $(tail -5 short.txt)"
say_free "$free_kib"
all_plan() { newest_plan short | grep -q "that of the start"; }
wait_for 60 all_plan || bad "the memory is back and the submodels are not: $(tail -3 short.txt; tail -2 short/clients.csv)"
stop short
finish
