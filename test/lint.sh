#!/usr/bin/env bash
# Runs clang-tidy (.clang-tidy: a short list, every finding an error) over the project's sources.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build/release
usage() {
  cat <<'TEXT'
Usage: test/lint.sh [--build DIR] [FILE...]
Runs clang-tidy over FILE..., by default over every source file of src. Needs a configured build (test/run.sh makes one).

      --build DIR  a build directory with compile_commands.json (default: build/release)
  -h, --help       this text
TEXT
}

while [[ ${1:-} == -* ]]; do
  case $1 in
    --build) build=$2 && shift ;;
    -h | --help) usage && exit 0 ;;
    *) echo "lint.sh: unknown option '$1', see lint.sh --help" >&2 && exit 2 ;;
  esac
  shift
done
tool=$(command -v clang-tidy-14 || command -v clang-tidy || true)
if [[ -z $tool ]]; then
  echo "lint.sh: clang-tidy was not found, install it with: apt-get install clang-tidy" >&2
  exit 6
fi
commands=$build/compile_commands.json
if [[ ! -e $commands ]]; then
  echo "lint.sh: $commands does not exist (nothing is configured there), run: cmake --preset release" >&2
  exit 6
fi

# clang cannot read GCC's precompiled headers and does not know all of its warnings: the same commands without them.
work=$(mktemp -d "${TMPDIR:-/tmp}/cos2p-lint.XXXXXX")
trap 'rm -rf "$work"' EXIT
sed -E 's/ -Winvalid-pch//g; s/ -Wno-maybe-uninitialized//g; s/ -include [^ ]*cmake_pch\.hxx//g' "$commands" >"$work/compile_commands.json"

files=("$@")
if [[ ${#files[@]} -eq 0 ]]; then
  while IFS= read -r file; do
    # Files that this build does not compile (another CPU's, CUDA's) have no command.
    if grep -qF "\"$file\"" "$commands"; then files+=("$file"); fi
  done < <(find "$root/src" -name '*.cpp' | sort)
fi
printf '%s\0' "${files[@]}" | xargs -0 -n 1 -P "$(nproc)" "$tool" --quiet -p "$work"
echo "lint.sh: ${#files[@]} files are clean"
