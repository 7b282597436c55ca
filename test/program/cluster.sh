# mpi_launch/cluster.sh over several hosts (network namespaces): the table of the hosts, what is not ready, a run, a signal, a killed worker.
if [[ -z ${COS2P_HOSTS:-} ]]; then
  exec bash "$2/test/harness/netns_hosts.sh" --hosts 3 -- bash "$0" "$@"
fi
source "$(dirname "$0")/lib.sh"
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE
IFS=, read -r -a host <<<"$COS2P_HOSTS"
cluster=("$COS2P_ON_HOST" "${host[0]}" bash "$SOURCE/mpi_launch/cluster.sh" --agent "$COS2P_AGENT")
mkdir data empty
echo 1 >data/file
cat >hosts <<TEXT
# the server and a worker beside it
${host[0]} slots=2 device=1
${host[1]} device=0.7 data=$PWD/data   # the others
${host[2]} max_slots=4 device=0.5
TEXT
sed -E 's/ data=[^ ]*//; s/=/ = /g' hosts >hosts-plain
expect 0 "^  host " "${cluster[@]}" --hostfile hosts-plain --check
expect 0 "^  host " "${cluster[@]}" --hostfile hosts --check
[ "$(grep -cE "^  c2p.* (OK|warning)$" out.txt)" -eq 3 ] || bad "not a row for each of three hosts: $(cat out.txt)"
grep -qE "${host[1]} +1 +0.7 .*$PWD/data" out.txt || bad "ranks, device or data are not in the table: $(cat out.txt)"

# What is wrong is named with its host and a cure, and nothing is started.
sed "s|$PWD/data|/nowhere|" hosts >no-data
expect 6 "/nowhere cannot be read" "${cluster[@]}" --hostfile no-data -- train --rounds 1 --output no-run
[ -e no-run ] && bad "a run was started without its data"
expect 6 "$PWD/empty cannot be read, or is empty" "${cluster[@]}" --hostfile hosts-plain -- train --data-dir "$PWD/empty" --rounds 1 --output no-run
expect 6 "$PWD/empty cannot be read, or is empty" "${cluster[@]}" --hostfile hosts-plain -- train --data-dir empty --rounds 1 --output no-run
expect 6 "is not there" "${cluster[@]}" --hostfile hosts --binary /nowhere/cos2p -- train
{ cat hosts; echo "no-such-host"; } >unknown
expect 6 "no-such-host: cannot be reached" "${cluster[@]}" --hostfile unknown -- train
# differs CODE TEXT SED: what the last host says of itself is another thing.
differs() {
  cat >other <<TEXT
#!/bin/sh
case "\$(hostname)" in
  ${host[2]}) "$COS2P_BINARY" "\$@" | sed -E '$3' ;;
  *) exec "$COS2P_BINARY" "\$@" ;;
esac
TEXT
  chmod +x other
  expect "$1" "${host[2]}: $2" "${cluster[@]}" --hostfile "${hostfile:-hosts}" --binary other --check
}
differs 6 "has version 0.0.1, ${host[0]} has" 's/"version": "[^"]*"/"version": "0.0.1"/'
differs 6 "is aarch64, little endian; ${host[0]} is" 's/"architecture": "[^"]*"/"architecture": "aarch64, little endian"/'
differs 6 "is ppc64, big endian; ${host[0]} is" 's/"architecture": "[^"]*"/"architecture": "ppc64, big endian"/'
differs 6 "has Open MPI 3.1.0, .*; ${host[0]} has Open MPI" 's/Open MPI [0-9.]+,/Open MPI 3.1.0,/'
differs 0 "has Open MPI .*HDF5 1.8.0; ${host[0]} has" 's/HDF5 [0-9.]+/HDF5 1.8.0/'
grep -qE "^  ${host[2]} .* 1\.8\.0 .* warning" out.txt || bad "another HDF5 is not in the table: $(cat out.txt)"
sed 's/device=0.5/device=2GiB/' hosts >sized
hostfile=sized differs 6 "1.0 GiB of memory are free, and its 1 clients may use 2.0 GiB" 's/"value": "[^"]* available of/"value": "1.0 GiB available of/'
expect 0 "^  host " "${cluster[@]}" --hostfile sized --check
# A clock that is an hour behind.
cat >behind <<TEXT
#!/bin/sh
case "\$1" in
  ${host[1]}) exec "$COS2P_AGENT" "\$1" "\$(printf '%s' "\$2" | sed 's/date +NOW=%s/date -d -1hour +NOW=%s/')" ;;
  *) exec "$COS2P_AGENT" "\$@" ;;
esac
TEXT
chmod +x behind
expect 0 "${host[1]}: its clock is 3[56][0-9][0-9] s behind" "$COS2P_ON_HOST" "${host[0]}" bash "$SOURCE/mpi_launch/cluster.sh" --agent "$PWD/behind" --hostfile hosts --check
grep -qE "^  ${host[1]} .* -3[56][0-9][0-9] s .* warning" out.txt || bad "the clock is not in the table: $(cat out.txt)"
for line in "a b" "a slots=x" "a slots=0" "a speed=3" "a;b" "# nothing"; do
  echo "$line" >broken
  expect 2 "broken" "${cluster[@]}" --hostfile broken -- train
done
echo a >alone
expect 2 "has one rank" "${cluster[@]}" --hostfile alone -- train
expect 2 "cannot be read" "${cluster[@]}" --hostfile missing -- train
expect 2 "a data=DIR and the command a --data-dir" "${cluster[@]}" --hostfile hosts -- train --data-dir d
expect 2 "a device= and the command --budgets or --fleet" "${cluster[@]}" --hostfile hosts -- train --memory-budget 1
echo "a slots=2 device=nothing.json" >no-profile
expect 2 "the profile of a cannot be read" "${cluster[@]}" --hostfile no-profile -- train
expect 2 "no command" "${cluster[@]}" --hostfile hosts
expect 2 "unknown option '--fast'" "${cluster[@]}" --hostfile hosts --fast -- train

# A run: the budgets of the hosts, the exact line, the server's exit code, and a doctor over all of them.
run=("${TINY[@]/--budgets/}")
run=("${run[@]/1,0.7,0.5/}")
options=()
for word in "${run[@]}"; do [ -n "$word" ] && options+=("$word"); done
expect 0 "checkpoint:" "${cluster[@]}" --hostfile hosts -- train "${options[@]}" --rounds 3 --quiet --output run
grep -q "cluster.sh: mpirun --enable-recovery .*--budgets 1.*0.7.*0.5" out.txt || bad "the line or the budgets are not shown: $(head -9 out.txt)"
grep -qE '^2 +0.5 ' out.txt || bad "client 2 has not its host's budget: $(cat out.txt)"
expect 0 "4 ranks, one-sided through" "${cluster[@]}" --hostfile hosts -- doctor --output run
expect 2 "cannot be '0'" "${cluster[@]}" --hostfile hosts -- train "${options[@]}" --rounds 0 --output refused
# One host without its data ends the job in words, whatever the others have.
expect 2 "worker 2 on ${host[1]}: --data-dir is missing\|worker 3 on ${host[2]}: --data-dir is missing\|error .*--data-dir is missing" "${cluster[@]}" --hostfile hosts -- train --dataset fashion-mnist --rounds 3 --output refused
expect 2 "holds the checkpoints of an earlier run" "${cluster[@]}" --hostfile hosts -- train "${options[@]}" --rounds 3 --output run

# A bridge for containers has the same address on every host: MPI would wait for itself there.
for h in "${host[@]}"; do
  "$COS2P_ON_HOST" "$h" ip link add docker0 type bridge
  "$COS2P_ON_HOST" "$h" ip addr add 172.17.0.1/16 dev docker0
  "$COS2P_ON_HOST" "$h" ip link set docker0 up
done
expect 0 "checkpoint:" "${cluster[@]}" --hostfile hosts -- train "${options[@]}" --rounds 2 --quiet --output bridged
grep -q "btl_tcp_if_include 10\.[0-9./]* " out.txt || bad "the network is not chosen: $(head -9 out.txt)"
expect 0 "checkpoint:" "${cluster[@]}" --hostfile hosts --network "$(sed -n 's/.*btl_tcp_if_include \([0-9./]*\).*/\1/p' out.txt)" -- train "${options[@]}" --rounds 2 --quiet --output named
for h in "${host[@]}"; do "$COS2P_ON_HOST" "$h" ip link delete docker0; done

# A profile that lies here is told to all hosts; a resumed run keeps its budgets.
cat >board.json <<TEXT
{"name": "board", "flops": 1e10, "memory_bytes": 8000000000, "bandwidth_bytes_per_s": 1e10, "link_bytes_per_s": 1e8}
TEXT
sed 's/device=1/device=board.json/' hosts >profiled
expect 0 "checkpoint:" "${cluster[@]}" --hostfile profiled -- train "${options[@]}" --rounds 2 --quiet --output profiled-run
grep -qE '^0 +board ' out.txt || bad "client 0 has not the measured profile: $(cat out.txt)"
expect 0 "checkpoint:" "${cluster[@]}" --hostfile hosts -- train --resume profiled-run --rounds 3 --quiet

# SIGTERM to the script ends the server on its host in order; a killed worker does not end the job. Through an agent, and through ssh,
# with which this host is not asked (here a script that takes its options and uses the agent).
mkdir ssh
cat >ssh/ssh <<TEXT
#!/usr/bin/env bash
while [[ \$1 == -* ]]; do
  if [[ \$1 == -o ]]; then shift; fi
  shift
done
exec "$COS2P_AGENT" "\$@"
TEXT
chmod +x ssh/ssh
through_ssh=("$COS2P_ON_HOST" "${host[0]}" env PATH="$PWD/ssh:$PATH" bash "$SOURCE/mpi_launch/cluster.sh")
expect 0 "^  host " "${through_ssh[@]}" --hostfile hosts --check
for way in agent ssh; do
  long=long-$way
  if [ $way = ssh ]; then cluster=("${through_ssh[@]}"); fi
  "${cluster[@]}" --hostfile hosts -- train "${options[@]}" --rounds 100000 --output $long >$long.txt 2>&1 &
  job=$!
  wait_for 60 test -e $long/latest || bad "$way: the long run has no checkpoint after 60 s: $(tail -5 $long.txt)"
  script=$(pgrep -f "mpi_launch/cluster.sh .*--output $long" | head -1)
  worker=$(ip netns pids "${host[2]}" | while read -r pid; do grep -qsz -- "$(basename "$COS2P_BINARY")" "/proc/$pid/cmdline" && echo "$pid"; done | tail -1)
  kill -KILL "$worker"
  before=$(readlink $long/latest)
  wait_for 60 bash -c "[ \"\$(readlink $long/latest)\" != '$before' ]" || bad "$way: the run stands still after a worker was killed: $(tail -5 $long.txt)"
  kill -TERM "$script"
  wait $job
  code=$?
  [ $code -eq 0 ] || bad "$way: SIGTERM: the script ended with $code: $(tail -5 $long.txt)"
  grep -q "stopped on request" $long.txt || bad "$way: SIGTERM: the server did not end in order: $(tail -5 $long.txt)"
done
finish
