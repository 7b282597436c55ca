# Every width rule trains, chooses the units it promises, and resumes to the bit.
source "$(dirname "$0")/lib.sh"
command -v h5diff >/dev/null || { echo "skipped: h5diff is not installed (hdf5-tools)"; exit 77; }
not_reports=()
for client in 0 1 2; do not_reports+=(--exclude-path "/in_flight/00000$client/report"); done
for rule in prefix rolling random covering taylor straight-through hard-concrete; do
  run=("$COS2P_BINARY" train --transport in-process --width-rule "$rule" --reselect-every 2 --balance deep --micro-batch 0 "${TINY[@]}" --seed 3 --quiet)
  expect 0 "checkpoint:" "${run[@]}" --rounds 4 --output "$rule-whole"
  expect 0 "checkpoint:" "${run[@]}" --rounds 2 --output "$rule-halves"
  expect 0 "checkpoint:" "$COS2P_BINARY" train --resume "$rule-halves" --rounds 4 --quiet
  for group in /model /segments /state /history/rounds /history/evaluations; do
    h5diff "${not_reports[@]}" "$rule-whole/latest" "$rule-halves/latest" $group >diff.txt || bad "$rule: $group differs after the resume: $(head -3 diff.txt)"
  done
done
# Client 2 is narrow; in lockstep its fourth local round is in its second choice.
units() { h5dump -y -w 0 -d "/clients/0002/masks/block_00/neurons" "$1/latest" | grep -oE '^ *[01](, [01])+' | tr -d ' \n'; }
for rule in prefix rolling; do
  expect 0 "checkpoint:" "$COS2P_BINARY" train --transport in-process --policy sync --width-rule $rule --reselect-every 2 --balance deep --micro-batch 0 "${TINY[@]}" --rounds 4 --quiet --output $rule-sync
done
prefix=$(units prefix-sync)
[[ $prefix =~ ^1(,1)*(,0)+$ ]] || bad "prefix kept $prefix"
# {(j - 1) mod 64}: the prefix moved down by one unit, the first of it to the end
[ "$(units rolling-sync)" = "${prefix#1,},1" ] || bad "rolling kept $(units rolling-sync) after the prefix $prefix"
for rule in random covering taylor straight-through hard-concrete; do
  h5diff prefix-whole/latest "$rule-whole/latest" /model >/dev/null && bad "$rule gave the same model as prefix"
done
# Clients that choose by their data read the model at the start of their rounds, whoever is computed beside them.
for threads in 1 3; do
  expect 0 "checkpoint:" "$COS2P_BINARY" simulate --threads $threads --policy async --width-rule straight-through --reselect-every 1 "${TINY[@]}" --rounds 12 --quiet --output threads-$threads
done
h5diff threads-1/latest threads-3/latest /model >/dev/null || bad "--threads 1 and 3 gave other bits with --width-rule straight-through"
finish
