# Energy per local round, where the machine tells: sensors of a Jetson that are laid over /sys in a mount namespace of this test's
# own, read by the real program. Where nothing tells the column is empty.
source "$(dirname "$0")/lib.sh"
if ! unshare --mount true 2>/dev/null; then
  echo "SKIPPED: sensors can only be laid over /sys with a mount namespace (root)" >&2
  exit 77
fi
column() { awk -F, 'NR == 1 { for (i = 1; i <= NF; ++i) if ($i == "energy_j") c = i } NR > 1 { print $c }' "$1/clients.csv"; }
# ./bare COMMAND...: with no sensor at all; ./board COMMAND...: on a board that takes 10 W.
cat >bare <<'TEXT'
#!/bin/bash
exec unshare --mount bash -c 'mount -t tmpfs none /sys/class && exec "$@"' bash "$@"
TEXT
cat >board <<'TEXT'
#!/bin/bash
exec unshare --mount bash -c '
  mount -t tmpfs none /sys/class && sensor=/sys/class/hwmon/hwmon1 && mkdir -p $sensor || exit 1
  echo ina3221 >$sensor/name && echo VDD_IN >$sensor/in1_label && echo 5000 >$sensor/in1_input && echo 2000 >$sensor/curr1_input
  exec "$@"' bash "$@"
TEXT
chmod +x bare board
expect 0 "energy  .*INA3221 VDD_IN" ./board "$COS2P_BINARY" doctor --output here
expect 0 "checkpoint:" ./board bash "$LAUNCH" -n 3 -- train "${TINY[@]}" --rounds 3 --quiet --output told
[ "$(column told | grep -cE '^[0-9]+\.[0-9]+$')" -ge 4 ] || bad "no energy in clients.csv: $(head -3 told/clients.csv)"
awk -F, 'NR == 1 { for (i = 1; i <= NF; ++i) at[$i] = i; next }
         { p = $at["energy_j"] / ($at["compute_s"] + $at["transfer_s"]); if (p < 5 || p > 100) exit 1 }' told/clients.csv ||
  bad "the energy is not that of 10 W over the local rounds: $(head -3 told/clients.csv)"
"$COS2P_BINARY" inspect told --json >told.json
[ "$(json told.json history.clients.0.energy_j)" != None ] || bad "the checkpoint has no energy"
expect 0 "energy_j" h5dump -H -d /history/clients told/latest
# A run goes on where nothing tells, with the history that has some.
expect 0 "checkpoint:" ./bare bash "$LAUNCH" -n 3 -- train --resume told --rounds 5 --quiet
[ -z "$(column told | tail -1)" ] || bad "energy where no sensor is: $(tail -1 told/clients.csv)"
[ -n "$(column told | head -1)" ] || bad "the resumed run has forgotten the energy of its first rounds"
finish
