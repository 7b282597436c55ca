# A disk that fills while checkpoints are written: the run goes on and says so, and the last good checkpoint stays.
source "$(dirname "$0")/lib.sh"
mkdir small
mount -t tmpfs -o size=320k tmpfs small 2>/dev/null || { echo "skipped: mounting a small tmpfs needs root"; exit 77; }
trap 'umount -l "$PWD/small"' EXIT
expect 6 "the last checkpoint could not be written" "$COS2P_BINARY" train --transport in-process "${TINY[@]}" --policy sync --rounds 30 --output small/run
grep -q "round   30/30" out.txt || bad "the run did not go on: $(tail -5 out.txt)"
expect 0 "block_00" "$COS2P_BINARY" inspect small/run/latest
ls small/run/.*.part >/dev/null 2>&1 && bad "a half-written file was left behind"
finish
