# Disks that fail while checkpoints are written: full, over a quota, turned read-only. The run goes on and says so, and the last good checkpoint stays.
source "$(dirname "$0")/lib.sh"
mkdir full quota readonly
mount -t tmpfs -o size=320k tmpfs full 2>/dev/null || { echo "skipped: mounting a small tmpfs needs root"; exit 77; }
trap 'umount -l "$PWD"/{full,quota,readonly} 2>/dev/null' EXIT
skipped=""

# whole DIRECTORY: the checkpoint that was good before still is, and nothing half-written lies beside it.
whole() {
  expect 0 "block_00" "$COS2P_BINARY" inspect "$1/latest"
  # (nothing can be removed from what is read-only)
  [ "$1" = readonly/run ] || ! ls "$1"/.*.part >/dev/null 2>&1 || bad "a half-written file was left behind in $1"
}

expect 6 "the last checkpoint could not be written" "$COS2P_BINARY" train --transport in-process "${TINY[@]}" --policy sync --rounds 30 --output full/run
grep -q "round   30/30" out.txt || bad "the run did not go on: $(tail -5 out.txt)"
grep -q "No space left on device" out.txt || bad "it was not said that the disk is full: $(tail -5 out.txt)"
whole full/run

truncate -s 128M quota.img
if mkfs.btrfs --quiet --mixed quota.img >/dev/null 2>&1 && mount -o loop quota.img quota 2>/dev/null && btrfs quota enable quota &&
  btrfs subvolume create quota/mine >/dev/null && btrfs qgroup limit 700K quota/mine; then
  expect 6 "the last checkpoint could not be written" "$COS2P_BINARY" train --transport in-process "${TINY[@]}" --policy sync --rounds 30 --output quota/mine/run
  grep -q "round   30/30" out.txt || bad "over its quota the run did not go on: $(tail -5 out.txt)"
  grep -q "Disk quota exceeded" out.txt || bad "the quota was not named: $(tail -5 out.txt)"
  whole quota/mine/run
else
  skipped+=" the quota (needs btrfs-progs and loop devices);"
fi

# A file system that finds an error in itself takes nothing more, open files or not.
truncate -s 16M readonly.img
device() { findmnt --noheadings --output SOURCE readonly | xargs basename; }
if mkfs.ext4 -q readonly.img 2>/dev/null && mount -o loop,errors=remount-ro readonly.img readonly 2>/dev/null && [ -w "/sys/fs/ext4/$(device)/trigger_fs_error" ]; then
  bash "$LAUNCH" -n 3 -- train "${TINY[@]}" --rounds 300 --output readonly/run >readonly.txt 2>&1 &
  launcher=$!
  wait_for 60 test -e readonly/run/latest || bad "the run did not start: $(tail -5 readonly.txt)"
  echo "tried by a test" >"/sys/fs/ext4/$(device)/trigger_fs_error"
  wait $launcher
  code=$?
  [ $code -eq 6 ] || bad "with a disk that is read-only the run ended with $code: $(tail -5 readonly.txt)"
  grep -q "round  300/300" readonly.txt || bad "with a disk that is read-only the run did not go on: $(tail -5 readonly.txt)"
  grep -q "Read-only file system" readonly.txt || bad "it was not said that the disk is read-only: $(grep -i checkpoint readonly.txt | head -3)"
  whole readonly/run
else
  skipped+=" the read-only file system (needs loop devices and ext4);"
fi
[ -z "$skipped" ] || echo "skipped:$skipped"
[ $failures -gt 0 ] || [ -z "$skipped" ] || exit 77
finish
