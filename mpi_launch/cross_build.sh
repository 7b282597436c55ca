#!/usr/bin/env bash
# Builds cos2p for 64-bit ARM on an x86-64 Debian machine, against Debian's arm64 packages; can pass its tests under qemu.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
sysroot=$root/build/aarch64-sysroot
test=false
mirror=${COS2P_DEBIAN_MIRROR:-http://deb.debian.org/debian}

usage() {
  cat <<'TEXT'
Usage: mpi_launch/cross_build.sh [--test] [--sysroot DIR]
Installs the cross compiler (as root or with sudo), unpacks Debian's arm64 packages of what cos2p needs (1.5 GB), and builds
build/aarch64/src/main/cos2p. A board with Debian 12 runs it after mpi_launch/install_packages.sh; nothing is built there.

      --test         also builds the unit tests and passes them under qemu, and trains with an x86-64 server, an x86-64 worker and
                     an emulated aarch64 worker (about an hour on two cores)
      --sysroot DIR  where the packages are unpacked, kept for the next time (default: build/aarch64-sysroot)
  -h, --help         this text
COS2P_DEBIAN_MIRROR names another mirror than http://deb.debian.org/debian.

Exit code: 0 built (and passed), 1 a test failed, 2 usage, 6 something is missing.
TEXT
}

refuse() {
  echo "cross_build.sh: $1" >&2
  exit "${2:-2}"
}

while [[ $# -gt 0 ]]; do
  case $1 in
    --test) test=true ;;
    --sysroot)
      [[ $# -ge 2 ]] || refuse "--sysroot needs a directory"
      sysroot=$2
      shift
      ;;
    -h | --help) usage && exit 0 ;;
    *) refuse "unknown option '$1', see cross_build.sh --help" ;;
  esac
  shift
done

# shellcheck source=/dev/null
codename=$(. /etc/os-release && [[ $ID == debian ]] && echo "$VERSION_CODENAME") ||
  refuse "this is not Debian (its arm64 packages have to be of this machine's release), build on the board itself: mpi_launch/quickstart.sh" 6
"$here/install_packages.sh" --cross --tests

# unpack: the packages that programs are linked against, and all that these need, without installing any of them.
unpack() {
  local apt=$sysroot.apt packages package
  mapfile -t packages < <("$here/install_packages.sh" --tests --list | grep -E '^(lib|nlohmann|zlib)')
  rm -rf "$apt" "$sysroot.new"
  mkdir -p "$apt"/{lists,cache/archives,state,sourceparts} "$sysroot.new"
  : >"$apt/state/status"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $codename main" >"$apt/sources.list"
  local options=(-o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Install-Recommends=false -o APT::Sandbox::User=
    -o "Dir::State=$apt/state" -o "Dir::State::status=$apt/state/status" -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache"
    -o "Dir::Etc::sourcelist=$apt/sources.list" -o "Dir::Etc::sourceparts=$apt/sourceparts" -o Debug::NoLocking=1)
  apt-get "${options[@]}" --quiet=2 update
  apt-get "${options[@]}" --quiet=2 --yes --download-only install libc6-dev "${packages[@]}" >/dev/null
  for package in "$apt"/cache/archives/*.deb; do dpkg-deb --extract "$package" "$sysroot.new"; done
  # Links of packages are meant for a root directory; here they have to stay below the sysroot.
  find "$sysroot.new" -type l -lname '/*' -print0 | while IFS= read -r -d '' link; do
    ln --symbolic --force --no-dereference --relative "$sysroot.new$(readlink "$link")" "$link"
  done
  rm -rf "$apt"
  mv "$sysroot.new" "$sysroot"
}
mkdir -p "$(dirname "$sysroot")"
sysroot=$(realpath "$sysroot")  # a directory that need not be there yet
if [[ ! -d $sysroot ]]; then
  echo "== Unpacking Debian's arm64 packages to $sysroot =="
  set -E
  trap 'refuse "the arm64 packages could not be unpacked to $sysroot (see above), see whether $mirror can be reached, or name another: COS2P_DEBIAN_MIRROR" 6' ERR
  unpack
  trap - ERR
fi

jobs=$("$here/build_jobs.sh")
echo "== Building for aarch64 ($jobs at once) =="
cd "$root"
cmake --preset aarch64 -DCOS2P_SYSROOT="$sysroot" -DCOS2P_TESTS="$($test && echo ON || echo OFF)" >/dev/null
cmake --build --preset aarch64 --parallel "$jobs"
echo "cross_build.sh: the program is $root/build/aarch64/src/main/cos2p"
$test || exit 0

echo "== The unit tests, under qemu =="
status=0
ctest --preset aarch64 --parallel "$jobs" || status=1
echo "== A server of this machine, a worker of this machine, and an emulated aarch64 worker =="
cmake --preset release >/dev/null
cmake --build --preset release --parallel "$jobs" --target cos2p >/dev/null
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$work" && bash "$root/test/program/architectures.sh" "$root/build/release/src/main/cos2p" "$root" "$root/build/aarch64/src/main/cos2p" "$sysroot") || status=1
exit $status
