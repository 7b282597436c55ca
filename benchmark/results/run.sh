#!/usr/bin/env bash
# Makes the tables of docs/results.md: tunes the learning rate of every method, then compares them. Goes on where it was stopped.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$here/../../build/release/src/main/cos2p
output=runs/results
data=data
sets=fashion-mnist,cifar-10,sst-2
partitions=dirichlet,iid
jobs=$(nproc)
methods=co-s2p,depthfl,inclusivefl,scalefl,heterofl,fedrolex,federated-dropout,fjord,ra-fed,fiarse,fedavg-smallest,fedavg-drop,fedavg
usage() {
  cat <<TEXT
Usage: benchmark/results/run.sh [--data DIR] [--sets A,B,...] [--partitions A,B] [--output DIR] [--program FILE] [--jobs N] [--methods A,B,...]

  --data DIR      has a directory for each set, named as the set (default: $data)
  --sets A,B,...  of fashion-mnist, cifar-10, sst-2 (default: all)
  --partitions .. of dirichlet, iid (default: both)
  --output DIR    gets SET/tuning/RATE, SET/rates, SET/dirichlet and SET/iid (default: $output)
  --program FILE  (default: build/release/src/main/cos2p)
  --jobs N        runs at a time (default: all cores)
  --methods ...   (default: $methods)
TEXT
}
while [[ $# -gt 0 ]]; do
  case $1 in
    -h | --help) usage && exit 0 ;;
    --data | --sets | --partitions | --output | --program | --jobs | --methods)
      [[ $# -ge 2 ]] || { echo "run.sh: $1 needs a value, see --help" >&2 && exit 2; }
      declare "${1#--}=$2" && shift 2
      ;;
    *) echo "run.sh: unknown option '$1', see --help" >&2 && exit 2 ;;
  esac
done

# What won among the choices that co-s2p leaves open (docs/results.md); rivals are as published.
own=balance=shallow,micro-batch=8,width-rule=straight-through,reselect-every=5,width-exponent=1.5,exit-loss=sum,distillation=mutual
own+=,distillation-weight=1,distillation-temperature=1,distillation-start=0,distillation-ramp=0.3,weighting=uniform,server-momentum=0.5

# Every method gets the same three rates, on a seed that no table has and for half as many rounds.
rates=(0.002 0.004 0.008)
compare() { "$program" compare --jobs "$jobs" --methods "$methods" "$@"; }
# The tuned rate of a method beside what else is its own.
options_of() { [[ $1 == co-s2p:* ]] && echo "$1,$own" || echo "$1"; }
for set in ${sets//,/ }; do
  common=(--config "$here/$set.toml" --data-dir "$data/$set")
  for rate in "${rates[@]}"; do
    compare "${common[@]}" --for "co-s2p:$own" --learning-rate "$rate" --rounds 30 --seeds 10 --output "$output/$set/tuning/$rate"
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
  tuned=()
  while read -r line; do tuned+=(--for "$(options_of "$line")"); done <"$output/$set/rates"
  for partition in ${partitions//,/ }; do
    compare "${common[@]}" "${tuned[@]}" --seeds 0,1,2 --partition "$partition" --output "$output/$set/$partition"
  done
done
