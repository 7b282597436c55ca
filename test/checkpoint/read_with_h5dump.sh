#!/bin/bash
# read_with_h5dump.sh WRITE_SAMPLE: the h5dump commands of checkpoints/README.md show names, shapes, units and values.
set -euo pipefail
if ! command -v h5dump > /dev/null; then
  echo "SKIPPED: h5dump is not installed (apt-get install hdf5-tools)"
  exit 77
fi
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
file=$("$1" "$directory")

expect() {  # expect TEXT ...: each must stand in $output
  for text in "$@"; do
    grep -qF -- "$text" <<< "$output" || { echo "missing in the output of $command: $text"; echo "$output"; exit 1; }
  done
}
run() { command="$*"; output=$("$@"); }

run h5dump -n "$file"
expect /meta/options /model/embedding/patch.weight /model/block_02/attention/qkv.weight /model/block_02/exit_head/linear.bias /segments \
  /clients/0000/masks/block_00/heads /clients/0002/masks/block_02/neurons /clients/0001/class_counts /state/pending/000003/values \
  /state/in_flight/000001/updates/000000/bitmap /state/normalization/mean /history/rounds /history/evaluations /history/clients
run h5dump -d /model/block_00/attention/qkv.weight -H "$file"
expect '( 4, 3, 4, 16 )' H5T_IEEE_F32LE '"axes"' '"unit"' '"per_unit"'
run h5dump -a /model/block_00/attention/qkv.weight/axes "$file"
expect '"head' '"qkv' '"head_dim"' '"dim'
run h5dump -g /meta "$file"
expect '"0123456789abcdef"' '"synthetic"' '"rounds"' '"12"'
run h5dump -a /about "$file"
expect 'Checkpoint of cos2p'
run h5dump -d /segments -H "$file"
expect '"version"' '"trainers"' '"last_staleness_versions"'
run h5dump -d /history/rounds "$file"
expect 'H5S_UNLIMITED' '"time_s"' '"n_star"' '"staleness_mean_versions"'
run h5dump -d /clients/0000/masks/block_00/heads "$file"
expect '( 4 )'
run h5dump "$file"  # every dataset, to the end
