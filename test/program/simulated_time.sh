# The simulated clock against a real run: 4 workers under mpirun that sleep until their simulated device would have finished. The time
# from the first round to the last must agree within 15 %, for a synchronous and a semi-asynchronous run. (The first round is a
# program's warm-up. The better of two tries counts.)
source "$(dirname "$0")/lib.sh"
if ! awk -v cores="$(nproc)" '{exit $1 > 1.5 * cores}' /proc/loadavg; then
  echo "skipped: the machine is busy (load $(cut -d' ' -f1 /proc/loadavg)), measured times would say nothing"
  exit 77
fi
options=("${TINY[@]}" --clients 4 --local-steps 4 --evaluate-every 0 --checkpoint-every 0 --seed 1)
speeds=0.0005,0.0004,0.0005,0.0002
for policy in sync semi-async; do
  rounds=$([ $policy = sync ] && echo 5 || echo 12)
  expect 0 "checkpoint:" "$COS2P_BINARY" simulate "${options[@]}" --policy $policy --rounds "$rounds" --speeds $speeds --output $policy-simulated
  for try in 1 2; do
    expect 0 "checkpoint:" bash "$LAUNCH" -n 5 -- train "${options[@]}" --policy $policy --rounds "$rounds" --emulate-speeds $speeds --output "$policy-real-$try"
    python3 - $policy "$policy-simulated" "$policy-real-$try" <<'PY' && break
import csv, sys
times = [[float(row["time_s"]) for row in csv.DictReader(open(f"{run}/metrics.csv"))] for run in sys.argv[2:]]
simulated, measured = (each[-1] - each[0] for each in times)
print(f"{sys.argv[1]}: simulated {simulated:.2f} s, measured {measured:.2f} s, {100 * (measured / simulated - 1):+.1f} %")
sys.exit(abs(measured / simulated - 1) > 0.15)
PY
    [ $try -eq 1 ] || bad "$policy: simulated and measured time differ by more than 15 %"
  done
done
finish
