#!/bin/bash
# read_with_h5py.sh WRITE_SAMPLE SCRIPT: the script of checkpoints/README.md reads a checkpoint, and the page shows that script.
set -euo pipefail
python=${PYTHON:-/usr/bin/python3}
if ! "$python" -c 'import h5py' 2> /dev/null; then
  echo "SKIPPED: $python has no h5py (apt-get install python3-h5py)"
  exit 77
fi
directory=$(mktemp -d)
trap 'rm -rf "$directory"' EXIT
file=$("$1" "$directory")
output=$("$python" "$2" "$file")
for text in "0123456789abcdef round 12" "/model/block_00/attention/qkv.weight (4, 3, 4, 16) ['head', 'qkv', 'head_dim', 'dim'] mean" \
  "block_02/exit_head version" "round 2 exit after block 2 accuracy"; do
  grep -qF -- "$text" <<< "$output" || { echo "missing: $text"; echo "$output"; exit 1; }
done
# The page and the file are the same text.
shown=$(awk '/^```python$/ {on = 1; next} /^```$/ {on = 0} on' "$(dirname "$2")/README.md")
[ "$shown" = "$(cat "$2")" ] || { echo "README.md shows another script than $2"; exit 1; }
