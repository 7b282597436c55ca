# cos2p doctor: one screen on a machine, one row a rank under mpirun, what is wrong with its cure, and profiles that the planner takes.
source "$(dirname "$0")/lib.sh"
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
expect 0 "ready to run" "$COS2P_BINARY" doctor --output here
for word in "CPU  " "BLAS  " "GPU  " "board  " "memory  " "energy  " "output  .*MB/s" "MPI  .*Open MPI" "link  .*push [0-9]* MB/s, pull [0-9]* MB/s, [0-9]* us"; do
  grep -q -- "$word" out.txt || bad "the screen has no '$word': $(cat out.txt)"
done
[ -e here ] && bad "doctor left $(ls -d here/*) behind"

"$COS2P_BINARY" doctor --json --output here >alone.json || bad "doctor --json ended with $?"
[ "$(json alone.json ready)" = True ] || bad "--json: not ready: $(cat alone.json)"
[ "$(json alone.json links.0.push_bytes_per_s | cut -d. -f1)" -gt 1000000 ] || bad "--json: no link was measured: $(cat alone.json)"

# What cannot work: a message, a cure and exit code 6.
echo "a file" >taken
expect 6 "output .*FAILS" "$COS2P_BINARY" doctor --output taken
grep -q "taken cannot be made" out.txt || bad "the cure does not say what is wrong: $(cat out.txt)"
if ! ls /dev/nvidia0 >/dev/null 2>&1; then
  expect 6 "GPU .*FAILS" "$COS2P_BINARY" doctor --output here --device cuda
  grep -q "use --device cpu" out.txt || bad "no cure for a missing GPU: $(cat out.txt)"
fi
mkdir without-mpirun && ln -s "$(command -v timeout)" "$(command -v sh)" without-mpirun
expect 6 "mpirun was not found" env PATH="$PWD/without-mpirun" "$COS2P_BINARY" doctor --output here

# Under mpirun: a row for each rank, and the workers' links.
expect 0 "3 ranks, one-sided through" bash "$LAUNCH" -n 3 -- doctor --output here
[ "$(grep -cE '^ +[0-2] .* (OK|warning)$' out.txt)" -eq 3 ] || bad "not a row for each of three ranks: $(cat out.txt)"
COS2P_TEST_HANG_FABRIC=1 expect 6 "cannot carry one-sided MPI" bash "$LAUNCH" -n 2 -- doctor --output here

# A profile that is measured is a budget: for the planner, for a run that is resumed without the file, in a fleet file.
expect 0 "use it as a budget" "$COS2P_BINARY" doctor --output here --calibrate board.json
expect 0 "6/6" "$COS2P_BINARY" plan --budgets board.json
name=$(json board.json name)
grep -q "  $name " out.txt || bad "the plan does not name $name: $(cat out.txt)"
echo "board.json the-first" >fleet.txt
expect 0 "$name" "$COS2P_BINARY" plan --fleet fleet.txt
run=("${TINY[@]/1,0.7,0.5/board.json,0.7}")
expect 0 "checkpoint:" "$COS2P_BINARY" train --transport in-process "${run[@]}" --rounds 2 --quiet --output run
expect 0 "simulated" "$COS2P_BINARY" simulate "${TINY[@]}" --profile board.json --rounds 2 --output simulated
mkdir elsewhere && cd elsewhere || exit 1
expect 0 "checkpoint:" "$COS2P_BINARY" train --resume ../run --rounds 3 --quiet
cd ..
for broken in '{' '{"name": "a b", "flops": 1, "memory_bytes": 1, "bandwidth_bytes_per_s": 1, "link_bytes_per_s": 1}' '{"name": "a"}' \
  '{"name": "a", "flops": 0, "memory_bytes": 1, "bandwidth_bytes_per_s": 1, "link_bytes_per_s": 1}' '[]'; do
  echo "$broken" >broken.json
  expect 2 "device profile" "$COS2P_BINARY" plan --budgets broken.json
done
expect 2 "missing.json cannot be read (No such file" "$COS2P_BINARY" plan --budgets missing.json
expect 2 "ends with .json" "$COS2P_BINARY" doctor --calibrate board
finish
