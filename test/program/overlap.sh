# Transfers beside computing (--overlap): what is learnt, the memory it takes, that nobody waits, kills, newcomers and replays.
source "$(dirname "$0")/lib.sh"
holds() { python3 -c "import sys; sys.exit(not ($1))" || bad "not so: $1"; }
learning=("${TINY[@]/240/600}" --policy semi-async --min-updates 2 --optimizer adamw --learning-rate 0.003 --local-epochs 2 --seed 3)
expect 0 "round   20/20" bash "$LAUNCH" -n 4 -- train "${learning[@]}" --rounds 20 --overlap --event-log --output learnt
accuracy=$(sed -n 's/^test accuracy of the full model: \([0-9.]*\) %.*/\1/p' out.txt)
holds "${accuracy:-0} > 25"  # of 10 classes
expect 0 "the newest checkpoint holds the same" "$COS2P_BINARY" replay learnt
"$COS2P_BINARY" inspect learnt/latest --json >learnt.json
for client in 0 1 2; do  # the copies are planned for, and measured
  holds "0.8 < $(json learnt.json clients.$client.measured_memory_bytes) / $(json learnt.json clients.$client.predicted_memory_bytes) < 1.2"
done
for overlap in "" --overlap; do
  "$COS2P_BINARY" plan --dim 32 --blocks 3 --heads 2 --feed-forward 64 --patch 7 --batch-size 20 --budgets 1 $overlap --json >plan$overlap.json || bad "plan $overlap failed"
done
# Besides the copies, one segment of them more, which is on its way.
copies="$(json plan--overlap.json clients.0.memory_bytes.weights) - $(json plan.json clients.0.memory_bytes.weights) - $(json plan.json clients.0.pull_bytes) - $(json plan.json clients.0.push_bytes)"
holds "0 < $copies < 0.3 * $(json plan.json clients.0.pull_bytes)"

# A slow device computes all the time.
expect 0 "round    8/8" bash "$LAUNCH" -n 2 -- train "${TINY[@]}" --policy async --rounds 8 --local-steps 4 --emulate-speeds 0.0005 --overlap --output slow
waits() { python3 -c 'import csv, sys
rows = list(csv.DictReader(open(sys.argv[1])))[1:]
print(sum(float(row["waiting_s"]) for row in rows) / sum(float(row["compute_s"]) for row in rows))' "$1/clients.csv"; }
holds "$(waits slow) < 0.1"

# A killed worker, one that joins (and learns from the server that transfers overlap), one that leaves, the end by a signal.
bash "$LAUNCH" -n 3 -- train "${TINY[@]}" --policy semi-async --min-updates 1 --rounds 100000 --overlap --accept-joins --open-seats 1 --event-log --suspect-after 1.5 \
  --output killed >killed.txt 2>&1 & launcher=$!
wait_for 60 rounds killed 5 || bad "the run did not start: $(tail -5 killed.txt)"
"$COS2P_BINARY" join killed/join.json >join.txt 2>&1 & newcomer=$!
delivered() { awk -F, -v client="$1" '$2 == client' killed/clients.csv | wc -l; }
some_of() { [ "$(delivered "$1")" -gt "$2" ]; }
wait_for 60 some_of 2 3 || bad "the newcomer delivers nothing: $(tail -3 killed.txt join.txt)"
kill -KILL "$(worker killed 1)"
wait_for 30 grep -q "worker 1 is gone" killed.txt || bad "a killed worker is not missed: $(tail -5 killed.txt)"
kill -TERM $newcomer
wait $newcomer
code=$?
[ $code -eq 0 ] || bad "a worker that was asked to leave ended with $code: $(tail -3 join.txt)"
at=$(delivered 1)
wait_for 30 some_of 1 $((at + 3)) || bad "the worker that is left delivers nothing: $(tail -5 killed.txt)"
kill -TERM $launcher
wait $launcher
code=$?
[ $code -eq 0 ] || bad "the run ended with $code: $(tail -5 killed.txt)"
expect 0 "the same bits" "$COS2P_BINARY" replay killed

# A new plan gives a client deeper blocks while it computes a long round.
bash "$LAUNCH" -n 4 -- train "${TINY[@]}" --policy semi-async --min-updates 1 --rounds 100000 --local-steps 4 --emulate-speeds 1,0.0002,1 --micro-batch 0 --overlap --event-log \
  --output replanned >replanned.txt 2>&1 & launcher=$!
wait_for 60 rounds replanned 3 || bad "the run did not start: $(tail -5 replanned.txt)"
kill -KILL "$(worker replanned 1)"
wait_for 30 grep -q "client 1 trains 3 blocks" replanned.txt || bad "no new plan was made: $(tail -5 replanned.txt)"
[ "$(awk -F, '$2 == 1' replanned/clients.csv | wc -l)" -eq 0 ] || echo "note: client 1 had ended its first round before the plan changed"
twice() { [ "$(awk -F, '$2 == 1' replanned/clients.csv | wc -l)" -ge 2 ]; }
wait_for 90 twice || bad "client 1 delivers nothing of the new plan: $(tail -5 replanned.txt)"
kill -TERM $launcher
wait $launcher
code=$?
[ $code -eq 0 ] || bad "the run with another plan ended with $code: $(tail -5 replanned.txt)"
expect 0 "the same bits" "$COS2P_BINARY" replay replanned
finish
