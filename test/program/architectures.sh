# A server and a worker of this machine, and a worker of another architecture under qemu: mpi_launch/cross_build.sh --test calls it.
source "$(dirname "$0")/lib.sh"
foreign=$3
sysroot=$4
libraries=$sysroot/usr/lib/aarch64-linux-gnu
emulated=(qemu-aarch64-static -L "$sysroot" -E "LD_LIBRARY_PATH=$libraries/openblas-openmp:$libraries/openmpi/lib" "$foreign")
delivered() { awk -F, -v c="$1" '$2 == c' "run/clients.csv" | wc -l; }
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE

expect 0 "^cos2p " "${emulated[@]}" --version
for policy in sync semi-async; do
  rm -rf run
  bash "$LAUNCH" -n 1 -- train "${TINY[@]}" --policy $policy --accept-joins --open-seats 2 --clients 2 --budgets 1,0.5 --event-log --rounds 100000 --suspect-after 60 --output run >server.txt 2>&1 &
  launcher=$!
  wait_for 60 test -f run/join.json || bad "$policy: no key: $(tail -5 server.txt)"
  "$COS2P_BINARY" join run >native.txt 2>&1 &
  native=$!
  wait_for 60 grep -q "executes client 0" server.txt || bad "$policy: the worker of this machine gets no client: $(tail -n 5 server.txt native.txt)"
  "${emulated[@]}" join run >emulated.txt 2>&1 &
  other=$!
  both() { [ "$(delivered 0)" -gt 3 ] && [ "$(delivered 1)" -gt 3 ]; }
  wait_for 240 both || bad "$policy: not both deliver: $(tail -n 5 server.txt native.txt emulated.txt)"
  kill -TERM $launcher
  wait $launcher || bad "$policy: the run ended with $?: $(tail -5 server.txt)"
  wait $native || bad "$policy: the worker of this machine ended with $?: $(tail -5 native.txt)"
  wait $other || bad "$policy: the aarch64 worker ended with $?: $(tail -5 emulated.txt)"
  # What it pushed was merged as it was sent, and both machines read the same checkpoint.
  expect 0 "the newest checkpoint holds the same" "$COS2P_BINARY" replay run
  "$COS2P_BINARY" inspect run/latest --json >native.json || bad "$policy: the checkpoint cannot be read: $(cat native.json)"
  "${emulated[@]}" inspect run/latest --json >emulated.json || bad "$policy: aarch64 cannot read the checkpoint: $(cat emulated.json)"
  cmp native.json emulated.json || bad "$policy: the two architectures read the checkpoint differently"
  echo "$policy: the x86-64 client delivered $(delivered 0) times, the aarch64 one $(delivered 1) times"
done
finish
