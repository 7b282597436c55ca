#!/usr/bin/env bash
# Several hosts on one machine: a network namespace and a host name for each, joined by a bridge, so that Open MPI launches
# its daemons per host and talks TCP between them. Needs root.
#
#   netns_hosts.sh [--hosts N] [--rate 1gbit] -- COMMAND...
#
# runs COMMAND on this machine with these variables for mpirun (exported, so that a bare `mpirun -n 4 PROGRAM` in COMMAND
# spreads its ranks over the hosts), and removes everything afterwards:
#   COS2P_HOSTS       "host1,host2,..." ; COS2P_HOST_FILE names a file with one host a line
#   COS2P_ON_HOST     a script: COS2P_ON_HOST HOST COMMAND... runs COMMAND on one of the hosts
#   COS2P_AGENT       a launch agent, in place of ssh: COS2P_AGENT HOST TEXT runs TEXT in a shell there
#   COS2P_BRIDGE, COS2P_NETNS_WORK   what netns_link.sh needs to pull cables
# mpirun itself must run on a host: use `mpirun_on_hosts ARGUMENTS...` (in PATH), which starts it on the first.
# Exit code: COMMAND's, or 77 with the reason where namespaces cannot be made.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
hosts=2
rate=""
while [[ $# -gt 0 ]]; do
  case $1 in
    --hosts) hosts=$2 && shift 2 ;;
    --rate) rate=$2 && shift 2 ;;
    --) shift && break ;;
    *) echo "netns_hosts.sh: unknown argument '$1'" >&2 && exit 2 ;;
  esac
done

skip() {
  echo "SKIPPED: $1" >&2
  exit 77
}
[[ $(id -u) -eq 0 ]] || skip "several hosts on one machine need root (network namespaces)"
command -v ip >/dev/null || skip "the command 'ip' is missing (apt-get install iproute2)"
command -v mpirun >/dev/null || skip "mpirun is missing"

# Names and addresses of this run's own, so that several may run at a time.
run=$((($$ % 200) + 20))
net=10.213.$run
work=$(mktemp -d "${TMPDIR:-/tmp}/cos2p-hosts.XXXXXX")
bridge=c2pbr$run
name() { echo "c2p${run}h$1"; }

cleanup() {
  for ((i = 1; i <= hosts; i++)); do
    ip netns pids "$(name $i)" 2>/dev/null | xargs -r kill -KILL 2>/dev/null
    ip link del "v$(name $i)" 2>/dev/null
    ip netns del "$(name $i)" 2>/dev/null
    if [[ -f $work/delay.$(name $i) ]]; then
      kill "$(cat "$work/delay.$(name $i)")" 2>/dev/null
      ip link del "d$(name $i)" 2>/dev/null
    fi
    rm -rf "/etc/netns/$(name $i)"
  done
  ip link del "$bridge" 2>/dev/null
  rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 143' INT TERM

ip link add "$bridge" type bridge 2>/dev/null || skip "a bridge cannot be made (no permission for network namespaces here)"
ip link set "$bridge" up
: >"$work/hosts"
: >"$work/host_file"
names=""
for ((i = 1; i <= hosts; i++)); do
  host=$(name $i)
  echo "$net.$i $host" >>"$work/hosts"
  echo "$host slots=64" >>"$work/host_file"
  names+=${names:+,}$host
done
for ((i = 1; i <= hosts; i++)); do
  host=$(name $i)
  ip netns add "$host" || skip "a network namespace cannot be made"
  # In a chroot, for one: the root directory is no mount point there.
  ip netns exec "$host" true 2>/dev/null || skip "no program can be run in a network namespace ($(ip netns exec "$host" true 2>&1 | head -1))"
  ip link add "v$host" type veth peer name eth0 netns "$host" || skip "a veth pair cannot be made"
  ip link set "v$host" master "$bridge" up
  ip -n "$host" addr add "$net.$i/24" dev eth0
  ip -n "$host" link set eth0 up
  ip -n "$host" link set lo up
  if [[ -n $rate ]]; then "$here/netns_link.sh" "$host" rate "$rate" || exit 77; fi
  # `ip netns exec` puts these over the system's own for processes of this namespace.
  mkdir -p "/etc/netns/$host" "$work/$host"
  { echo "127.0.0.1 localhost"; cat "$work/hosts"; } >"/etc/netns/$host/hosts"
done

# HOST COMMAND...: with the namespace's network, its host name, and a directory for temporary files of its own.
cat >"$work/on_host" <<TEXT
#!/usr/bin/env bash
host=\$1
shift
exec ip netns exec "\$host" unshare --uts bash -c 'hostname "\$1"; export TMPDIR="\$2"; shift 2; exec "\$@"' on_host "\$host" "$work/\$host" "\$@"
TEXT
# What Open MPI calls in place of ssh: HOST and a command line for a shell.
cat >"$work/agent" <<TEXT
#!/usr/bin/env bash
host=\$1
shift
exec "$work/on_host" "\$host" bash -c "\$*"
TEXT
mkdir "$work/bin"
cat >"$work/bin/mpirun_on_hosts" <<TEXT
#!/usr/bin/env bash
exec "$work/on_host" "$(name 1)" mpirun --hostfile "$work/host_file" --map-by node --mca plm_rsh_agent "$work/agent" \\
  --mca btl_tcp_if_include "$net.0/24" --mca oob_tcp_if_include "$net.0/24" --bind-to none "\$@"
TEXT
chmod +x "$work/on_host" "$work/agent" "$work/bin/mpirun_on_hosts"

export PATH=$work/bin:$PATH COS2P_HOSTS=$names COS2P_HOST_FILE=$work/host_file COS2P_ON_HOST=$work/on_host COS2P_AGENT=$work/agent
export COS2P_BRIDGE=$bridge COS2P_NETNS_WORK=$work
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
"$@"
