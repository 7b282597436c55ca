#!/usr/bin/env bash
# Runs clang-tidy (.clang-tidy: a short list, every finding an error) over the project's sources.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build/release
usage() {
  cat <<'TEXT'
Usage: test/lint.sh [--build DIR] [FILE...]
Runs clang-tidy over FILE..., by default over every source file of src that the build compiles. Needs a configured build
(test/run.sh makes one).

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

# Most of the time goes into the headers of libraries: the files of a room are read as one, so that they are read once. Files
# that do not stand each other (a name that two of them have) are then looked at one by one.
work=$(mktemp -d "${TMPDIR:-/tmp}/cos2p-lint.XXXXXX")
trap 'rm -rf "$work"' EXIT
python3 - "$root" "$commands" "$work" "$@" <<'PYTHON'
import json, os, re, sys
root, commands, work, *wanted = sys.argv[1:]
wanted = {os.path.realpath(path) for path in wanted}
rooms, result = {}, []
for entry in json.load(open(commands)):
    path = entry["file"]
    if not path.startswith(root + "/src/") or wanted and path not in wanted:
        continue
    # clang cannot read GCC's precompiled headers and does not know all of its warnings.
    command = re.sub(r" -include \S*cmake_pch\.hxx| -Winvalid-pch", "", entry["command"])
    command = command.replace(" -Wall ", " -Wno-unknown-warning-option -Wall ", 1)
    result.append({"directory": entry["directory"], "file": path, "command": command})
    own = re.sub(r" -o \S+ -c \S+$", "", command)
    rooms.setdefault((os.path.dirname(path), own), []).append(path)
for number, ((directory, own), paths) in enumerate(sorted(rooms.items())):
    whole = f"{work}/{number}.cpp"
    with open(whole, "w") as file:
        file.writelines(f'#include "{path}"\n' for path in sorted(paths))
    with open(f"{work}/{number}.files", "w") as file:
        file.writelines(path + "\n" for path in sorted(paths))
    result.append({"directory": work, "file": whole, "command": f"{own} -I{directory} -o {number}.o -c {whole}"})
json.dump(result, open(work + "/compile_commands.json", "w"))
PYTHON

if ! compgen -G "$work/*.files" >/dev/null; then
  echo "lint.sh: nothing to read ($* is compiled by no command of $commands), name source files below src" >&2
  exit 2
fi

lint_room() {
  local whole=$1 log=$1.log
  local -a options=(--quiet -p "$(dirname "$whole")" --header-filter='/(include/cos2p|src)/.*')
  # Including a source file is what is meant here.
  "$tool" "${options[@]}" --checks=-bugprone-suspicious-include "$whole" >"$log" 2>&1 && return 0
  if grep -q '\[clang-diagnostic-error\]' "$log"; then
    : >"$log"
    local file failed=0
    while IFS= read -r file; do
      "$tool" "${options[@]}" "$file" >>"$log" 2>&1 || failed=1
    done <"${whole%.cpp}.files"
    [[ $failed -eq 0 ]] && return 0
  fi
  grep -vE '^[0-9]+ warnings|^Error while processing' "$log" >&2
  return 1
}
export -f lint_room
export tool
find "$work" -name '*.cpp' -print0 | sort -z | xargs -0 -n 1 -P "$("$root/mpi_launch/build_jobs.sh")" bash -c 'lint_room "$1"' _ ||
  { echo "lint.sh: clang-tidy found what is above" >&2 && exit 1; }
echo "lint.sh: $(cat "$work"/*.files | wc -l) files are clean"
