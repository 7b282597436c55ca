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
grep -qE "^  ${host[1]} .* /nowhere \(missing\)! +FAILS$" out.txt || bad "missing data are not marked: $(cat out.txt)"
[ -e no-run ] && bad "a run was started without its data"
expect 6 "$PWD/empty cannot be read, or is empty" "${cluster[@]}" --hostfile hosts-plain -- train --data-dir "$PWD/empty" --rounds 1 --output no-run
expect 6 "$PWD/empty cannot be read, or is empty" "${cluster[@]}" --hostfile hosts-plain -- train --data-dir empty --rounds 1 --output no-run
expect 6 "is not there" "${cluster[@]}" --hostfile hosts --binary /nowhere/cos2p -- train
[ "$(grep -cE "^  c2p.* \?! .* FAILS$" out.txt)" -eq 3 ] || bad "missing programs are not marked: $(cat out.txt)"
{ cat hosts; echo "no-such-host"; } >unknown
expect 6 "no-such-host: cannot be reached" "${cluster[@]}" --hostfile unknown -- train
grep -qE "^  no-such-host! .* FAILS$" out.txt || bad "a host that cannot be reached is not marked: $(cat out.txt)"
# differs CODE TEXT SED [COMMAND...]: what the last host says of itself is another thing.
differs() {
  cat >other <<TEXT
#!/bin/sh
case "\$(hostname)" in
  ${host[2]}) "$COS2P_BINARY" "\$@" | sed -E '$3' ;;
  *) exec "$COS2P_BINARY" "\$@" ;;
esac
TEXT
  chmod +x other
  expect "$1" "${host[2]}: $2" "${cluster[@]}" --hostfile "${hostfile:-hosts}" --binary other --check "${@:4}"
}
differs 6 "has version 0.0.1, ${host[0]} has" 's/"version": "[^"]*"/"version": "0.0.1"/'
differs 6 "is aarch64, little endian; ${host[0]} is" 's/"architecture": "[^"]*"/"architecture": "aarch64, little endian"/'
differs 6 "is ppc64, big endian; ${host[0]} is" 's/"architecture": "[^"]*"/"architecture": "ppc64, big endian"/'
differs 6 "has Open MPI 3.1.0, .*; ${host[0]} has Open MPI" 's/Open MPI [0-9.]+,/Open MPI 3.1.0,/'
differs 0 "has Open MPI .*HDF5 1.8.0; ${host[0]} has" 's/HDF5 [0-9.]+/HDF5 1.8.0/'
grep -qE "^  ${host[2]} .* 1\.8\.0! .* warning" out.txt || bad "another HDF5 is not marked in the table: $(cat out.txt)"
# A run's options without its budgets.
run=("${TINY[@]/--budgets/}")
run=("${run[@]/1,0.7,0.5/}")
options=()
for word in "${run[@]}"; do [ -n "$word" ] && options+=("$word"); done
# Memory: what clients may use is known of sizes and devices at once, of shares when a command names the model. Swap is not counted.
scarce='s/"value": "[^"]* available of [^,]*, swap [^"]*"/"value": "1.0 GiB available of 8.0 GiB, swap 64.0 GiB"/'
sed 's/device=0.5/device=2GiB/' hosts >sized
sed 's/device=0.5/device=orin-nano slots=2/' hosts >profiled
sed 's/device=[^ ]*//' hosts >unsaid
hostfile=sized differs 6 "1.0 GiB of memory are free, and its clients may use 2.0 GiB (1 x 2GiB)" "$scarce"
hostfile=profiled differs 6 "1.0 GiB of memory are free, and its clients may use 11.4 GiB (2 x orin-nano)" "$scarce"
grep -qE "^  ${host[2]} .* 11\.4 GiB! .* FAILS$" out.txt || bad "too little memory is not marked in the table: $(cat out.txt)"
hostfile=unsaid differs 6 "1.0 GiB of memory are free, and its clients may use 5.7 GiB (1 x orin-nano)" "$scarce" train "${options[@]}" --budgets 1,0.7,orin-nano --rounds 1
printf '1 me@here\n0.7\n2GiB you@there.example\n' >fleet
hostfile=unsaid differs 6 "1.0 GiB of memory are free, and its clients may use 2.0 GiB (1 x 2GiB)" "$scarce" train --fleet fleet --rounds 1
# A worker's largest client counts: clients 2 and 5 are the last one's, and client 5 waits for a newcomer.
printf '1\n0.7\n0.5\n1\n1\n16GiB\n' >fleet
hostfile=unsaid differs 6 "1.0 GiB of memory are free, and its clients may use 16.0 GiB (1 x 16GiB)" "$scarce" train --fleet fleet
expect 0 "^  host " "${cluster[@]}" --hostfile unsaid --check -- train --fleet fleet --accept-joins --open-seats 1
grep -q "16.0 GiB" out.txt && bad "a client that waits for a newcomer was counted: $(cat out.txt)"
echo 'budgets = ["1", "0.7", "4GiB"]
clients = 0' >config.toml
expect 6 "${host[2]}: 1.0 GiB of memory are free, and its clients may use 4.0 GiB (1 x 4GiB)" "${cluster[@]}" --hostfile unsaid --binary other --check --config config.toml
grep -q "may use ?: shares of a model that no command names yet" out.txt || bad "shares without a model are not said: $(cat out.txt)"
expect 0 "^  host " "${cluster[@]}" --hostfile unsaid --check --config config.toml -- train --rounds 1
grep -qE "^(may use \?|what clients)" out.txt && bad "the model's shares are not known: $(cat out.txt)"
expect 0 "^may use ?: .*(--dataset hdf5)" "${cluster[@]}" --hostfile unsaid --check -- train --dataset hdf5 --budgets 1,0.7,2GiB
grep -qE "^  ${host[2]} .* 2\.0 GiB .* OK$" out.txt || bad "a size needs a model: $(cat out.txt)"
echo 'image = "96x96x3"' >config.toml
expect 0 "^  host " "${cluster[@]}" --hostfile unsaid --check --config config.toml -- train --dataset hdf5 --budgets 1,0.7,0.5
grep -q "^may use ?" out.txt && bad "the model of an image size is not known: $(cat out.txt)"
# What the planner cannot say is marked, with its words: nothing passes in silence.
expect 0 "was not compared with the memory (cos2p: .*nonsense.*)" "${cluster[@]}" --hostfile unsaid --check -- train --budgets 1,nonsense
[ "$(grep -cE "^  c2p.* \?! .* warning$" out.txt)" -eq 3 ] || bad "an unknown budget is not marked on each host: $(cat out.txt)"
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
grep -qE "^  ${host[1]} .* -3[56][0-9][0-9] s! .* warning" out.txt || bad "the clock is not marked in the table: $(cat out.txt)"
for line in "a b" "a slots=x" "a slots=0" "a speed=3" "a;b" "a@b@c" "@a" "m;e@a" "# nothing"; do
  echo "$line" >broken
  expect 2 "broken" "${cluster[@]}" --hostfile broken -- train
done
# A host on several lines is one host, with one user and one copy of the data.
echo "me.too@a slots=2" >broken
expect 2 "the user of 'me.too@a' has a point in its name" "${cluster[@]}" --hostfile broken -- train
printf 'me@a\na\n' >broken
expect 2 "broken, line 2: 'a' is 'me@a' of a line before" "${cluster[@]}" --hostfile broken -- train
printf 'a data=/one\na data=/two\n' >broken
expect 2 "broken, line 2: data=/two of a is data=/one in a line before" "${cluster[@]}" --hostfile broken -- train
echo a >alone
expect 2 "has one rank" "${cluster[@]}" --hostfile alone -- train
expect 2 "cannot be read" "${cluster[@]}" --hostfile missing -- train
expect 2 "a data=DIR and the command, or its --config, a data-dir" "${cluster[@]}" --hostfile hosts -- train --data-dir d
echo 'data-dir = "d"' >with-data.toml
expect 2 "a data=DIR and the command, or its --config, a data-dir" "${cluster[@]}" --hostfile hosts --config with-data.toml -- train
expect 2 "a device= and the command --budgets or --fleet" "${cluster[@]}" --hostfile hosts -- train --memory-budget 1
echo "a slots=2 device=nothing.json" >no-profile
expect 2 "the profile of a cannot be read" "${cluster[@]}" --hostfile no-profile -- train
expect 2 "no command" "${cluster[@]}" --hostfile hosts
expect 2 "unknown option '--fast'" "${cluster[@]}" --hostfile hosts --fast -- train

# A run: the budgets of the hosts, the exact line, the server's exit code, and a doctor over all of them.
expect 0 "checkpoint:" "${cluster[@]}" --hostfile hosts -- train "${options[@]}" --rounds 3 --quiet --output run
grep -q "cluster.sh: mpirun --enable-recovery .*--budgets 1.*0.7.*0.5" out.txt || bad "the line or the budgets are not shown: $(head -9 out.txt)"
grep -qE '^2 +0.5 ' out.txt || bad "client 2 has not its host's budget: $(cat out.txt)"
expect 0 "4 ranks, one-sided through" "${cluster[@]}" --hostfile hosts -- doctor --output run
expect 2 "cannot be '0'" "${cluster[@]}" --hostfile hosts -- train "${options[@]}" --rounds 0 --output refused
# One host without its data ends the job in words, whatever the others have.
expect 2 "worker 2 on ${host[1]}: --data-dir is missing\|worker 3 on ${host[2]}: --data-dir is missing\|error .*--data-dir is missing" "${cluster[@]}" --hostfile hosts -- train --dataset fashion-mnist --rounds 3 --output refused
expect 2 "holds the checkpoints of an earlier run" "${cluster[@]}" --hostfile hosts -- train "${options[@]}" --rounds 3 --output run

# Hosts on several lines, as Open MPI's host files have them without slots=, and as it refuses them with it; as other users, of which mpirun
# tells the agent.
cat >as-user <<TEXT
#!/bin/sh
echo "\$1 \$2" >>"$PWD/entered"
where=\${1#*@} && shift
exec "$COS2P_AGENT" "\$where" "\$@"
TEXT
chmod +x as-user
printf '%s\n' "${host[0]}" "me@${host[1]} device=1" "${host[2]} device=0.5" "me@${host[1]} slots=2 device=0.7" >several
expect 0 "checkpoint:" "$COS2P_ON_HOST" "${host[0]}" bash "$SOURCE/mpi_launch/cluster.sh" --agent "$PWD/as-user" --hostfile several -- train "${options[@]}" --rounds 2 --quiet --output several-run
grep -qE "^  me@${host[1]} +3 +1,0.7 " out.txt || bad "the lines of a host are not one row: $(cat out.txt)"
grep -qF -- '--budgets 1\,0.7\,0.7\,0.5 ' out.txt || bad "the ranks of a host's lines have not their budgets: $(head -9 out.txt)"
grep -q "^me@${host[1]} .*orted" entered || bad "mpirun does not enter as the user: $(cat entered)"
printf '%s\n' "${host[0]}" "${host[1]}" "${host[0]}" "${host[1]}" >several
expect 0 "4 ranks, one-sided through" "${cluster[@]}" --hostfile several -- doctor --output several-run
ls -d "$COS2P_NETNS_WORK/${host[0]}"/cos2p-cluster.* >out.txt 2>&1 && bad "host files are left behind: $(cat out.txt)"

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
sed 's/device=1/device=board.json/' hosts >measured
expect 0 "checkpoint:" "${cluster[@]}" --hostfile measured -- train "${options[@]}" --rounds 2 --quiet --output measured-run
grep -qE '^0 +board ' out.txt || bad "client 0 has not the measured profile: $(cat out.txt)"
expect 0 "checkpoint:" "${cluster[@]}" --hostfile hosts -- train --resume measured-run --rounds 3 --quiet
grep -qE "^  ${host[0]} +2 +1 .* 5\.2 GiB .* OK$" out.txt || bad "the budgets of the checkpoint are not in the table: $(head -5 out.txt)"

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
