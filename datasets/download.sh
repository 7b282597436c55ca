#!/usr/bin/env bash
# Downloads a data set, checks it and puts it where cos2p reads it. See datasets/README.md.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)

usage() {
  cat <<USAGE
usage: datasets/download.sh SET [--dir DIR] [--base-url URL] [--checksums FILE]

  SET               mnist, fashion-mnist, cifar-10 or cifar-100
  --dir DIR         where the files go (default: datasets/SET in the project)
  --base-url URL    where the files come from: a mirror, or a local copy as file:///path (default: the usual place)
  --checksums FILE  what is accepted (default: datasets/checksums.txt)
  -h, --help        this text

A file is kept only if its checksum is right. Files that are there already and right are not downloaded again.
Exit codes: 0 fine, 2 usage, 3 a wrong file, 6 the download or the machine failed.
USAGE
}

stop() {  # stop CODE MESSAGE
  printf 'download.sh: %s\n' "$2" >&2
  exit "$1"
}

set_name='' dir='' base_url='' checksums=$here/checksums.txt
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --dir | --base-url | --checksums)
      if [ -z "${2:-}" ]; then stop 2 "$1 has no value (it is the last argument or empty), give one"; fi
      case $1 in
        --dir) dir=$2 ;;
        --base-url) base_url=${2%/} ;;
        --checksums) checksums=$2 ;;
      esac
      shift 2 ;;
    -*) stop 2 "option $1 is unknown (there are --dir, --base-url, --checksums and --help), see --help" ;;
    *)
      [ -z "$set_name" ] || stop 2 "argument $1 is one too many (the set is $set_name already), call once per set"
      set_name=$1
      shift ;;
  esac
done

images='train-images-idx3-ubyte.gz train-labels-idx1-ubyte.gz t10k-images-idx3-ubyte.gz t10k-labels-idx1-ubyte.gz'
unpacked='' members=''
case $set_name in
  mnist) files=$images usual_url=https://ossci-datasets.s3.amazonaws.com/mnist ;;
  fashion-mnist) files=$images usual_url=http://fashion-mnist.s3-website.eu-central-1.amazonaws.com ;;
  cifar-10)
    files=cifar-10-binary.tar.gz usual_url=https://www.cs.toronto.edu/~kriz
    unpacked=cifar-10-batches-bin
    members='data_batch_1.bin data_batch_2.bin data_batch_3.bin data_batch_4.bin data_batch_5.bin test_batch.bin' ;;
  cifar-100)
    files=cifar-100-binary.tar.gz usual_url=https://www.cs.toronto.edu/~kriz
    unpacked=cifar-100-binary members='train.bin test.bin' ;;
  '') usage >&2; stop 2 "the set is missing (nothing was named), name one of mnist, fashion-mnist, cifar-10, cifar-100" ;;
  *) stop 2 "set $set_name is unknown (this script does not know it), name one of mnist, fashion-mnist, cifar-10, cifar-100" ;;
esac
dir=${dir:-$here/$set_name}
base_url=${base_url:-$usual_url}

[ -r "$checksums" ] || stop 2 "--checksums $checksums cannot be read (no such file or no permission), name another file"
if ! mkdir -p -- "$dir" 2>/dev/null || [ ! -w "$dir" ]; then
  stop 6 "--dir $dir cannot be written (no permission, or a file is in the way), choose another directory"
fi

# Nothing half-done stays behind, however the script ends.
work=$(mktemp -d "$dir/.download.XXXXXX") || stop 6 "--dir $dir cannot be written (mktemp failed), choose another directory"
trap 'rm -rf -- "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

expected_sum() {  # of FILE of this set
  awk -v name="$set_name/$1" '$2 == name {print tolower($1); exit}' "$checksums"
}

sum_of() {  # PATH, by the kind of checksum SUM
  case ${#2} in
    64) sha256sum <"$1" | cut -d ' ' -f 1 ;;
    32) md5sum <"$1" | cut -d ' ' -f 1 ;;
    *) stop 2 "checksum $2 in $checksums is of no known kind (${#2} digits; SHA-256 has 64, MD5 32), correct the file" ;;
  esac
}

fetch() {  # URL PATH
  if command -v curl >/dev/null 2>&1; then
    progress=--silent
    if [ -t 2 ]; then progress=--progress-bar; fi
    curl --fail --location --show-error $progress --retry 3 --connect-timeout 20 --output "$2" --url "$1"
  elif [ "${1#file://}" != "$1" ]; then
    cp -- "${1#file://}" "$2"
  elif command -v wget >/dev/null 2>&1; then
    wget --no-verbose --tries=3 --timeout=20 --output-document="$2" -- "$1"
  else
    stop 6 "neither curl nor wget is here (one of them downloads the files), install one: apt-get install curl"
  fi
}

get() {  # FILE: downloads it unless the right one is there
  want=$(expected_sum "$1")
  [ -n "$want" ] || stop 2 "$checksums has no line for $set_name/$1 (so nothing can be checked), add one or use the default"
  if [ -f "$dir/$1" ]; then
    found=$(sum_of "$dir/$1" "$want")
    if [ "$found" = "$want" ]; then
      echo "$dir/$1: already there, checksum right"
      return
    fi
    echo "$dir/$1: there, but wrong (checksum $found instead of $want): downloading it anew"
  fi
  echo "$dir/$1: downloading $base_url/$1"
  fetch "$base_url/$1" "$work/$1.part" ||
    stop 6 "$base_url/$1 cannot be downloaded (see the line above), check the network or name a mirror with --base-url"
  found=$(sum_of "$work/$1.part" "$want")
  [ "$found" = "$want" ] ||
    stop 3 "$base_url/$1 is the wrong file (checksum $found instead of $want; it was not kept), name another mirror with --base-url"
  mv -f -- "$work/$1.part" "$dir/$1"
}

unpack() {  # the archive: complete or not at all
  local complete=yes member
  for member in $members; do
    if [ ! "$dir/$unpacked/$member" -nt "$dir/$files" ]; then complete=no; fi
  done
  if [ $complete = yes ]; then
    echo "$dir/$unpacked: already unpacked"
    return
  fi
  # Unpacked files get the time of now: newer than the archive is the mark that they are its content.
  tar -x -z -m -f "$dir/$files" -C "$work" --no-same-owner 2>"$work/tar.log" ||
    stop 3 "$dir/$files cannot be unpacked ($(head -n 1 "$work/tar.log")), check the space left on the disk"
  for member in $members; do
    [ -f "$work/$unpacked/$member" ] ||
      stop 3 "$dir/$files is the wrong archive (it lacks $unpacked/$member), name another mirror with --base-url"
  done
  mkdir -p -- "$dir/$unpacked"
  mv -f -- "$work/$unpacked"/* "$dir/$unpacked/"
  echo "$dir/$unpacked: unpacked"
}

for file in $files; do get "$file"; done
if [ -n "$unpacked" ]; then unpack; fi
printf '%s is complete: --dataset %s --data-dir %q\n' "$set_name" "$set_name" "$dir"
