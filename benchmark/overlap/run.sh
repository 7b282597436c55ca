#!/usr/bin/env bash
# How much of the transfers hides behind computing with --overlap: ViT-B (86 M parameters, 346 MB each way) between two hosts, which
# are network namespaces of this machine, at 1 Gbit/s. Needs root.
# usage: benchmark/overlap/run.sh [--program FILE] [--rounds N] [--local-steps N] [--rate 1gbit]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$here/../..
program=$root/build/release/src/main/cos2p
rounds=5
steps=8
rate=1gbit
while [[ $# -gt 0 ]]; do
  case $1 in
    --program | --rounds | --rate) declare "${1#--}=${2:?$1 needs a value}" && shift 2 ;;
    --local-steps) steps=${2:?$1 needs a value} && shift 2 ;;
    *) echo "run.sh: unknown argument '$1' (--program, --rounds, --local-steps, --rate)" >&2 && exit 2 ;;
  esac
done
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for overlap in "" --overlap; do
  "$root/test/harness/netns_hosts.sh" --hosts 2 --rate "$rate" -- mpirun_on_hosts -n 2 "$(readlink -f "$program")" train --model base \
    --dataset synthetic --synthetic-train 200 --synthetic-test 10 --patch 7 --budgets 1 --batch-size 8 --local-steps "$steps" \
    --rounds "$rounds" --policy async --micro-batch 0 --evaluate-every 0 --checkpoint-every 0 --quiet --threads 1 \
    --output "$work/run$overlap" $overlap >"$work/log" 2>&1 || { cat "$work/log" >&2 && exit 1; }
  python3 - "$work/run$overlap" "${overlap:-one after another}" <<'PYTHON'
import csv, sys
directory, name = sys.argv[1:]
rows = list(csv.DictReader(open(f"{directory}/clients.csv")))
def seconds(column, some):
    return sum(float(row[column]) for row in some) / len(some)
later = rows[1:]  # nothing can hide the first pull
transfer, waiting, compute = (seconds(f"{what}_s", later) for what in ("transfer", "waiting", "compute"))
exposed = waiting if name == "--overlap" else transfer + waiting
whole = (float(rows[-1]["time_s"]) - float(rows[0]["time_s"])) / len(later)
print(f"{name}: a local round computes {compute:.1f} s, transfers {transfer:.1f} s, waits {waiting:.2f} s, {whole:.1f} s in all; "
      f"{100 * max(0, 1 - exposed / transfer):.0f} % of the transfers are hidden")
PYTHON
done
