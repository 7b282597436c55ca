#!/usr/bin/env bash
# Fails where a source file is not as .clang-format says. Other versions than 14 format a little differently, so they do not judge.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
tool=""
for candidate in clang-format-14 clang-format; do
  if command -v "$candidate" >/dev/null && "$candidate" --version | grep -q 'version 14\.'; then
    tool=$candidate
    break
  fi
done
if [[ -z $tool ]]; then
  echo "check_format.sh: skipped (clang-format 14 is not installed), apt-get install clang-format-14"
  exit 0
fi
find include src test benchmark \( -name '*.hpp' -o -name '*.cpp' -o -name '*.cu' \) -print0 | xargs -0 "$tool" --dry-run -Werror
echo "check_format.sh: all source files are formatted"
