#!/usr/bin/env bash
# Makes the tables of docs/results.md: tunes every method, then compares them. Goes on where it was stopped.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$here/../../build/release/src/main/cos2p
output=runs/results
data=data
sets=fashion-mnist,cifar-10,20-newsgroups
tables=dirichlet,iid,ablation,paced,semi-async,memory
jobs=$(nproc)
# Runs begin in this order: what takes long goes first, so that no core waits for the last of a table.
methods=fedavg,fiarse,co-s2p,depthfl,inclusivefl,scalefl,heterofl,fedrolex,federated-dropout,fjord,ra-fed,fedavg-drop,fedavg-smallest
usage() {
  cat <<TEXT
Usage: benchmark/results/run.sh [--data DIR] [--sets A,B,...] [--tables A,B,...] [--output DIR] [--program FILE] [--jobs N] [--methods A,B,...]

  --data DIR      has a directory for each set, named as the set (default: $data)
  --sets A,B,...  of fashion-mnist, cifar-10, 20-newsgroups, sst-2 (default: the first three)
  --tables A,...  of dirichlet, iid (all methods on unlike and on like data), ablation (of the first set: co-s2p without its parts),
                  alternatives (of the first set: co-s2p with other choices for its parts, its best rival with what helped it), paced
                  (simulated seconds to the rival's accuracy, budgets of compute as the clients' speeds), semi-async (co-s2p
                  semi-asynchronously, else the same), memory (co-s2p with budgets that are 35 % smaller) (default: $tables)
  --output DIR    gets SET/tuning/TRIAL, SET/tuned, SET/TABLE and the trials and rates of semi-async in directories of their own (default: $output)
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

# co-s2p without each of its parts: without micro-batches, so that the smallest clients are narrowed and masks matter. Alternatives are not
# in the tables by default.
semi_async=co-s2p:policy=semi-async:min-updates=4
ablation=$semi_async:rounds=90,co-s2p,co-s2p:distillation=none,co-s2p:rolling-windows=true
for rule in straight-through hard-concrete taylor magnitude random; do ablation+=,co-s2p:micro-batch=0:width-rule=$rule; done
ablation+=,co-s2p:logit-adjustment=0,co-s2p:server-momentum=0
alternatives=$semi_async:rounds=90:merge=values:server-momentum=0.5,co-s2p:balance=balanced,co-s2p:feature-hint=0.3
alternatives+=,depthfl:logit-adjustment=0.5:server-momentum=0.5
# Every method gets four trials, on a seed that no table has: rivals four rates; co-s2p three, and the best of them without logit
# adjustment. Half of the rounds tell rates apart on pictures; on texts the models have then just begun to learn. Merges of few updates want
# rates of their own: three trials for co-s2p semi-asynchronously.
rates=(0.002 0.004 0.008)
highest_rate=0.016
rivals=$(tr , '\n' <<<"$methods" | grep -vx co-s2p | paste -sd , || true)
declare -A tuning_rounds=([fashion-mnist]=24 [cifar-10]=24 [20-newsgroups]=45 [sst-2]=45)
compare() { "$program" compare --jobs "$jobs" "$@"; }
at_the_end=(--evaluate-every 0)  # all that a table without a target needs
best_trials() {  # DIRECTORY: a line for each method, METHOD:OPTION=VALUE,...; its trials are directories named by their options
  python3 - "$1" <<'PYTHON'
import csv, pathlib, sys
best = {}
for table in sorted(pathlib.Path(sys.argv[1]).glob("*/compare.csv")):
    for row in csv.DictReader(open(table)):
        best[row["method"]] = max(best.get(row["method"], (-1, "")), (float(row["accuracy"]), table.parent.name))
for method, (_, options) in best.items():
    print(f"{method}:{options.replace(':', ',')}")
PYTHON
}
rate_of() { sed -n 's/^co-s2p:.*\(learning-rate=[0-9.]*\).*/\1/p'; }
for set in ${sets//,/ }; do
  [[ -d $data/$set ]] || { echo "run.sh: $data/$set is missing (--data has a directory for each set, named as the set), see datasets/README.md" >&2 && exit 3; }
done
for set in ${sets//,/ }; do
  common=(--config "$here/$set.toml" --data-dir "$data/$set")
  tuning=$output/$set/tuning
  trial() {  # METHODS OPTION=VALUE...
    local methods=$1 name options=()
    shift
    name=$(IFS=: && echo "$*")
    for option in "$@"; do options+=("--${option%%=*}" "${option#*=}"); done
    compare "${common[@]}" "${extra[@]}" --methods "$methods" "${options[@]}" --seeds 10 --output "$tuning/$name"
  }
  extra=("${at_the_end[@]}" --rounds "${tuning_rounds[$set]}")
  for rate in "${rates[@]}"; do trial "$methods" "learning-rate=$rate"; done
  if [[ -n $rivals ]]; then trial "$rivals" "learning-rate=$highest_rate"; fi
  if [[ ,$methods, == *,co-s2p,* ]]; then
    trial co-s2p "$(best_trials "$tuning" | rate_of)" logit-adjustment=0
  fi
  best_trials "$tuning" >"$output/$set/tuned"
  for table in ${tables//,/ }; do
    tuned=$output/$set/tuned
    case $table in
      dirichlet | iid) rows=$methods extra=("${at_the_end[@]}" --partition "$table") ;;
      ablation | alternatives)
        if [[ $set != "${sets%%,*}" ]]; then continue; fi
        rows=${!table} extra=("${at_the_end[@]}")
        ;;
      memory) rows=co-s2p extra=("${at_the_end[@]}" --budgets "1,0.325,0.1625,0.08125") ;;
      paced | semi-async)
        [[ -f $output/$set/dirichlet/compare.csv ]] ||
          { echo "run.sh: $table needs the table dirichlet of $set (it has the target and the budgets), add it to --tables" >&2 && exit 2; }
        # What the rival reached, as this set's first table has it.
        target=$(python3 - "$output/$set/dirichlet/compare.csv" <<'PYTHON'
import csv, sys
reached = [float(row["accuracy"]) for row in csv.DictReader(open(sys.argv[1])) if row["method"] == "depthfl"]
print(round(sum(reached) / len(reached), 4))
PYTHON
        )
        # Clients that push deltas also hold what they received, and shares of such a training are more bytes: here all have the same.
        budgets=$("$program" inspect "$output/$set/dirichlet/runs/depthfl-seed0/latest" --json | python3 -c '
import json, sys
print(*[client["memory_budget_bytes"] for client in json.load(sys.stdin)["clients"][:4]], sep=",")')
        # A step may take no longer on a slow client than one of the full model on the fastest (depthfl's never does).
        budgets=(--budgets "$budgets" --compute-budgets "1,0.5,0.25,0.125")
        rows=co-s2p,depthfl
        if [[ $table == semi-async ]]; then
          rows=$semi_async:rounds=120,$semi_async:rounds=90  # as many client rounds as in a synchronous run take 90
          tuning=$output/$set/tuning-semi-async
          extra=("${at_the_end[@]}" "${budgets[@]}")
          adjustment=$(sed -n 's/^co-s2p:.*\(logit-adjustment=[0-9.]*\).*/\1/p' "$tuned")
          for rate in "${rates[@]}"; do trial "$semi_async:rounds=120" "learning-rate=$rate" ${adjustment:+"$adjustment"}; done
          tuned=$output/$set/tuned-semi-async
          best_trials "$tuning" | sed "s/^co-s2p:.*:learning-rate/co-s2p:learning-rate/" >"$tuned"
        fi
        extra=("${budgets[@]}" --target-accuracy "$target" --evaluate-every 2)
        ;;
      *) echo "run.sh: unknown table '$table' (--tables), see --help" >&2 && exit 2 ;;
    esac
    options=()
    while read -r line; do
      if [[ ,$rows, == *,${line%%:*}[,:]* ]]; then options+=(--for "$line"); fi
    done <"$tuned"
    compare "${common[@]}" "${extra[@]}" --methods "$rows" "${options[@]}" --seeds 0,1,2 --output "$output/$set/$table"
  done
done
echo "run.sh: all tables are in $output ($((SECONDS / 60)) minutes)"
