#!/usr/bin/env bash
# What can happen to the cable of one of the hosts of netns_hosts.sh (whose variables it needs), in both directions:
#
#   netns_link.sh HOST down | up          the cable is pulled, and put back
#   netns_link.sh HOST rate 1mbit | none  no more than that goes through; what does not fit into the queue is lost
#   netns_link.sh HOST loss 30 | none     so many percent of the packets are lost, at random
#   netns_link.sh HOST delay 5 | none     every packet arrives so many seconds later
#
# Ends with 77 and a reason where this machine's kernel cannot do that.
set -euo pipefail
host=$1 what=$2 value=${3:-}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
port=v$host

skip() {
  echo "SKIPPED: $1" >&2
  exit 77
}
inside() { ip netns exec "$host" "$@"; }

rate() {
  tc qdisc del dev "$port" root 2>/dev/null || true
  inside tc qdisc del dev eth0 root 2>/dev/null || true
  [[ $value != none ]] || return 0
  # As a switch: with a queue of 512 KB. A burst of less than a segment of 64 KB would stop the traffic.
  for at in "tc qdisc add dev $port" "inside tc qdisc add dev eth0"; do
    $at root tbf rate "$value" burst 128kb limit 512kb || skip "tc cannot limit a rate here (sch_tbf)"
  done
}

loss() {
  # Only packets that arrive: one that is dropped on its way out would tell its sender.
  inside iptables -F INPUT 2>/dev/null || true
  for other in ${COS2P_HOSTS//,/ }; do
    [[ $other == "$host" ]] || ip netns exec "$other" iptables -F INPUT 2>/dev/null || true
  done
  [[ $value != none ]] || return 0
  address=$(inside ip -4 -o addr show dev eth0 | awk '{ sub("/.*", "", $4); print $4 }')
  chance=$(awk -v p="$value" 'BEGIN { print p / 100 }')
  inside iptables -A INPUT -i eth0 -m statistic --mode random --probability "$chance" -j DROP || skip "iptables cannot drop packets at random here"
  for other in ${COS2P_HOSTS//,/ }; do
    [[ $other == "$host" ]] || ip netns exec "$other" iptables -A INPUT -s "$address" -m statistic --mode random --probability "$chance" -j DROP
  done
}

# Two bridges with a relay between them, in place of the one: the host's cable goes to the second.
delay() {
  if [[ -f $COS2P_NETNS_WORK/delay.$host ]]; then
    ip link set "$port" master "$COS2P_BRIDGE"
    kill "$(cat "$COS2P_NETNS_WORK/delay.$host")" 2>/dev/null || true
    rm "$COS2P_NETNS_WORK/delay.$host"
    ip link del "d$host" 2>/dev/null || true
  fi
  [[ $value != none ]] || return 0
  ip link add "d$host" type bridge
  ip link set "d$host" up
  setsid python3 "$here/delay.py" "a$host" "b$host" "$value" </dev/null >/dev/null 2>&1 &
  echo $! >"$COS2P_NETNS_WORK/delay.$host"
  for _ in $(seq 50); do
    ip link show "b$host" >/dev/null 2>&1 && break
    sleep 0.1
  done
  ip link set "a$host" master "$COS2P_BRIDGE" up || skip "no TAP device can be made here"
  ip link set "b$host" master "d$host" up
  ip link set "$port" master "d$host"
}

case $what in
  down | up) ip link set "$port" "$what" ;;
  rate | loss | delay) $what ;;
  *) echo "netns_link.sh: unknown action '$what'" >&2 && exit 2 ;;
esac
