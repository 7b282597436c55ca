#!/usr/bin/env bash
# Makes the tables of docs/results.md: tunes the learning rate of every method, then compares them. Goes on where it was stopped.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$here/../../build/release/src/main/cos2p
output=runs/results
data=data
sets=fashion-mnist,cifar-10,sst-2
tables=dirichlet,iid,ablation,time,memory
jobs=$(nproc)
methods=co-s2p,depthfl,inclusivefl,scalefl,heterofl,fedrolex,federated-dropout,fjord,ra-fed,fiarse,fedavg-smallest,fedavg-drop,fedavg
usage() {
  cat <<TEXT
Usage: benchmark/results/run.sh [--data DIR] [--sets A,B,...] [--tables A,B,...] [--output DIR] [--program FILE] [--jobs N] [--methods A,B,...]

  --data DIR      has a directory for each set, named as the set (default: $data)
  --sets A,B,...  of fashion-mnist, cifar-10, sst-2, 20-newsgroups (default: the first three)
  --tables A,...  of dirichlet, iid (all methods on unlike and on like data), ablation (co-s2p without its parts, and its best
                  rival with what helped it), time (simulated seconds to the rival's accuracy), memory (co-s2p with budgets that are 35 %
                  smaller) (default: all)
  --output DIR    gets SET/tuning/RATE, SET/rates and SET/TABLE (default: $output)
  --program FILE  (default: build/release/src/main/cos2p)
  --jobs N        runs at a time (default: all cores)
  --methods ...   (default: $methods)
TEXT
}
while [[ $# -gt 0 ]]; do
  case $1 in
    -h | --help) usage && exit 0 ;;
    --data | --sets | --tables | --output | --program | --jobs | --methods)
      [[ $# -ge 2 ]] || { echo "run.sh: $1 needs a value, see --help" >&2 && exit 2; }
      declare "${1#--}=$2" && shift 2
      ;;
    *) echo "run.sh: unknown option '$1', see --help" >&2 && exit 2 ;;
  esac
done

# co-s2p without each of its parts, or with the alternative to it: without micro-batches, so that the smallest clients are narrowed and
# masks matter; the rival with the two parts that belong to no submodel.
ablation=co-s2p,co-s2p:distillation=none,co-s2p:rolling-windows=true,co-s2p:policy=semi-async:min-updates=4:rounds=120
ablation+=,co-s2p:micro-batch=0,co-s2p:micro-batch=0:width-rule=random,co-s2p:micro-batch=0:width-rule=magnitude
ablation+=,co-s2p:logit-adjustment=0,co-s2p:server-momentum=0,depthfl:logit-adjustment=0.5:server-momentum=0.5
ablation+=,co-s2p:balance=balanced,co-s2p:feature-hint=0.3
# As many client rounds as in a synchronous run, and twice as many.
time=depthfl,co-s2p,co-s2p:policy=semi-async:min-updates=4:rounds=120,co-s2p:policy=semi-async:min-updates=4:rounds=240

# Every method gets the same rates, on a seed that no table has and for half as many rounds.
rates=(0.002 0.004 0.008)
compare() { "$program" compare --jobs "$jobs" "$@"; }
for set in ${sets//,/ }; do
  common=(--config "$here/$set.toml" --data-dir "$data/$set")
  for rate in "${rates[@]}"; do
    compare "${common[@]}" --methods "$methods" --learning-rate "$rate" --rounds 30 --seeds 10 --output "$output/$set/tuning/$rate"
  done
  python3 - "$output/$set/tuning" "${rates[@]}" >"$output/$set/rates" <<'PYTHON'
import csv, sys
directory, *rates = sys.argv[1:]
best = {}
for rate in rates:
    for row in csv.DictReader(open(f"{directory}/{rate}/compare.csv")):
        best[row["method"]] = max(best.get(row["method"], (-1, "")), (float(row["accuracy"]), rate))
for method, (_, rate) in best.items():
    print(f"{method}:learning-rate={rate}")
PYTHON
  for table in ${tables//,/ }; do
    case $table in
      dirichlet | iid) rows=$methods extra=(--partition "$table") ;;
      ablation) rows=$ablation extra=() ;;
      memory) rows=co-s2p extra=(--budgets 1,0.325,0.1625,0.08125) ;;
      time)
        # What the rival reached, as this set's first table has it.
        target=$(python3 - "$output/$set/dirichlet/compare.csv" <<'PYTHON'
import csv, sys
reached = [float(row["accuracy"]) for row in csv.DictReader(open(sys.argv[1])) if row["method"] == "depthfl"]
print(round(sum(reached) / len(reached), 4))
PYTHON
        )
        rows=$time extra=(--target-accuracy "$target" --evaluate-every 2)
        ;;
      *) echo "run.sh: unknown table '$table' (--tables), see --help" >&2 && exit 2 ;;
    esac
    tuned=()
    while read -r line; do
      if [[ ,$rows, == *,${line%%:*}[,:]* ]]; then tuned+=(--for "$line"); fi
    done <"$output/$set/rates"
    compare "${common[@]}" "${extra[@]}" --methods "$rows" "${tuned[@]}" --seeds 0,1,2 --output "$output/$set/$table"
  done
done
