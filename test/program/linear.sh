# The linear model, end to end: simulated, in one process and between ranks, resumed to the bit, evaluated, inspected, planned, refused.
source "$(dirname "$0")/lib.sh"
C=$COS2P_BINARY
# An IDX set that a linear model can learn: each class has a picture of its own, and every image a lot of noise.
python3 - <<'PY'
import os, random, struct
random.seed(2)
os.makedirs("data")
pictures = [random.choices(range(256), k=784) for _ in range(10)]
for name, count in (("train", 600), ("t10k", 200)):
    with open(f"data/{name}-images-idx3-ubyte", "wb") as images, open(f"data/{name}-labels-idx1-ubyte", "wb") as labels:
        images.write(struct.pack(">4I", 0x803, count, 28, 28))
        labels.write(struct.pack(">2I", 0x801, count) + bytes(i % 10 for i in range(count)))
        for i in range(count):
            images.write(bytes((p + 3 * noise) // 4 for p, noise in zip(pictures[i % 10], random.choices(range(256), k=784))))
PY
LINEAR=(--model linear --dataset mnist --data-dir data --clients 20 --partition shards --size-exponent 1.5 --minimum-size 6 --batch-size 10)
SIMULATE=("$C" simulate "${LINEAR[@]}" --clients-per-round 5 --policy sync --learning-rate 0.02 --quiet)
# learnt; and says what the rounds took
expect 0 "12 rounds, [0-9]* steps in [0-9.]* s of real time, after [0-9.]* s to begin: [0-9.]* [mu]*s per round, [0-9.]* [mu]*s per step" \
  "${SIMULATE[@]}" --rounds 12 --evaluate-every 0 --checkpoint-every 0 --output whole
"$C" evaluate whole/latest --json >evaluation.json 2>errors.txt || bad "evaluate failed: $(tail -3 errors.txt)"
[ "$(python3 -c "print($(json evaluation.json accuracy) > 0.5)")" = True ] || bad "nothing was learnt: $(head -3 evaluation.json)"
[ "$(json evaluation.json exits.0.block)" = 0 ] || bad "the evaluation has another exit: $(cat evaluation.json)"
[ "$(wc -l <whole/clients.csv)" -eq 61 ] || bad "clients.csv has not a line a local round"
# the same bits whatever --threads, and through a resume, which needs no option
expect 0 "checkpoint:" "${SIMULATE[@]}" --rounds 12 --threads 3 --output threads
expect 0 "checkpoint:" "${SIMULATE[@]}" --rounds 5 --output halves
expect 0 "checkpoint:" "$C" simulate --resume halves --rounds 12 --quiet
if command -v h5diff >/dev/null; then
  for other in threads halves; do
    for group in /model /segments /history/rounds; do
      h5diff whole/latest $other/latest $group >diff.txt || bad "$group of whole and $other differs: $(head -3 diff.txt)"
    done
  done
fi
# changes of values are merged to the same as values are, but for rounding
expect 0 "checkpoint:" "${SIMULATE[@]}" --rounds 12 --merge deltas --evaluate-every 0 --checkpoint-every 0 --output deltas
"$C" evaluate deltas/latest --json >deltas.json 2>errors.txt || bad "evaluate failed: $(tail -3 errors.txt)"
python3 -c "import sys; sys.exit(abs($(json deltas.json loss) - $(json evaluation.json loss)) > 1e-4)" || bad "deltas: $(head -3 deltas.json), values: $(head -3 evaluation.json)"
# between ranks, and with what else a client may minimise
expect 0 "linear, 784 values to 10 classes" bash "$LAUNCH" -n 3 -- train "${LINEAR[@]}" --rounds 2 --local-steps 5 --output ranks
expect 0 "round    3/3" bash "$LAUNCH" -n 3 -- train --resume ranks --rounds 3
expect 0 "checkpoint:" "$C" train --transport in-process "${LINEAR[@]}" --rounds 2 --masked-logits --optimizer adamw --learning-rate 0.001 --crop-padding 2 --flip --output other
# inspected, planned
expect 0 "model    linear, 784 values to 10 classes" "$C" inspect whole/latest
grep -q "weight (10, 784)" out.txt || bad "inspect does not show the weights: $(cat out.txt)"
grep -q "masks" out.txt && bad "inspect shows masks of a model without units"
expect 0 '"parameters": 7850' "$C" inspect whole/latest --json
expect 0 "7850 parameters in the full model" "$C" plan --model linear --memory-budget 1,1MiB
expect 0 '"step_flops": 1003520' "$C" plan --model linear --batch-size 32 --memory-budget 1 --json
# refused
refused() { expect 2 "$1" "$C" simulate "${LINEAR[@]}" --output bad "${@:2}"; }
for option in "--dim 32" "--blocks 3" "--heads 2" "--feed-forward 64" "--patch 7" "--exits last" "--balance wide" "--frozen-blocks 1"; do
  refused "${option%% *} has no meaning beside --model \"linear\" (a linear model has no blocks)" $option
done
refused "a linear model has no units to choose among" --width-rule prefix
refused "a linear model has no units to choose among" --no-scale-kept-units
refused "a linear model has one exit" --exit-loss rising
refused "its exits teach each other, and a linear model has one" --method depthfl
refused "the CPU trains a linear model" --device cuda
refused "budget '0.5' is too small" --budgets 0.5
refused "only the partition 'shards' deals out classes" --partition iid
refused "size-exponent" --size-exponent -1
refused "0.1 to 100" --size-exponent 0.05
refused "shards are too small" --clients 19 --minimum-size 31
refused "linear cannot read texts" --dataset glue --data-dir .
expect 2 "linear cannot read texts" "$C" plan --model linear --text 128x30522
expect 4 "cannot be resumed: its model" "$C" simulate --resume whole --model micro --rounds 20
# a damaged checkpoint is refused in words
if command -v python3 >/dev/null && python3 -c "import h5py" 2>/dev/null; then
  cp whole/latest damaged.h5
  python3 - <<'PY'
import h5py
with h5py.File("damaged.h5", "r+") as f:
    f["model"].attrs.modify("image_width_pixels", 14)
PY
  expect 4 "tensor weight has shape (10, 784), its model needs (10, 392)" "$C" inspect damaged.h5
fi
finish
