# Who trains what: every kind of fleet trains to the end, and rolling windows resume to the bit.
source "$(dirname "$0")/lib.sh"
command -v h5diff >/dev/null || { echo "skipped: h5diff is not installed (hdf5-tools)"; exit 77; }
for kind in full smallest drop; do
  expect 0 "--submodel $kind" "$COS2P_BINARY" train --transport in-process --submodel $kind "${TINY[@]}" --rounds 2 --quiet --output $kind
done
# The model that everybody can hold may be shallower than the one asked for; it resumes as such, and clients that hold none are left out.
expect 0 "has 1 of the 3 blocks" "$COS2P_BINARY" train --transport in-process --submodel smallest --balance wide --micro-batch 0 "${TINY[@]}" --rounds 2 --quiet --output shallow
expect 0 "checkpoint:" "$COS2P_BINARY" train --resume shallow --rounds 3 --quiet
expect 2 "is too small" "$COS2P_BINARY" train --transport in-process --balance wide "${TINY[@]/1,0.7,0.5/1,0.1}" --rounds 2 --quiet --output refused
expect 0 "client 1: no part in training" "$COS2P_BINARY" train --transport in-process --balance wide --drop-too-small "${TINY[@]/1,0.7,0.5/1,0.1}" --clients 2 --rounds 2 --quiet --output left-out
expect 2 "--submodel drop leaves no client" "$COS2P_BINARY" plan --submodel drop --budgets 0.5 --micro-batch 0
# Narrow blocks of unlike width, trained masks, and a limit on FLOPs; with a hint on top. It resumes to the bit, and every budget holds.
for width in falling rising; do
  run=("$COS2P_BINARY" train --transport in-process --balance balanced --micro-batch 0 --width-balance $width --mask-steps 2 --compute-budgets 1,0.6
    --feature-hint 0.5 "${TINY[@]}" --seed 3 --quiet)
  expect 0 "checkpoint:" "${run[@]}" --rounds 4 --output "$width-whole"
  expect 0 "checkpoint:" "${run[@]}" --rounds 2 --output "$width-halves"
  expect 0 "checkpoint:" "$COS2P_BINARY" train --resume "$width-halves" --rounds 4 --quiet
  h5diff "$width-whole/latest" "$width-halves/latest" /model >diff.txt || bad "$width: /model differs after the resume: $(head -3 diff.txt)"
  "$COS2P_BINARY" inspect "$width-whole/latest" --json | python3 -c '
import json, sys
narrow = 0
for client in json.load(sys.stdin)["clients"]:
    assert client["measured_memory_bytes"] <= client["memory_budget_bytes"], client
    widths = [len(block["neurons"]) for block in client["masks"]]
    if len(set(widths)) > 1:
        narrow += 1
        assert widths == sorted(widths, reverse=sys.argv[1] == "falling"), widths
assert narrow > 0' $width || bad "$width: budgets or widths are not as planned"
done
not_reports=()
for client in 0 1 2; do not_reports+=(--exclude-path "/in_flight/00000$client/report"); done
for policy in sync semi-async; do
  run=("$COS2P_BINARY" train --transport in-process --policy "$policy" --balance wide --rolling-windows "${TINY[@]}" --seed 3 --quiet)
  expect 0 "in turn" "${run[@]}" --rounds 5 --output "$policy-whole"
  expect 0 "checkpoint:" "${run[@]}" --rounds 2 --output "$policy-halves"
  expect 0 "checkpoint:" "$COS2P_BINARY" train --resume "$policy-halves" --rounds 5 --quiet
  for group in /model /segments /state /history/rounds /history/evaluations; do
    h5diff "${not_reports[@]}" "$policy-whole/latest" "$policy-halves/latest" $group >diff.txt || bad "$policy: $group differs after the resume: $(head -3 diff.txt)"
  done
done
# What a large client leaves in a process makes way for a small one, and is not measured as its memory.
expect 0 "checkpoint:" "$COS2P_BINARY" simulate "${TINY[@]/1,0.7,0.5/1,0.3,0.3}" --batch-size 2 --balance shallow --policy semi-async --merge deltas --rounds 3 --quiet --output unlike
"$COS2P_BINARY" inspect unlike/latest --json | python3 -c '
import json, sys
for client in json.load(sys.stdin)["clients"]: assert client["measured_memory_bytes"] <= client["memory_budget_bytes"], client' || bad "a budget is exceeded after a larger client"
finish
