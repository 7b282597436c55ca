#!/usr/bin/env bash
# Installs the Debian packages that cos2p needs and this machine lacks; says which before it does.
set -euo pipefail

usage() {
  cat <<'TEXT'
Usage: mpi_launch/install_packages.sh [--tests] [--slurm] [--format] [--fuzz] [--cross] [--list] [--dry-run]
Installs the Debian packages (12 or later) that are missing for building and running cos2p, as root or with sudo.

      --tests    also what only the tests need
      --slurm    also a Slurm, for the test of the job scripts (test/program/slurm.sh is skipped without it)
      --format   also clang-format 14 and clang-tidy 14, which judge the sources
      --fuzz     also clang with libFuzzer and its OpenMP, for test/fuzz/run.sh
      --cross    also the compiler for 64-bit ARM and qemu's user emulation, for mpi_launch/cross_build.sh
      --list     print all packages that are needed, one a line, and do nothing
      --dry-run  print those that are missing, one a line, and do nothing
  -h, --help     this text

Exit code: 0 all there, 6 something is missing and cannot be installed.
TEXT
}

# libopenblas0-openmp: with Debian's default BLAS everything works, thirty times slower. curl is for datasets/download.sh.
packages=(ca-certificates curl g++ cmake ninja-build ccache libtorch-dev libopenblas0-openmp libopenmpi-dev openmpi-bin libhdf5-dev
          libcli11-dev libspdlog-dev libfmt-dev nlohmann-json3-dev zlib1g-dev libxxhash-dev libicu-dev libssl-dev)
# h5dump and h5py read checkpoints as users would; ip and iptables make hosts of network namespaces, and bad links; python3 reads JSON;
# faketime lets the clock jump, btrfs has quotas.
test_packages=(libboost-test-dev hdf5-tools python3 python3-h5py iproute2 iptables procps faketime btrfs-progs)
# A Slurm for the test of its job scripts, which is skipped without.
slurm_packages=(slurmctld slurmd slurm-client munge)
dry_run=false

while [[ $# -gt 0 ]]; do
  case $1 in
    --tests) packages+=("${test_packages[@]}") ;;
    --slurm) packages+=("${slurm_packages[@]}") ;;
    --format) packages+=(clang-format-14 clang-tidy-14) ;;
    --fuzz) packages+=(clang libclang-rt-dev libomp-dev) ;;
    --cross) packages+=(g++-aarch64-linux-gnu qemu-user-static) ;;
    --list) list=true ;;
    --dry-run) dry_run=true ;;
    -h | --help) usage && exit 0 ;;
    *) echo "install_packages.sh: unknown option '$1', see --help" >&2 && exit 2 ;;
  esac
  shift
done
if [[ ${list:-false} == true ]]; then
  printf '%s\n' "${packages[@]}"
  exit 0
fi

refuse() {
  echo "install_packages.sh: $1" >&2
  exit 6
}

command -v dpkg-query >/dev/null || refuse "this is no Debian system (no dpkg-query), install by its own means what these Debian packages bring: ${packages[*]}; then use --no-install"

missing=()
for package in "${packages[@]}"; do
  [[ $(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
done
if $dry_run; then
  [[ ${#missing[@]} -eq 0 ]] || printf '%s\n' "${missing[@]}"
  exit 0
fi
[[ ${#missing[@]} -gt 0 ]] || exit 0

as_root=()
if [[ $(id -u) -ne 0 ]]; then
  command -v sudo >/dev/null ||
    refuse "packages are missing and can be installed by root only (there is no sudo here), ask for: apt-get install ${missing[*]}"
  as_root=(sudo)
fi
echo "Installing ${#missing[@]} missing packages (apt-get install, ${as_root[*]:-as root}): ${missing[*]}"
"${as_root[@]}" true || refuse "packages are missing and sudo refused (see above), ask for: apt-get install ${missing[*]}"
"${as_root[@]}" apt-get update --quiet=2 || echo "install_packages.sh: the package lists could not be refreshed, trying those that are there" >&2
log=$(mktemp "${TMPDIR:-/tmp}/cos2p-install.XXXXXX")
trap 'rm -f "$log"' EXIT
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 --no-install-recommends "${missing[@]}" >"$log" 2>&1 || {
  tail -20 "$log" >&2
  refuse "apt-get could not install the packages (its last lines are above), repair that and start again"
}
