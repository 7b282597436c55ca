# A server and three unequal workers as processes: train, look at what it wrote, resume, evaluate; several clients per rank.
source "$(dirname "$0")/lib.sh"
expect 0 "test accuracy of the full model" bash "$LAUNCH" -n 4 -- train "${TINY[@]}" --rounds 3 --output run
for word in "ranks      4" "one-sided through" "BLAS" "threads\? per rank" "round    3/3"; do grep -q "$word" out.txt || bad "the start block lacks '$word'"; done
for file in metrics.csv clients.csv evaluations.csv run.log options.toml latest; do [ -s run/$file ] || bad "run/$file is missing or empty"; done
[ "$(wc -l <run/metrics.csv)" -eq 4 ] || bad "metrics.csv has not one line a round"
"$COS2P_BINARY" inspect run/latest --json >inspect.json || bad "inspect --json failed"
"$COS2P_BINARY" evaluate run/latest --dataset synthetic --synthetic-test 100 --json >evaluate.json || bad "evaluate --json failed"
accuracy=$(json evaluate.json accuracy)
[ "$(json evaluate.json exits.-1.accuracy)" = "$accuracy" ] || bad "the accuracy is not that of the deepest exit"
expect 0 "block_02/feed_forward" "$COS2P_BINARY" inspect run/latest
expect 0 "round    5/5" bash "$LAUNCH" -n 4 -- train --resume run --rounds 5
[ "$(wc -l <run/metrics.csv)" -eq 6 ] || bad "the resumed run lost the history"
[ "$(ls run/*.h5 | wc -l)" -eq 2 ] || bad "not two checkpoints are kept: $(ls run)"
for policy in sync async; do
  expect 0 "round    2/2" bash "$LAUNCH" -n 3 -- train "${TINY[@]}" --rounds 2 --clients 5 --policy $policy --output "many-$policy"
done
expect 0 "round    2/2" bash "$LAUNCH" -n 3 -- train "${TINY[@]}" --policy sync --rounds 2 --frozen-blocks 1 --output frozen
expect 0 "block_00 .*, frozen" "$COS2P_BINARY" inspect frozen/latest
expect 0 "round    3/3" bash "$LAUNCH" -n 3 -- train --resume frozen --rounds 3
# Another version of the program on one of the ranks is refused in words.
sed 's/cos2p {}, checkpoints of version {}/cos2p {}, checkpoints of layout  {}/' "$COS2P_BINARY" >other && chmod +x other  # (of the same length)
cmp -s other "$COS2P_BINARY" && bad "no other program could be made of this one"
cat >mixed <<TEXT
#!/bin/sh
if [ "\$OMPI_COMM_WORLD_RANK" = 2 ]; then exec "$PWD/other" "\$@"; fi
exec "$COS2P_BINARY" "\$@"
TEXT
chmod +x mixed
expect 6 "worker 2 on .* is cos2p .*, checkpoints of layout  [0-9]" bash "$LAUNCH" -n 3 --binary "$PWD/mixed" -- train "${TINY[@]}" --rounds 2 --output mixed-run
# A rank that cannot start, because of its own options or its own machine, ends the job: nobody waits for it.
mkdir set
python3 - <<'PY'
import struct
for name, count in (("train", 60), ("t10k", 20)):
    with open(f"set/{name}-images-idx3-ubyte", "wb") as images, open(f"set/{name}-labels-idx1-ubyte", "wb") as labels:
        images.write(struct.pack(">4I", 2051, count, 28, 28) + bytes(i % 251 for i in range(count * 784)))
        labels.write(struct.pack(">2I", 2049, count) + bytes(i % 10 for i in range(count)))
PY
one_has() {  # OPTION...: that of the last rank alone
  printf '#!/bin/sh\n[ "$OMPI_COMM_WORLD_RANK" = 2 ] && set -- "$@" %s\nexec "%s" "$@"\n' "$*" "$COS2P_BINARY" >one-has
  chmod +x one-has
}
of_files=(--dataset mnist --data-dir set "${TINY[@]:6}" --rounds 2)
expect 0 "round    2/2" bash "$LAUNCH" -n 3 -- train "${of_files[@]}" --output of-files
one_has --data-dir=/nowhere
expect 3 "worker 2 on .*: the mnist files are missing (--data-dir /nowhere" bash "$LAUNCH" -n 3 --binary "$PWD/one-has" -- train "${of_files[@]}" --output no-start
one_has --learning-rate=x
expect 2 "worker 2 on .*: --learning-rate cannot be 'x'" bash "$LAUNCH" -n 3 --binary "$PWD/one-has" -- train "${of_files[@]}" --output no-start
[ -e no-start ] && bad "a run was begun of which a worker could not be a part"
expect 2 "already has 5 rounds" bash "$LAUNCH" -n 4 -- train --resume run
expect 4 "number of clients" bash "$LAUNCH" -n 4 -- train --resume run --rounds 9 --clients 7
finish
