#!/usr/bin/env bash
# A Slurm of two nodes on this machine, for as long as COMMAND runs: munged, slurmctld and slurmd of its own, in a directory of its own.
# usage: slurm_cluster.sh DIR COMMAND...
# COMMAND finds SLURM_CONF and MUNGE_SOCKET set. Ends with COMMAND's code, or with 77 where no Slurm can be started here (no root, no packages).
set -uo pipefail
directory=$(mkdir -p "$1" && cd "$1" && pwd)
shift
skip() {
  echo "skipped: $1"
  exit 77
}
[[ $(id -u) -eq 0 ]] || skip "a Slurm of its own needs root"
for program in munged slurmctld slurmd sbatch; do
  command -v "$program" >/dev/null || skip "$program was not found (mpi_launch/install_packages.sh --slurm)"
done

export MUNGE_SOCKET=$directory/munge.socket SLURM_CONF=$directory/slurm.conf
port=$((20000 + $$ % 20000))
memory=$(awk '/MemTotal/ {print int($2 / 1024 * 0.9)}' /proc/meminfo)
cat >"$SLURM_CONF" <<CONF
ClusterName=cos2p_test
SlurmctldHost=localhost
SlurmUser=root
SlurmctldPort=$port
AuthInfo=socket=$MUNGE_SOCKET
StateSaveLocation=$directory/state
SlurmdSpoolDir=$directory/spool-%n
TmpFS=$directory/tmp-%n
SlurmctldPidFile=$directory/slurmctld.pid
SlurmdPidFile=$directory/slurmd-%n.pid
SlurmctldLogFile=$directory/slurmctld.log
SlurmdLogFile=$directory/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,batch_sched_delay=0,bf_interval=1,bf_resolution=1,bf_min_age_reserve=0
ReturnToService=2
SlurmdParameters=config_overrides
KillWait=10
InactiveLimit=0
MpiDefault=none
# More processors than there are: tasks share cores here. The node with GPUs is taken last, as where GPUs are few.
GresTypes=gpu
NodeName=one NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=$((port + 1)) CPUs=16 RealMemory=$memory State=UNKNOWN
NodeName=two NodeHostname=$(hostname -s) NodeAddr=127.0.0.1 Port=$((port + 2)) CPUs=16 Gres=gpu:4 Weight=9 RealMemory=$memory State=UNKNOWN
PartitionName=all Nodes=one,two Default=YES MaxTime=INFINITE State=UP OverSubscribe=YES
CONF
# Slurm wants a file for each GPU that it counts, and looks no further.
for file in null zero full random; do echo "NodeName=two Name=gpu File=/dev/$file"; done >"$directory/gres.conf"
mkdir -p "$directory"/{state,tmp-one,tmp-two}
chmod 0755 "$directory"
head -c 1024 /dev/urandom >"$directory/munge.key" && chmod 0400 "$directory/munge.key"

munge=""
stop() {
  for name in slurmd-one slurmd-two slurmctld; do
    if [[ -r $directory/$name.pid ]]; then kill "$(<"$directory/$name.pid")" 2>/dev/null; fi
  done
  if [[ -n $munge ]]; then kill "$munge" 2>/dev/null; fi
}
trap stop EXIT
trap 'exit 143' INT TERM
munged --foreground --force --key-file="$directory/munge.key" --socket="$MUNGE_SOCKET" --pid-file="$directory/munged.pid" \
  --log-file="$directory/munged.log" --seed-file="$directory/munged.seed" >"$directory/munged.out" 2>&1 &
munge=$!
for _ in {1..50}; do [[ -S $MUNGE_SOCKET ]] && break; sleep 0.1; done
slurmctld -i >"$directory/slurmctld.out" 2>&1
for node in one two; do slurmd -N $node >"$directory/slurmd-$node.out" 2>&1; done
for _ in {1..150}; do
  if [[ $(sinfo --noheader --Node --format %T 2>/dev/null | uniq -c | tr -s ' ') == " 2 idle" ]]; then
    "$@"
    exit $?
  fi
  sleep 0.2
done
tail -n 5 "$directory"/*.log "$directory"/*.out
skip "Slurm did not come up within 30 s (its last lines are above)"
