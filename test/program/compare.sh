# Comparing methods: every row with every seed on the same data and weights, in parallel, resumable after a kill to the same tables.
source "$(dirname "$0")/lib.sh"
options=("${TINY[@]}" --clients 6 --rounds 6 --speeds 1,0.25 --methods co-s2p,depthfl,co-s2p:min-updates=4 --seeds 0,1 --target-accuracy 0.05)
compare() { expect 0 "compare.md" "$COS2P_BINARY" compare "${options[@]}" "$@"; }

compare --jobs 2 --output whole
! grep -q HDF5 out.txt || bad "HDF5 complained: $(grep HDF5 out.txt | head -3)"
[ "$(wc -l <whole/compare.csv)" -eq 7 ] || bad "not a row per method and seed: $(cat whole/compare.csv)"
head -1 whole/compare.csv | grep -q '^method,seed,accuracy,loss,client_accuracy_mean,client_accuracy_min,time_to_target_s,' || bad "columns: $(head -1 whole/compare.csv)"
grep -q '^| co-s2p:min-updates=4 | 2 |.*±' whole/compare.md || bad "the table lacks a row: $(cat whole/compare.md)"
[ "$(grep -c 'simulated s (' out.txt)" -eq 6 ] || bad "not a line per finished run: $(cat out.txt)"
# The accuracy is that of the run's checkpoint, and a run alone gives the same.
"$COS2P_BINARY" evaluate whole/runs/depthfl-seed1/latest --dataset synthetic --synthetic-test 100 --json >evaluate.json || bad "evaluate --json failed"
python3 - <<'PY' || bad "compare.csv and the checkpoint disagree"
import csv, json
row = next(r for r in csv.DictReader(open("whole/compare.csv")) if (r["method"], r["seed"]) == ("depthfl", "1"))
assert abs(float(row["accuracy"]) - json.load(open("evaluate.json"))["accuracy"]) < 1e-9, row
assert float(row["accuracy"]) == float(row["accuracy_exit_2"]) and 0 <= float(row["client_accuracy_min"]) <= float(row["client_accuracy_mean"]) <= 1
assert 0 < float(row["time_to_target_s"]) <= float(row["time_s"]) and 0 < float(row["bytes_to_target"]) <= float(row["transferred_bytes"])
assert float(row["peak_memory_bytes_1"]) > float(row["peak_memory_bytes_0.5"]) > 0 and 0 < float(row["utilisation"]) <= 1
PY
if command -v h5diff >/dev/null; then
  expect 0 "checkpoint:" "$COS2P_BINARY" simulate "${TINY[@]}" --clients 6 --rounds 6 --speeds 1,0.25 --method depthfl --seed 1 --quiet --output alone
  h5diff alone/latest whole/runs/depthfl-seed1/latest /model >diff.txt || bad "a run alone gave other weights: $(head -3 diff.txt)"
fi
if command -v h5dump >/dev/null; then
  h5dump -a /runs/0000/method -d /runs/0000/curve whole/compare.h5 >dump.txt 2>&1 || bad "compare.h5: $(head -3 dump.txt)"
  grep -q '"co-s2p"' dump.txt || bad "compare.h5 lacks the method"
  for run in "0000 0.5" "0002 0"; do  # co-s2p's own default, and depthfl's
    h5dump -a "/runs/${run% *}/options/logit-adjustment" whole/compare.h5 | grep -q "\"${run#* }\"" || bad "compare.h5 lacks the options of run $run"
  done
fi

# Killed in the middle, with its children, and started again: the same table; and what is done is not done again.
"$COS2P_BINARY" compare "${options[@]}" --jobs 2 --output killed >killed.txt 2>&1 &
pid=$!
wait_for 60 test -e killed/runs/co-s2p-seed0/metrics.csv || bad "no run started: $(cat killed.txt)"
wait_for 60 grep -qs '^2,' killed/runs/co-s2p-seed0/metrics.csv
children=$(pgrep -P $pid)
kill -9 $pid
wait $pid 2>/dev/null
gone() { for child in $children; do kill -0 "$child" 2>/dev/null && return 1; done; return 0; }
wait_for 10 gone || bad "a run outlived its comparison"
compare --jobs 1 --output killed
# (memory is measured, and differs by some bytes between a run and its resume)
table() { cut -d, -f1-13 "$1/compare.csv"; }
[ "$(table killed)" = "$(table whole)" ] || bad "after a kill the table differs: $(diff <(table killed) <(table whole))"
compare --output killed
grep -q "6 of 6 runs are done already" out.txt || bad "finished runs were done again: $(cat out.txt)"
# A row may be added later.
expect 0 "1 of 2 runs are done already" "$COS2P_BINARY" compare "${TINY[@]}" --clients 6 --rounds 6 --speeds 1,0.25 --seeds 0 \
  --methods depthfl,depthfl:staleness-bound=3 --output killed
# Clients that take no part have an accuracy too: the full model's.
expect 0 "compare.md" "$COS2P_BINARY" compare "${TINY[@]/1,0.7,0.5/1,0.1}" --clients 4 --rounds 2 --seeds 0 --methods depthfl,co-s2p:submodel=drop --output dropped
[ "$(wc -l <dropped/compare.csv)" -eq 3 ] || bad "clients left out: $(cat out.txt)"

# Bad input.
refused() { expect 2 "$1" "$COS2P_BINARY" compare "${TINY[@]}" --output "${@:2}"; }
refused "unknown" bad --methods co-s2p,fedavgg
refused "methods is missing" bad
refused "methods is missing" bad --methods ,
refused "same row twice" bad --methods co-s2p,co-s2p
refused "same row twice" bad --methods co-s2p:rounds=3,co-s2p --for co-s2p:rounds=3
refused "seeds" bad --methods co-s2p --seeds 1,two
refused "twice" bad --methods co-s2p --seeds 1,1
refused "not an option" bad --methods co-s2p:min-update=4
refused "expected name=value" bad --methods co-s2p:wide
refused "cannot differ" bad --methods co-s2p:budgets=1
refused "row 'co-s2p:policy=sometimes'" bad --methods co-s2p:policy=sometimes
refused "not one of the methods" bad --methods co-s2p --for depthfl:rounds=3
refused "beside --method depthfl" bad --methods depthfl:balance=deep
refused "other options" whole --methods co-s2p --rounds 7
# The value that co-s2p has anyway, but not its rival.
refused "row depthfl --logit-adjustment was 0, now it is as for all rows" whole --methods co-s2p,depthfl --rounds 6 --clients 6 \
  --speeds 1,0.25 --logit-adjustment 0.5
mkdir -p run/runs && touch run/latest
refused "something else" run --methods co-s2p
expect 6 "output" "$COS2P_BINARY" compare "${TINY[@]}" --methods co-s2p --output out.txt/below
# A run that fails is named with its reason, and the others are done.
expect 3 "mnist" "$COS2P_BINARY" compare --dataset mnist --data-dir . --methods co-s2p --rounds 1 --output nodata
finish
