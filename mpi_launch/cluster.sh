#!/usr/bin/env bash
# Starts a run over several hosts: looks at every host first, then starts mpirun.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
hostfile=""
config=()
network=""
binary=${COS2P_BINARY:-$here/../build/release/src/main/cos2p}
agent=${COS2P_LAUNCH_AGENT:-}
check_only=false

usage() {
  cat <<'TEXT'
Usage: mpi_launch/cluster.sh --hostfile HOSTS [OPTIONS] -- COMMAND...
Starts `cos2p COMMAND...` on the hosts of a file: rank 0, on the first host, is the server, the others are workers.

      --hostfile HOSTS  a line for each host, as Open MPI's hostfiles: HOST or USER@HOST, and slots=RANKS (default 1; of the first
                        host one more than its workers). A line may also have device=BUDGET (what its clients may use: orin-nano,
                        2GiB, 0.5, board.json) and data=DIR (its copy of the data). A host on several lines has the ranks of all of
                        them, each with the device= of its line. # begins a comment
      --config FILE     options of the program, in TOML, under the same path on every host
      --network SUBNET  what MPI talks through, for example 192.168.1.0/24 (default: the subnets in which every host has an address of
                        its own, so not those of containers' bridges; all networks, where there is none)
      --binary FILE     the program, under the same path on every host (default: build/release/src/main/cos2p of this tree)
      --agent COMMAND   starts a command on a host: COMMAND HOST TEXT (default: ssh without passwords; COS2P_LAUNCH_AGENT)
      --check           look at the hosts and end; with COMMAND, for this command
  -h, --help            this text; `-- train --help` shows the program's own options

Example: mpi_launch/cluster.sh --hostfile hosts --network 192.168.1.0/24 -- train --dataset fashion-mnist --data-dir data --rounds 100

Ctrl-C or SIGTERM: the server ends after at most one local round, with a checkpoint. Once more: everything ends at once.
The exit code is the server's: 0 fine, 2 usage, 3 data, 4 checkpoint, 5 no workers left, 6 environment (a host is not ready).
TEXT
}

refuse() {  # MESSAGE [EXIT CODE]
  echo "cluster.sh: $1" >&2
  exit "${2:-2}"
}

while [[ $# -gt 0 ]]; do
  case $1 in
    --hostfile | --config | --network | --binary | --agent)
      [[ $# -ge 2 ]] || refuse "$1 needs a value, see cluster.sh --help"
      if [[ $1 == --config ]]; then config=(--config "$2"); else declare "${1#--}=$2"; fi
      shift 2
      ;;
    --check) check_only=true && shift ;;
    -h | --help) usage && exit 0 ;;
    --) shift && break ;;
    -*) refuse "unknown option '$1' (options of the program come after --), see cluster.sh --help" ;;
    *) break ;;
  esac
done
[[ -n $hostfile ]] || refuse "--hostfile is missing (it names the hosts), see cluster.sh --help"
[[ -r $hostfile ]] || refuse "--hostfile $hostfile cannot be read, correct its name"
[[ $# -gt 0 ]] || $check_only || refuse "no command for the program, try: cluster.sh --hostfile $hostfile -- train"
[[ ${#config[@]} -eq 0 || -r ${config[1]} ]] || refuse "--config ${config[1]} cannot be read, correct its name"
command -v mpirun >/dev/null || refuse "mpirun was not found (Open MPI is missing), install it with: apt-get install openmpi-bin" 6

own_agent=true
if [[ -z $agent ]]; then
  own_agent=false
  agent="ssh -o BatchMode=yes -o ConnectTimeout=10"
fi
# What the program was told about the fleet, the data and the output; the hosts' file must not contradict it.
says() { [[ " $arguments " == *" --$1 "* || " $arguments " == *" --$1="* ]]; }
value_of() { sed -E "s/.* --$1[ =]([^ ]+).*/\\1/" <<<" $arguments "; }
arguments="$*"
# shellcheck source=mpi_launch/ask_plan.sh
source "$here/ask_plan.sh"

# A host of several lines is one host, whose lines' ranks add up, each with its own device: mpirun refuses it where it stands in two contexts.
hosts=() slots=() devices=() data=() shares=()
declare -A number_of=()
users=false
number=0
while IFS= read -r line || [[ -n $line ]]; do
  number=$((number + 1))
  where="$hostfile, line $number"
  read -r -a words <<<"$(sed -E 's/#.*//; s/ *= */=/g' <<<"$line")"
  [[ ${#words[@]} -gt 0 ]] || continue
  [[ ${words[0]} =~ ^([^@]*@)?[A-Za-z0-9._-]+$ ]] || refuse "$where: '${words[0]}' is no host name, write: HOST slots=2 device=orin-nano data=/data"
  host=${words[0]} user=""
  if [[ $host == *@* ]]; then
    user=${host%@*} users=true
    [[ $user != *.* ]] || refuse "$where: the user of '$host' has a point in its name (Open MPI cuts it there), give the host a name of its own in ~/.ssh/config (Host, HostName, User) and write that"
    [[ $user =~ ^[A-Za-z0-9_][A-Za-z0-9_-]*$ ]] || refuse "$where: '$user' is no user name (letters, digits, - and _), write: USER@HOST"
  fi
  ranks=1 device="" directory=""
  for word in "${words[@]:1}"; do
    case $word in
      slots=* | max_slots=* | max-slots=*)
        [[ ${word#*=} =~ ^[1-9][0-9]{0,3}$ ]] || refuse "$where: '$word' is no number of ranks, write for example slots=2"
        if [[ $word == slots=* ]]; then ranks=${word#*=}; fi
        ;;
      device=*) device=${word#*=} ;;
      data=*) directory=${word#*=} ;;
      *) refuse "$where: '$word' is not understood (known: slots=, device=, data=), correct it" ;;
    esac
  done
  # A measured profile lies where this script runs; the hosts get what it says.
  if [[ $device == *.json ]]; then
    device=$(python3 -c '
import json, sys
p = json.load(open(sys.argv[1]))
print("{name}:flops={flops:.6g};memory={memory_bytes};bandwidth={bandwidth_bytes_per_s:.6g};link={link_bytes_per_s:.6g}".format(**p))' \
      "$device" 2>/dev/null) || refuse "$hostfile: the profile of $host cannot be read, make it with: cos2p doctor --calibrate FILE.json"
  fi
  i=${number_of[${host#*@}]:-${#hosts[@]}}
  if [[ $i -eq ${#hosts[@]} ]]; then
    number_of[${host#*@}]=$i
    hosts+=("$host") slots+=("$ranks") devices+=("$device") data+=("$directory") shares+=("")
  else
    [[ $host == "${hosts[i]}" ]] || refuse "$where: '$host' is '${hosts[i]}' of a line before (a host is entered as one user), write the same on both"
    [[ -z $directory || -z ${data[i]} || $directory == "${data[i]}" ]] || refuse "$where: data=$directory of $host is data=${data[i]} in a line before (a host has one copy of the data), write one of them"
    slots[i]=$((slots[i] + ranks)) data[i]=${data[i]:-$directory}
    if [[ ",${devices[i]}," != *",$device,"* ]]; then devices[i]+=,$device; fi
  fi
  for ((n = 0; n < ranks; n++)); do shares[i]+=" ${device:-1}"; done
done <"$hostfile"
[[ ${#hosts[@]} -gt 0 ]] || refuse "$hostfile names no host (it has only comments), write one host a line"
all_data=$(COS2P_DATA_DIR="" option_of data-dir)  # a host's data= becomes this variable, which counts less than the two others
for i in "${!hosts[@]}"; do
  if [[ -n ${data[i]} && -n $all_data ]]; then
    refuse "$hostfile gives ${hosts[i]} a data=DIR and the command, or its --config, a data-dir (which would hold for all hosts), give one of them"
  fi
  if [[ -n ${devices[i]} ]] && { says budgets || says memory-budget || says fleet; }; then
    refuse "$hostfile gives ${hosts[i]} a device= and the command --budgets or --fleet (both say what clients may use), give one of them"
  fi
done
ranks=0
for n in "${slots[@]}"; do ranks=$((ranks + n)); done
[[ $ranks -ge 2 ]] || refuse "$hostfile has one rank (a server needs at least one worker), give the host slots=2 or add a host"

on_host() {  # HOST TEXT: a shell command there; on this machine without ssh and as this user, as mpirun does
  if ! $own_agent && [[ " localhost 127.0.0.1 $(hostname) $(hostname -f 2>/dev/null) $(hostname -I 2>/dev/null) " == *" ${1#*@} "* ]]; then
    bash -c "$2" </dev/null
  else  # no `return` above: called by a trap, it would return the status from before the signal
    # shellcheck disable=SC2086  # the agent is a command with its options
    $agent "$1" "$2" </dev/null
  fi
}

# What every host says about itself, side by side: the doctor's JSON, or what went wrong.
found=$(mktemp -d "${TMPDIR:-/tmp}/cos2p-cluster.XXXXXX")
trap 'rm -rf "$found"' EXIT
program=$(realpath -m "$binary")
ask() {  # HOST TEXT: on_host, for a minute at most
  timeout 60 bash -c "$(declare -f on_host); own_agent=$own_agent; agent=$(printf %q "$agent"); on_host \"\$0\" \"\$1\"" "$1" "$2"
}
if [[ ${#config[@]} -gt 0 ]]; then config[1]=$(realpath "${config[1]}"); fi
output=/tmp
if says output; then
  output=$(value_of output)
  if [[ $output != /* ]]; then output=$PWD/$output; fi
fi
ask "${hosts[0]}" "'$program' plan --help" >"$found/plan.help" 2>/dev/null &
for i in "${!hosts[@]}"; do
  printf '%s\t%s\t%s\t%s\n' "${hosts[i]}" "${slots[i]}" "${devices[i]}" "${data[i]}" >>"$found/hosts"
  {
    # Only the server, on the first host, writes there.
    trial=/tmp
    if [[ $i -eq 0 ]]; then trial=$output; fi
    look="test -x '$program' || { echo MISSING; exit 0; }; "
    wanted=${data[i]:-$all_data}
    if [[ -n $wanted && $wanted != /* ]]; then wanted=$PWD/$wanted; fi  # mpirun starts the ranks in this directory
    if [[ -n $wanted ]]; then look+="{ ls -A '$wanted' || ls -d '$wanted'-*; } 2>/dev/null | grep -q . || echo 'NODATA $wanted'; "; fi
    if [[ ${#config[@]} -gt 0 ]]; then look+="test -r '${config[1]}' || echo NOCONFIG; "; fi
    date +%s >"$found/$i.begin"
    look+="ip -o -4 addr show up scope global 2>/dev/null | sed -n 's/.* inet \\([0-9./]*\\).*/ADDRESS \\1/p'; "
    look+="date +NOW=%s; '$program' doctor --this-host-only --json --output '$trial'"
    ask "${hosts[i]}" "$look" >"$found/$i.out" 2>"$found/$i.err" || echo "FAILED $?" >>"$found/$i.out"
    date +%s >"$found/$i.end"
  } &
done
wait

# Clients have their hosts' budgets, in the order of the ranks; rank 0 is the server.
read -r -a budgets <<<"${shares[*]}"
budgets=("${budgets[@]:1}")
given=()
named=$(IFS=; echo "${devices[*]}")
if [[ ${1:-} == train && -n $named ]] && ! says resume; then given=(--budgets "$(IFS=,; echo "${budgets[*]}")"); fi

# What the clients may use, in bytes, the planner tells on the server's host.
ask_plan "$@"

# A row a host, then what is wrong and what helps. Ends with 6 where a host is not ready.
python3 "$here/hosts_table.py" "$found" "$program" "$agent" "$(option_of open-seats)" || exit 6
if $check_only; then exit 0; fi
if [[ -z $network && -r $found/network ]]; then network=$(<"$found/network"); fi

# A context for each host, so that each may have its own data. mpirun knows users from host files alone, and forgets them beside --host: then
# each context has a file of its own.
line=(mpirun --enable-recovery --bind-to none)
if $own_agent; then line+=(--mca plm_rsh_agent "$agent"); fi
if [[ -n $network ]]; then line+=(--mca btl_tcp_if_include "$network" --mca oob_tcp_if_include "$network"); fi
command=$1
shift
variables=(-x COS2P_EXIT_CODE_FILE -x COS2P_SERVER_PID_FILE -x COS2P_RECOVERY_ENABLED -x COS2P_TERMINAL)
for i in "${!hosts[@]}"; do
  if [[ $i -gt 0 ]]; then line+=(:); fi
  if $users; then
    echo "${hosts[i]} slots=${slots[i]}" >"$found/hostfile.$i"
    line+=(--hostfile "$found/hostfile.$i")
  else
    line+=(--host "${hosts[i]}:${slots[i]}")
  fi
  line+=(-n "${slots[i]}" "${variables[@]}")
  if [[ -n ${data[i]} ]]; then line+=(-x "COS2P_DATA_DIR=${data[i]}"); fi
  line+=("$program" "$command" "${config[@]}" "${given[@]}" "$@")
done

# shellcheck source=mpi_launch/job.sh
source "$here/job.sh"
# shellcheck disable=SC2317  # called by run_job
on_server() { on_host "${hosts[0]}" "$1"; }
job_files=$found
run_job cluster.sh "${line[@]}"
