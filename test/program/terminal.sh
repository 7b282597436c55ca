# What a person sees: a progress bar on a terminal and none elsewhere, which lines of the log never run into; and run.log keeps all that was said.
source "$(dirname "$0")/lib.sh"
command -v script >/dev/null || { echo "skipped: script is not installed (bsdutils)"; exit 77; }
on_terminal() { TERM=xterm timeout 90 script -qec "$1" typescript >out.txt 2>&1 </dev/null || bad "'$1' ended with $?: $(tail -5 out.txt)"; }
has_bar() { grep -qaE '\[[#.]{32}\] [0-9]+/[0-9]+' "$1"; }

on_terminal "$COS2P_BINARY train --transport in-process ${TINY[*]} --rounds 2 --learning-rate 1e30 --clip-norm 0 --output alone"
has_bar out.txt || bad "no progress bar on a terminal: $(tail -5 out.txt)"
grep -qa "warning.*dropped" out.txt || bad "nothing was dropped: $(tail -5 out.txt)"
# A bar is followed by a carriage return alone, with which the next line takes its place.
python3 - <<'PY' || bad "a line ran into the progress bar: $(grep -a '\[#' out.txt | head -3 | cat -v)"
import re
bars = re.findall(r"\[[#.]{32}\] ([^\r]*)", open("out.txt", newline="", errors="replace").read())
assert bars and all(re.fullmatch(r"\d+/\d+(  \d+ s left)?(  accuracy [\d.]+ %)?", bar) for bar in bars), bars
PY
on_terminal "bash $LAUNCH -n 3 -- train ${TINY[*]} --rounds 2 --output ranks"
has_bar out.txt || bad "no progress bar on a terminal beneath the launcher: $(tail -5 out.txt)"

expect 0 "checkpoint:" "$COS2P_BINARY" train --transport in-process "${TINY[@]}" --rounds 2 --output piped
has_bar out.txt && bad "a progress bar in a pipe: $(cat out.txt)"
for text in "BLAS" "model      " "round    2/2" "after round 2: test accuracy" "test accuracy of the full model" "checkpoint: piped/"; do
  for run in alone piped ranks; do
    grep -q "${text/piped/$run}" $run/run.log || bad "$run/run.log lacks '$text': $(tail -3 $run/run.log)"
  done
  grep -q "$text" out.txt || bad "the terminal lacks '$text'"
done
expect 0 "checkpoint:" "$COS2P_BINARY" train --resume piped --rounds 3 --quiet
[ "$(grep -c 'round    2/' piped/run.log)" -eq 1 ] || bad "a resumed run tells old rounds again: $(cat piped/run.log)"
grep -q "round    3/3" piped/run.log || bad "a quiet run does not keep its rounds in run.log: $(tail -3 piped/run.log)"
finish
