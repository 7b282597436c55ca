# In one process and with one seed, 4 rounds = 2 rounds + resume + 2 rounds, to the bit; for each policy.
source "$(dirname "$0")/lib.sh"
command -v h5diff >/dev/null || { echo "skipped: h5diff is not installed (hdf5-tools)"; exit 77; }
not_reports=()
for client in 0 1 2; do not_reports+=(--exclude-path "/in_flight/00000$client/report"); done
for policy in sync semi-async async; do
  run=("$COS2P_BINARY" train --transport in-process --policy "$policy" "${TINY[@]}" --seed 3 --quiet)
  expect 0 "checkpoint:" "${run[@]}" --rounds 4 --output "$policy-whole"
  expect 0 "checkpoint:" "${run[@]}" --rounds 2 --output "$policy-halves"
  expect 0 "checkpoint:" "$COS2P_BINARY" train --resume "$policy-halves" --rounds 4 --quiet
  for group in /model /segments /state /history/rounds /history/evaluations; do
    # (the reports of rounds in flight hold measured memory, which is no part of what must be the same)
    h5diff "${not_reports[@]}" "$policy-whole/latest" "$policy-halves/latest" $group >diff.txt || bad "$policy: $group differs after the resume: $(head -3 diff.txt)"
  done
  expect 0 "checkpoint:" "${run[@]}" --rounds 4 --output "$policy-again"
  h5diff "$policy-whole/latest" "$policy-again/latest" /model >/dev/null || bad "$policy: the same seed gave other bits"
done
expect 0 "checkpoint:" "$COS2P_BINARY" train --transport in-process "${TINY[@]}" --seed 4 --rounds 2 --quiet --output other
h5diff other/latest semi-async-whole/latest /model >/dev/null && bad "another seed gave the same bits"
finish
