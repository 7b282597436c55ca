# Pushing in fewer bytes, between processes and simulated: what is learnt, what is sent, and that the bits stay the same.
source "$(dirname "$0")/lib.sh"
command -v h5diff >/dev/null || { echo "skipped: h5diff is not installed (hdf5-tools)"; exit 77; }
learning=("${TINY[@]/240/600}" --policy sync --optimizer adamw --learning-rate 0.003 --local-epochs 2 --rounds 5 --seed 3)
# pushed DIR: bytes of all updates, from clients.csv
pushed() { python3 -c 'import csv, sys; print(sum(int(row["bytes_pushed"]) for row in csv.DictReader(open(sys.argv[1]))))' "$1/clients.csv"; }
holds() { python3 -c "import sys; sys.exit(not ($1))" || bad "not so: $1"; }
for dtype in float32 bf16 int8; do
  expect 0 "round    5/5" bash "$LAUNCH" -n 4 -- train "${learning[@]}" --push-dtype $dtype --event-log --output $dtype
  accuracy=$(sed -n 's/^test accuracy of the full model: \([0-9.]*\) %.*/\1/p' out.txt)
  holds "${accuracy:-0} > 25"  # of 10 classes
  expect 0 "the newest checkpoint holds the same" "$COS2P_BINARY" replay $dtype
done
whole=$(pushed float32)
holds "1.95 < $whole / $(pushed bf16) < 2.02"
holds "3.7 < $whole / $(pushed int8) < 4"
# The events are the messages as they came.
holds "$(stat -c %s bf16/events/part-0001.log) < 0.6 * $(stat -c %s float32/events/part-0001.log)"
# The recorded options say it; a resumed run goes on with it.
expect 0 "round    6/6" bash "$LAUNCH" -n 4 -- train --resume int8 --rounds 6
grep -q 'push-dtype = "int8"' int8/options.toml || bad "options.toml does not say int8"
holds "6 / 5 * $whole / $(pushed int8) > 3.7"
expect 0 "part 2: .* the same bits" "$COS2P_BINARY" replay int8
# Deltas; updates larger than a slot of the ring, which are checked in pieces.
expect 0 "round    2/2" bash "$LAUNCH" -n 3 -- train "${TINY[@]}" --rounds 2 --merge deltas --push-dtype int8 --ring-slot-bytes 4KiB --event-log --output deltas
expect 0 "the newest checkpoint holds the same" "$COS2P_BINARY" replay deltas
holds "$(python3 -c 'import csv; print(list(csv.DictReader(open("deltas/metrics.csv")))[-1]["dropped"])') == 0"
for dtype in bf16 int8; do
  for threads in 1 3; do
    expect 0 "checkpoint:" "$COS2P_BINARY" simulate "${TINY[@]}" --rounds 4 --clients 6 --seed 5 --push-dtype $dtype --threads $threads --quiet --output $dtype-$threads
  done
  for group in /model /segments /history/rounds /history/evaluations; do
    h5diff $dtype-1/latest $dtype-3/latest $group >diff.txt || bad "$dtype: $group differs: $(head -3 diff.txt)"
  done
done
# Plan and clock know it.
for dtype in float32 bf16; do
  "$COS2P_BINARY" plan --dim 32 --blocks 3 --heads 2 --feed-forward 64 --patch 7 --budgets 1 --push-dtype $dtype --json >plan-$dtype.json || bad "plan --push-dtype $dtype failed"
done
holds "$(json plan-float32.json clients.0.push_bytes) == 2 * $(json plan-bf16.json clients.0.push_bytes)"
holds "$(json plan-float32.json clients.0.pull_bytes) == $(json plan-bf16.json clients.0.pull_bytes)"
expect 2 "expected.*float32" "$COS2P_BINARY" train --push-dtype float16
finish
