# Bad input: a message that says problem, reason and cure, and the documented exit code.
source "$(dirname "$0")/lib.sh"
C=$COS2P_BINARY
train() { local code=$1 text=$2; shift 2; expect "$code" "$text" "$C" train --transport in-process --output bad "$@"; }
# usage: 2
expect 2 "train" "$C" tarin
train 2 "rounds" --roundz 3
train 2 "rounds" --rounds 0
train 2 "policy" --policy sometimes
train 2 "min-updates" --policy sync --min-updates 3
train 2 "budgets" --dataset synthetic --budgets 2parsecs
train 2 "budget" --dataset synthetic --budgets 1KiB
train 2 "heads" --dataset synthetic --heads 5
train 2 "patch" --dataset synthetic --patch 9
train 2 "minimum" --dataset synthetic --synthetic-train 100 --clients 50
# (a client without samples has nothing to train on)
train 2 "minimum-size cannot be '0'" --dataset synthetic --minimum-size 0
train 2 "config" --config nothing.toml
expect 2 "at least one worker" "$C" train --dataset synthetic --output bad
expect 2 "at least one worker" bash "$LAUNCH" -n 1 -- train --dataset synthetic --output bad
expect 2 "block_" "$C" plan --memory-budget 0.1 --model micro
expect 2 "images of 31x37 pixels cannot be cut into patches" "$C" plan --memory-budget 1 --image 31x37x3
expect 2 "fewer clients" bash "$LAUNCH" -n 4 -- train "${TINY[@]}" --clients 2 --output bad
# data: 3
mkdir data
train 3 "train-images-idx3-ubyte" --dataset mnist --data-dir data
train 3 "data_batch_1.bin" --dataset cifar-10 --data-dir data
head -c 100 /dev/urandom >data/train-images-idx3-ubyte
head -c 100 /dev/urandom >data/train-labels-idx1-ubyte
train 3 "train-images-idx3-ubyte" --dataset mnist --data-dir data
head -c 3073000 /dev/zero | tr '\0' '\77' >data/data_batch_1.bin
cp data/data_batch_1.bin data/test_batch.bin
train 3 "label" --dataset cifar-10 --data-dir data
mkdir one-class
printf '1,"a","b"\n1,"c","d"\n' | tee one-class/train.csv >one-class/test.csv
train 3 "one-class/train.csv has a single class" --dataset ag-news --data-dir one-class
train 2 "cannot be reached (there are 3 clients)" "${TINY[@]}" --clients 3 --min-trainers 4
# A client with a single class is no mistake, but it is said.
expect 0 "warning: clients 0, 1, 2, .* samples of a single class (--partition shards)" "$C" simulate "${TINY[@]/iid/shards}" --classes-per-client 1 --clients 10 --rounds 1 --output single
expect 2 "clients 3000 are too many for --policy sync --merge deltas" "$C" simulate "${TINY[@]}" --clients 3000 --policy sync --merge deltas --rounds 1 --output many
# A row of a comparison names what was written, not how it was passed on.
expect 2 "row 'heterofl:rolling-windows=true': --rolling-windows has no meaning beside --balance" "$C" compare --dataset synthetic --methods heterofl:rolling-windows=true --output rows
grep -q cos2p-options out.txt && bad "a message names a file of the program's own: $(cat out.txt)"
# checkpoint: 4
expect 4 "nothing.h5" "$C" inspect nothing.h5
echo "not a checkpoint" >text.h5
expect 4 "HDF5" "$C" inspect text.h5
expect 0 "checkpoint:" "$C" train --transport in-process "${TINY[@]}" --rounds 1 --output good --quiet
head -c 20000 good/latest >cut.h5
expect 4 "cut.h5" "$C" inspect cut.h5
expect 4 "cut.h5" "$C" evaluate cut.h5 --dataset synthetic
expect 4 "model" "$C" train --transport in-process --resume good --rounds 3 --dim 64
expect 4 "seed" "$C" train --transport in-process --resume good --rounds 3 --seed 9
expect 2 "earlier run" "$C" train --transport in-process "${TINY[@]}" --rounds 1 --output good
# environment: 6
touch file
expect 6 "output" "$C" train --transport in-process "${TINY[@]}" --rounds 1 --output file/below
expect 6 "device" "$C" train --transport in-process "${TINY[@]}" --rounds 1 --output bad6 --device cuda:7
# a client whose training diverges: its updates are dropped, counted and named, and the model stays whole
expect 0 "not finite" "$C" train --transport in-process "${TINY[@]}" --rounds 2 --output diverged --learning-rate 1e30 --clip-norm 0
grep -q "dropped [1-9]" out.txt || bad "the dropped updates are not counted: $(tail -3 out.txt)"
expect 0 '"accuracy"' "$C" evaluate diverged/latest --dataset synthetic --json
finish
