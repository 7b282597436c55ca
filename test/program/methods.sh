# Every method runs in a comparison, under each policy, on one fleet of unequal clients.
source "$(dirname "$0")/lib.sh"
C=$COS2P_BINARY
fleet=("${TINY[@]/1,0.7,0.5/1,0.7,0.6}" --clients 6 --rounds 2)

"$C" simulate --help | tr -s " \n" " " >help.txt  # in one line: names and texts may be broken anywhere
names=$("$C" simulate --method none 2>&1 | grep -o '(known: [^)]*)' | tr -d '(),' | sed 's/known: //')
for name in co-s2p depthfl fedavg fedavg-smallest fedavg-drop heterofl fedrolex federated-dropout fjord scalefl ra-fed fiarse inclusivefl; do
  grep -qw -- "$name" <<<"$names" || bad "$name is not known: $names"
  grep -q -- "$name: " help.txt || bad "help does not say what $name is"
done

rows=fjord:ordered-dropout-distillation=true
for name in $names; do rows+=,$name; done
for policy in sync async; do for name in $names; do rows+=,$name:policy=$policy; done; done
count=$(tr ',' '\n' <<<"$rows" | wc -l)
SECONDS=0
expect 0 "compare.md" "$C" compare "${fleet[@]}" --methods "$rows" --seeds 0 --evaluate-every 0 --checkpoint-every 0 --output all
echo "$count rows in $SECONDS s"
python3 - "$rows" <<'PY' || bad "compare.csv is not as it should be: $(cut -d, -f1-4 all/compare.csv)"
import csv, sys
rows = list(csv.DictReader(open("all/compare.csv")))
assert sorted(r["method"] for r in rows) == sorted(sys.argv[1].split(",")), [r["method"] for r in rows]
value = {r["method"]: {k: float(v) for k, v in r.items() if k != "method" and v} for r in rows}
for name, row in value.items():
    assert 0 <= row["accuracy"] <= 1 and row["loss"] < 10 and row["time_s"] > 0 and row["transferred_bytes"] > 0, (name, row)
# In a synchronous round: full models for all cost the most bytes, the smallest for all and none for some the least.
sent = {name.split(":")[0]: row["transferred_bytes"] for name, row in value.items() if name.endswith("policy=sync")}
assert max(sent.values()) == sent["fedavg"] and sent["heterofl"] == sent["fedrolex"] == sent["fjord"] == sent["ra-fed"], sent
assert sent["fedavg-smallest"] < sent["heterofl"] < sent["fedavg"] and sent["fedavg-drop"] < sent["fedavg"], sent
# Ordered dropout computes less in the mean than the whole width, and with distillation more.
time = {name: row["time_s"] for name, row in value.items()}
assert time["fjord:policy=sync"] < time["heterofl:policy=sync"], time
PY

# What a method needs of the fleet is said where it is not there.
expect 2 "--submodel drop leaves no client" "$C" plan --method fedavg-drop --budgets 0.5
expect 2 "balance cannot be 'wide' beside --method heterofl" "$C" plan --method heterofl --balance wide --budgets 1
expect 2 "ordered-dropout has no meaning beside --width-rule" "$C" simulate "${TINY[@]}" --ordered-dropout 3 --output bad
expect 2 "no width is drawn" "$C" simulate "${TINY[@]}" --width-rule prefix --ordered-dropout-distillation --output bad
finish
