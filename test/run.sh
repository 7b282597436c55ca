#!/usr/bin/env bash
# Builds everything with warnings as errors and runs all tests.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
preset=release
filter=""
install=true

usage() {
  cat <<'TEXT'
Usage: test/run.sh [--preset NAME] [--filter REGEX] [--no-install]
Installs missing Debian packages (as root or with sudo), builds build/NAME and runs its tests. With CI=true in the
environment, the format and the self-containedness of all headers are checked before, and clang-tidy reads the sources.

      --preset NAME   release (default), debug, asan-ubsan or tsan
      --filter REGEX  only tests whose name matches
      --no-install    use what is installed
  -h, --help          this text
TEXT
}

refuse() {
  echo "run.sh: $1" >&2
  exit "${2:-2}"
}

while [[ $# -gt 0 ]]; do
  case $1 in
    --preset | --filter)
      [[ $# -ge 2 ]] || refuse "$1 needs a value"
      if [[ $1 == --preset ]]; then preset=$2; else filter=$2; fi
      shift
      ;;
    --no-install) install=false ;;
    -h | --help) usage && exit 0 ;;
    *) refuse "unknown option '$1', see run.sh --help" ;;
  esac
  shift
done

packages=(--tests)
if [[ ${CI:-} == true ]]; then packages+=(--format); fi
if $install; then "$root/mpi_launch/install_packages.sh" "${packages[@]}"; fi
for tool in cmake ninja mpirun; do
  command -v "$tool" >/dev/null || refuse "$tool was not found (packages are missing), run without --no-install or install: $("$root/mpi_launch/install_packages.sh" --tests --list | tr '\n' ' ')" 6
done
cd "$root"

jobs=$(mpi_launch/build_jobs.sh)
cmake --preset "$preset" -DCOS2P_WARNINGS_AS_ERRORS=ON -DCOS2P_TESTS=ON
if [[ ${CI:-} == true ]]; then
  test/check_format.sh
  cmake --build --preset "$preset" --parallel "$jobs" --target cos2p_headers
fi
cmake --build --preset "$preset" --parallel "$jobs"
if [[ ${CI:-} == true ]]; then test/lint.sh --build "build/$preset"; fi

# Tests with several ranks count as two processors each.
parallel=$(nproc)
if ((parallel < 2)); then parallel=2; fi
arguments=(--preset "$preset" --output-on-failure --no-tests=error --parallel "$parallel")
if [[ -n $filter ]]; then arguments+=(--tests-regex "$filter"); fi
exec ctest "${arguments[@]}"
