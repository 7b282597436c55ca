# The simulated clock: the same bits for the same seed, hundreds of clients in little memory, and stragglers, dropouts, speeds and
# sampling that do to time and participation what they should.
source "$(dirname "$0")/lib.sh"
command -v h5diff >/dev/null || { echo "skipped: h5diff is not installed (hdf5-tools)"; exit 77; }
simulate() { expect 0 "checkpoint:" "$COS2P_BINARY" simulate "${TINY[@]}" --quiet "$@"; }
same() { # A B: no weight, merge, round or evaluation differs (the mean squared difference of the weights is exactly 0)
  for group in /model /segments /history/rounds /history/evaluations; do
    h5diff "$1/latest" "$2/latest" $group >diff.txt || bad "$group of $1 and $2 differs: $(head -3 diff.txt)"
  done
}
# value EXPRESSION DIR: of numpy-free Python over the rows of metrics.csv (rounds) and clients.csv (clients)
value() {
  python3 - "$1" "$2" <<'PY'
import csv, sys
table = lambda name: [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(open(f"{sys.argv[2]}/{name}.csv"))]
rounds, clients = table("metrics"), table("clients")
print(eval(sys.argv[1]))
PY
}
holds() { [ "$(value "$1" "$2")" = True ] || bad "$2: not so: $1"; }
time_of() { value 'rounds[-1]["time_s"]' "$1"; }
ratio() { python3 -c "import sys; a, b, low, high = map(float, sys.argv[1:]); print(low <= a / b <= high)" "$@"; }

# Bits: whatever --threads, and through a resume with everything that is random switched on.
random=(--clients 12 --clients-per-round 5 --straggler-probability 0.3 --dropout-probability 0.2 --dropout-time 0.01 --speeds 1,0.5,0.2 --seed 7)
for policy in sync semi-async async; do
  simulate --policy $policy "${random[@]}" --rounds 6 --threads 1 --output $policy-1
  simulate --policy $policy "${random[@]}" --rounds 6 --threads 3 --output $policy-3
  same $policy-1 $policy-3
  simulate --policy $policy "${random[@]}" --rounds 3 --output $policy-halves
  expect 0 "checkpoint:" "$COS2P_BINARY" simulate --resume $policy-halves --rounds 6 --quiet
  same $policy-1 $policy-halves
done

# Speed and link: time is what the formulas say.
long=(--policy sync --rounds 3 --speeds 0.001 --link 1000GB --evaluate-every 0 --checkpoint-every 0)
simulate "${long[@]}" --output plain
simulate "${long[@]/0.001/0.00025}" --output slow
[ "$(ratio "$(time_of slow)" "$(time_of plain)" 3.9 4.1)" = True ] || bad "a quarter of the speed took $(time_of slow) s instead of 4 x $(time_of plain)"
simulate "${long[@]}" --straggler-probability 1 --straggler-factor 3 --output stragglers
[ "$(ratio "$(time_of stragglers)" "$(time_of plain)" 2.9 3.1)" = True ] || bad "stragglers took $(time_of stragglers) s instead of 3 x $(time_of plain)"
simulate "${long[@]}" --link 1kB --output thin
holds 'abs(clients[0]["transfer_s"] - (clients[0]["bytes_pulled"] + clients[0]["bytes_pushed"]) / 1e3) < 0.05 * clients[0]["transfer_s"]' thin

# Participation: exactly N of a synchronous round, not always the same; dropouts lose their share and come back.
simulate "${long[@]}" --clients 20 --clients-per-round 4 --rounds 8 --output sampled
holds 'all(r["reports"] == 4 for r in rounds) and len({c["client"] for c in clients}) > 8' sampled
holds 'all(len({c["client"] for c in clients if c["round"] == r}) == 4 for r in range(8))' sampled
simulate "${long[@]}" --clients 20 --rounds 10 --dropout-probability 0.5 --dropout-time 0 --output dropouts
holds '0.25 < len(clients) / 200 < 0.6 and len({c["client"] for c in clients}) > 15' dropouts
simulate --policy async --clients 20 --clients-per-round 6 --rounds 60 --dropout-probability 0.3 --evaluate-every 0 --checkpoint-every 0 --output concurrent
holds 'len({c["client"] for c in clients}) > 12' concurrent

# 500 clients: quick, and without a ring for each.
python3 - "$COS2P_BINARY" <<'PY' || bad "500 clients"
import resource, subprocess, sys, time
begin = time.time()
subprocess.run([sys.argv[1], *"""simulate --dataset synthetic --synthetic-train 2000 --synthetic-test 50 --dim 16 --blocks 2 --heads 2 --feed-forward 16
    --patch 14 --partition iid --budgets 1,0.9 --clients 500 --minimum-size 1 --policy sync --rounds 2 --checkpoint-every 0 --evaluate-every 0 --output many
    --quiet""".split()], check=True, stdout=subprocess.DEVNULL)
megabytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
print(f"500 clients, 2 rounds: {time.time() - begin:.1f} s, {megabytes:.0f} MiB")
sys.exit(megabytes > 1024)
PY
holds 'all(r["reports"] == 500 for r in rounds)' many

# A history and logs that stay small leave the weights as they are, and a resume goes on with them to the same bits.
bounded=(--policy sync --history-rows 6 --log-limit 4KiB --evaluate-every 1 --checkpoint-every 10)
simulate "${bounded[@]}" --rounds 60 --output bounded
simulate "${bounded[@]}" --history-rows 0 --rounds 60 --output whole
simulate "${bounded[@]}" --rounds 30 --output bounded-halves
expect 0 "checkpoint:" "$COS2P_BINARY" simulate --resume bounded-halves --rounds 60 --quiet
same bounded bounded-halves
h5diff whole/latest bounded/latest /model >diff.txt || bad "--history-rows changes the model: $(head -3 diff.txt)"
"$COS2P_BINARY" inspect bounded/latest --json | python3 -c '
import json, sys
history = json.load(sys.stdin)["history"]
lengths = {name: len(rows) for name, rows in history.items()}
sys.exit(not (history["rounds"][-1]["round"] == 60 and all(n <= 9 for n in lengths.values()) and lengths["rounds"] >= 6) and str(lengths))' ||
  bad "--history-rows 6: the checkpoint has other rows"
for table in metrics clients evaluations; do
  [ "$(wc -l <bounded/$table.csv)" -le 7 ] && [ "$(wc -l <bounded/$table.1.csv)" -eq 7 ] || bad "--history-rows 6: $table.csv has $(wc -l bounded/$table*.csv)"
done
[ "$(tail -1 bounded/metrics.csv | cut -d, -f1)" = 60 ] || bad "the last line of metrics.csv is $(tail -1 bounded/metrics.csv)"
[ "$(stat -c %s bounded/run.log)" -le 4096 ] && [ "$(stat -c %s bounded/run.1.log)" -le 4096 ] || bad "--log-limit 4KiB: $(ls -l bounded)"
[ "$(wc -l <whole/metrics.csv)" -eq 61 ] || bad "without a limit metrics.csv has $(wc -l <whole/metrics.csv) lines"

# Bad values.
refused() { expect 2 "$1" "$COS2P_BINARY" simulate "${TINY[@]}" --output bad "${@:2}"; }
refused "speeds" --speeds 1,0
refused "speeds" --speeds fast
refused "orin-nano" --profile orin-nanno
refused "12.5MB" --link quick
refused "dropout-probability" --dropout-probability 1.5
refused "straggler-factor" --straggler-probability 0.1 --straggler-factor 0.5
refused "nobody straggles" --straggler-factor 3
refused "nobody drops out" --dropout-time 3
refused "there are 3 clients" --clients-per-round 4
finish
