#!/usr/bin/env bash
# From a fresh clone to a trained model: installs what is missing, builds the program, and trains on the built-in images
# with one server and three workers of unequal size.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
output=${COS2P_QUICKSTART_OUTPUT:-$root/runs/quickstart}
install=true

usage() {
  cat <<'TEXT'
Usage: mpi_launch/quickstart.sh [--no-install] [--output DIR]
Installs missing Debian packages (as root or with sudo), builds build/release/src/main/cos2p, trains for under a minute
with a server and three unequal workers, and prints the accuracy at every exit and where the checkpoint is.

      --no-install  use what is installed
      --output DIR  where the run is written (default: runs/quickstart); its previous content is removed
  -h, --help        this text
TEXT
}

refuse() {
  echo "quickstart.sh: $1" >&2
  exit "${2:-2}"
}

while [[ $# -gt 0 ]]; do
  case $1 in
    --no-install) install=false ;;
    --output)
      [[ $# -ge 2 ]] || refuse "--output needs a directory"
      output=$2
      shift
      ;;
    -h | --help) usage && exit 0 ;;
    *) refuse "unknown option '$1', see quickstart.sh --help" ;;
  esac
  shift
done

if $install; then "$here/install_packages.sh"; fi
for tool in cmake ninja mpirun; do
  command -v "$tool" >/dev/null || refuse "$tool was not found (packages are missing), run without --no-install or install: $("$here/install_packages.sh" --list | tr '\n' ' ')" 6
done

jobs=$("$here/build_jobs.sh")
echo "== Building the program ($jobs at once; a few minutes the first time) =="
# The tests need a package more; who has configured them already keeps them.
configure=()
if [[ ! -e $root/build/release/CMakeCache.txt ]]; then configure+=(-DCOS2P_TESTS=OFF); fi
log=$(mktemp "${TMPDIR:-/tmp}/cos2p-build.XXXXXX")
trap 'rm -f "$log"' EXIT
{
  cmake -S "$root" -B "$root/build/release" -G Ninja -DCMAKE_BUILD_TYPE=Release "${configure[@]}" &&
    cmake --build "$root/build/release" --parallel "$jobs" --target cos2p
} >"$log" 2>&1 || {
  tail -40 "$log" >&2
  refuse "the build failed (its last lines are above), repair that and start again" 6
}

# A previous quickstart's checkpoints would be taken for this one's. Only a directory that holds a run is removed.
if [[ -e $output ]]; then
  [[ -e $output/options.toml || -z $(ls -A "$output") ]] ||
    refuse "$output is not the output of a run (it has no options.toml), choose another directory with --output"
  rm -rf "$output"
fi

echo "== Training: one server, three workers with the full model, half and a quarter of its memory =="
start=$SECONDS
"$here/local.sh" --ranks 4 -- train --dataset synthetic --partition iid --budgets 1,0.5,0.25 --policy semi-async \
  --optimizer adamw --learning-rate 0.002 --rounds 20 --evaluate-every 5 --seed 1 --output "$output"
seconds=$((SECONDS - start))
echo
echo "== After $seconds s of training: the checkpoint, read back =="
"$root/build/release/src/main/cos2p" evaluate "$output/latest" --dataset synthetic
echo "checkpoint: $(readlink -f "$output/latest")"
echo "look inside: build/release/src/main/cos2p inspect $output/latest"
