# Shared by the scripts of this directory: source it with the script's own arguments.
set -u
export COS2P_BINARY=$1
SOURCE=$2
LAUNCH="$SOURCE/mpi_launch/local.sh"
rm -rf work && mkdir work && cd work || exit 1
failures=0

# A run that takes a second or two: 3 unequal clients on the built-in data.
TINY=(--dataset synthetic --synthetic-train 240 --synthetic-test 100 --dim 32 --blocks 3 --heads 2 --feed-forward 64 --patch 7
      --batch-size 20 --partition iid --budgets 1,0.7,0.5)

bad() { echo "FAILED: $*"; failures=$((failures + 1)); }

# expect CODE TEXT COMMAND...: the command ends with CODE and says TEXT (a basic regular expression), without a crash.
expect() {
  local code=$1 text=$2
  shift 2
  timeout 90 "$@" >out.txt 2>&1
  local got=$?
  [ $got -eq "$code" ] || bad "'$*' ended with $got instead of $code: $(tail -5 out.txt)"
  grep -q -- "$text" out.txt || bad "'$*' did not say '$text' but: $(tail -5 out.txt)"
  grep -qiE 'segmentation|terminate called|core dumped' out.txt && bad "'$*' crashed: $(tail -5 out.txt)"
}

# json FILE PATH: a value from a JSON file ("exits.0.accuracy").
json() {
  python3 - "$1" "$2" <<'PY'
import json, sys
value = json.load(open(sys.argv[1]))
for key in sys.argv[2].split("."):
    value = value[int(key)] if key.lstrip("-").isdigit() else value[key]
print(value)
PY
}

# wait_for SECONDS COMMAND...: until the command succeeds.
wait_for() {
  local left=$(( $1 * 10 ))
  shift
  until "$@"; do
    left=$((left - 1))
    [ $left -gt 0 ] || return 1
    sleep 0.1
  done
}

# worker OUTPUT RANK: the process id of that rank of the job that writes there.
worker() { for pid in $(pgrep -f "$COS2P_BINARY train .*--output $1"); do
  rank=$(tr '\0' '\n' <"/proc/$pid/environ" 2>/dev/null | sed -n 's/^OMPI_COMM_WORLD_RANK=//p')
  [ "$rank" = "$2" ] && [ "$(readlink "/proc/$pid/exe")" = "$(readlink -f "$COS2P_BINARY")" ] && echo "$pid"; done; }
# rounds OUTPUT N: whether more than N rounds have closed.
rounds() { [ -f "$1/metrics.csv" ] && [ "$(wc -l <"$1/metrics.csv")" -gt "$2" ]; }
# states OUTPUT RANK: what /history/members of the newest checkpoint has of a worker, in order.
states() { "$COS2P_BINARY" inspect "$1/latest" --json | python3 -c '
import json, sys
print(*[row["state"] for row in json.load(sys.stdin)["history"]["members"] if row["worker"] == int(sys.argv[1])])' "$2"; }

finish() {
  [ $failures -eq 0 ] && echo "all passed"
  exit $((failures > 0))
}
