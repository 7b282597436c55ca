# In one process and with one seed, 4 rounds = 2 rounds + resume + 2 rounds, to the bit; for each policy, and with momentum of
# the server.
source "$(dirname "$0")/lib.sh"
command -v h5diff >/dev/null || { echo "skipped: h5diff is not installed (hdf5-tools)"; exit 77; }
not_reports=()
for client in 0 1 2; do not_reports+=(--exclude-path "/in_flight/00000$client/report"); done
for case in sync semi-async async "semi-async --server-momentum 0.9" "fedbuff --server-momentum 0.5" "sync --method inclusivefl" "sync --method fiarse"; do
  read -ra options <<<"$case"
  name=${case// /-}
  run=("$COS2P_BINARY" train --transport in-process --policy "${options[@]}" "${TINY[@]}" --seed 3 --quiet)
  expect 0 "checkpoint:" "${run[@]}" --rounds 4 --output "$name-whole"
  expect 0 "checkpoint:" "${run[@]}" --rounds 2 --output "$name-halves"
  expect 0 "checkpoint:" "$COS2P_BINARY" train --resume "$name-halves" --rounds 4 --quiet
  for group in /model /segments /state /history/rounds /history/evaluations; do
    # (the reports of rounds in flight hold measured memory, which is no part of what must be the same)
    h5diff "${not_reports[@]}" "$name-whole/latest" "$name-halves/latest" $group >diff.txt || bad "$case: $group differs after the resume: $(head -3 diff.txt)"
  done
  expect 0 "checkpoint:" "${run[@]}" --rounds 4 --output "$name-again"
  h5diff "$name-whole/latest" "$name-again/latest" /model >/dev/null || bad "$case: the same seed gave other bits"
done
h5dump -n fedbuff---server-momentum-0.5-whole/latest | grep -q /state/velocity/000000 || bad "no velocity in the checkpoint"
expect 4 "its --merge is" "$COS2P_BINARY" train --resume semi-async-halves --rounds 5 --merge values --quiet
expect 0 "checkpoint:" "$COS2P_BINARY" train --transport in-process "${TINY[@]}" --seed 4 --rounds 2 --quiet --output other
h5diff other/latest semi-async-whole/latest /model >/dev/null && bad "another seed gave the same bits"
finish
