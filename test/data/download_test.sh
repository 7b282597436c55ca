#!/usr/bin/env bash
# Runs datasets/download.sh against a local directory, as file:// URLs, with made-up files and a checksum list of their own.
# Argument: the project's directory. Works in a fresh directory below the present one.
set -u
script=$1/datasets/download.sh
root=$PWD/download_test_$$
mkdir -p "$root/mirror/mnist" "$root/mirror/cifar" "$root/tar"
trap 'rm -rf -- "$root"' EXIT
cd "$root" || exit 1
failures=0
checks=0

# expect CODE TEXT ARGUMENT...: runs the script; its exit code and a part of its output must be these.
expect() {
  local code=$1 text=$2 output status
  shift 2
  output=$("$script" "$@" 2>&1)
  status=$?
  checks=$((checks + 1))
  if [ $status -ne "$code" ] || [[ $output != *"$text"* ]]; then
    failures=$((failures + 1))
    printf 'FAILED: download.sh %s\n  expected exit code %s and the text: %s\n  exit code %s and the text: %s\n' \
      "$*" "$code" "$text" $status "$output"
  fi
}

# holds CONDITION...: a test(1) expression that must be true.
holds() {
  checks=$((checks + 1))
  if ! test "$@"; then
    failures=$((failures + 1))
    printf 'FAILED: test %s\n' "$*"
  fi
}

nothing_half_done() { holds -z "$(find "$1" -name '*.part' -o -name '.download.*')"; }

images="train-images-idx3-ubyte.gz train-labels-idx1-ubyte.gz t10k-images-idx3-ubyte.gz t10k-labels-idx1-ubyte.gz"
for file in $images; do
  echo "content of $file" >"mirror/mnist/$file"
  echo "$(sha256sum <"mirror/mnist/$file" | cut -d ' ' -f 1)  mnist/$file" >>sums
done
for batch in data_batch_{1..5} test_batch; do mkdir -p tar/cifar-10-batches-bin; echo "$batch" >"tar/cifar-10-batches-bin/$batch.bin"; done
tar -c -z -f mirror/cifar/cifar-10-binary.tar.gz -C tar cifar-10-batches-bin
echo "$(md5sum <mirror/cifar/cifar-10-binary.tar.gz | cut -d ' ' -f 1)  cifar-10/cifar-10-binary.tar.gz" >>sums
mnist=(mnist --dir "$root/mnist" --base-url "file://$root/mirror/mnist" --checksums "$root/sums")
cifar=(cifar-10 --dir "$root/c10" --base-url "file://$root/mirror/cifar/" --checksums "$root/sums")

# The good case, twice: the second time nothing is fetched, so a mirror that is gone does not matter.
expect 0 "--dataset mnist --data-dir $root/mnist" "${mnist[@]}"
for file in $images; do holds "$(cat "mnist/$file")" = "content of $file"; done
nothing_half_done mnist
mv mirror/mnist mirror/gone
expect 0 "already there, checksum right" "${mnist[@]}"
mv mirror/gone mirror/mnist

# A damaged file is replaced, a missing one is fetched.
echo damaged >mnist/t10k-images-idx3-ubyte.gz
rm mnist/train-labels-idx1-ubyte.gz
expect 0 "t10k-images-idx3-ubyte.gz: there, but wrong" "${mnist[@]}"
holds "$(cat mnist/t10k-images-idx3-ubyte.gz)" = "content of t10k-images-idx3-ubyte.gz"
holds -f mnist/train-labels-idx1-ubyte.gz

# A wrong file from the mirror is refused and leaves nothing; what was there stays.
echo "something else" >mirror/mnist/train-labels-idx1-ubyte.gz
rm mnist/train-labels-idx1-ubyte.gz
expect 3 "train-labels-idx1-ubyte.gz is the wrong file (checksum " "${mnist[@]}"
holds ! -e mnist/train-labels-idx1-ubyte.gz
holds -f mnist/train-images-idx3-ubyte.gz
nothing_half_done mnist
rm mirror/mnist/train-labels-idx1-ubyte.gz
expect 6 "train-labels-idx1-ubyte.gz cannot be downloaded" "${mnist[@]}"
nothing_half_done mnist
# The built-in list refuses the made-up files.
expect 3 "instead of 440fcabf" mnist --dir "$root/official" --base-url "file://$root/mirror/mnist"
holds ! -e official/train-images-idx3-ubyte.gz

# An archive is unpacked after its check, once; a lost member brings it back.
expect 0 "$root/c10/cifar-10-batches-bin: unpacked" "${cifar[@]}"
holds "$(cat c10/cifar-10-batches-bin/data_batch_3.bin)" = data_batch_3
expect 0 "already unpacked" "${cifar[@]}"
rm c10/cifar-10-batches-bin/test_batch.bin
expect 0 "cifar-10-batches-bin: unpacked" "${cifar[@]}"
holds -f c10/cifar-10-batches-bin/test_batch.bin
nothing_half_done c10
# A right checksum on an archive that lacks a member, and on one that is none.
rm tar/cifar-10-batches-bin/data_batch_2.bin
for content in lacking none; do
  if [ $content = lacking ]; then
    tar -c -z -f mirror/cifar/cifar-10-binary.tar.gz -C tar cifar-10-batches-bin
    text="lacks cifar-10-batches-bin/data_batch_2.bin"
  else
    echo "no archive" >mirror/cifar/cifar-10-binary.tar.gz
    text="cannot be unpacked"
  fi
  echo "$(sha256sum <mirror/cifar/cifar-10-binary.tar.gz | cut -d ' ' -f 1)  cifar-10/cifar-10-binary.tar.gz" >"$content.sums"
  expect 3 "$text" cifar-10 --dir "$root/$content" --base-url "file://$root/mirror/cifar" --checksums "$content.sums"
  holds ! -e "$content/cifar-10-batches-bin"
  nothing_half_done "$content"
done

# Usage.
expect 0 "usage: datasets/download.sh SET" --help
expect 2 "the set is missing"
expect 2 "set imagenet is unknown" imagenet
expect 2 "option --dri is unknown" mnist --dri x
expect 2 "--dir has no value" mnist --dir
expect 2 "argument cifar-10 is one too many" mnist cifar-10
expect 2 "nowhere cannot be read" mnist --dir "$root/x" --checksums nowhere
expect 2 "has no line for cifar-100/cifar-100-binary.tar.gz" cifar-100 --dir "$root/x" --checksums "$root/sums"
echo "1234  mnist/train-images-idx3-ubyte.gz" >odd
expect 2 "of no known kind (4 digits" mnist --dir "$root/x" --base-url "file://$root/mirror/mnist" --checksums odd
touch in_the_way
expect 6 "in_the_way cannot be written" mnist --dir "$root/in_the_way"

# Without curl, file:// still works; without curl and wget, http does not, and the cure is named.
mkdir tools
for tool in bash env dirname cat mkdir mktemp rm awk tr sha256sum cut mv cp head; do ln -s "$(command -v $tool)" "tools/$tool"; done
echo "content of train-labels-idx1-ubyte.gz" >mirror/mnist/train-labels-idx1-ubyte.gz
PATH=$root/tools expect 0 "mnist is complete" mnist --dir "$root/bare" --base-url "file://$root/mirror/mnist" --checksums sums
PATH=$root/tools expect 6 "neither curl nor wget is here" mnist --dir "$root/bare2" --base-url http://localhost:1 --checksums sums

echo "$checks checks, $failures failures"
[ "$checks" -gt 40 ] && [ $failures -eq 0 ]
