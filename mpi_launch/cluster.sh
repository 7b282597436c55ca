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
clock_limit=5

usage() {
  cat <<'TEXT'
Usage: mpi_launch/cluster.sh --hostfile HOSTS [OPTIONS] -- COMMAND...
Starts `cos2p COMMAND...` on the hosts of a file: rank 0, on the first host, is the server, the others are workers.

      --hostfile HOSTS  a line for each host, as Open MPI's hostfiles: its name and slots=RANKS (default 1; of the first host one
                        more than its workers). A line may also have device=BUDGET (what its clients may use: orin-nano, 2GiB, 0.5,
                        board.json) and data=DIR (its copy of the data). # begins a comment
      --config FILE     options of the program, in TOML, under the same path on every host
      --network SUBNET  what MPI talks through, for example 192.168.1.0/24 (default: the subnets in which every host has an address of
                        its own, so not those of containers' bridges; all networks, where there is none)
      --binary FILE     the program, under the same path on every host (default: build/release/src/main/cos2p of this tree)
      --agent COMMAND   starts a command on a host: COMMAND HOST TEXT (default: ssh without passwords; COS2P_LAUNCH_AGENT)
      --check           look at the hosts and end
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
arguments="$*"

hosts=() slots=() devices=() data=()
number=0
while IFS= read -r line || [[ -n $line ]]; do
  number=$((number + 1))
  read -r -a words <<<"$(sed -E 's/#.*//; s/ *= */=/g' <<<"$line")"
  [[ ${#words[@]} -gt 0 ]] || continue
  [[ ${words[0]} =~ ^[A-Za-z0-9._-]+$ ]] || refuse "$hostfile, line $number: '${words[0]}' is no host name, write: HOST slots=2 device=orin-nano data=/data"
  hosts+=("${words[0]}") slots+=(1) devices+=("") data+=("")
  for word in "${words[@]:1}"; do
    case $word in
      slots=* | max_slots=* | max-slots=*)
        [[ ${word#*=} =~ ^[1-9][0-9]{0,3}$ ]] || refuse "$hostfile, line $number: '$word' is no number of ranks, write for example slots=2"
        if [[ $word == slots=* ]]; then slots[-1]=${word#*=}; fi
        ;;
      device=*) devices[-1]=${word#*=} ;;
      data=*) data[-1]=${word#*=} ;;
      *) refuse "$hostfile, line $number: '$word' is not understood (known: slots=, device=, data=), correct it" ;;
    esac
  done
done <"$hostfile"
[[ ${#hosts[@]} -gt 0 ]] || refuse "$hostfile names no host (it has only comments), write one host a line"
for i in "${!hosts[@]}"; do
  if [[ -n ${data[i]} ]] && says data-dir; then
    refuse "$hostfile gives ${hosts[i]} a data=DIR and the command a --data-dir (which would hold for all hosts), give one of them"
  fi
  if [[ -n ${devices[i]} ]] && { says budgets || says memory-budget || says fleet; }; then
    refuse "$hostfile gives ${hosts[i]} a device= and the command --budgets or --fleet (both say what clients may use), give one of them"
  fi
  # A measured profile lies where this script runs; the hosts get what it says.
  if [[ ${devices[i]} == *.json ]]; then
    devices[i]=$(python3 -c '
import json, sys
p = json.load(open(sys.argv[1]))
print("{name}:flops={flops:.6g};memory={memory_bytes};bandwidth={bandwidth_bytes_per_s:.6g};link={link_bytes_per_s:.6g}".format(**p))' \
      "${devices[i]}" 2>/dev/null) || refuse "$hostfile: the profile of ${hosts[i]} cannot be read, make it with: cos2p doctor --calibrate FILE.json"
  fi
done
ranks=0
for n in "${slots[@]}"; do ranks=$((ranks + n)); done
[[ $ranks -ge 2 ]] || refuse "$hostfile has one rank (a server needs at least one worker), give the host slots=2 or add a host"

on_host() {  # HOST TEXT: a shell command there; on this machine without ssh, as mpirun does
  if ! $own_agent && [[ " localhost 127.0.0.1 $(hostname) $(hostname -f 2>/dev/null) $(hostname -I 2>/dev/null) " == *" $1 "* ]]; then
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
value_of() { sed -E "s/.* --$1[ =]([^ ]+).*/\\1/" <<<" $arguments "; }
if [[ ${#config[@]} -gt 0 ]]; then config[1]=$(realpath "${config[1]}"); fi
output=/tmp
if says output; then
  output=$(value_of output)
  if [[ $output != /* ]]; then output=$PWD/$output; fi
fi
for i in "${!hosts[@]}"; do
  {
    # Only the server, on the first host, writes there.
    trial=/tmp
    if [[ $i -eq 0 ]]; then trial=$output; fi
    look="test -x '$program' || { echo MISSING; exit 0; }; "
    wanted=${data[i]}
    if [[ -z $wanted ]] && says data-dir; then wanted=$(value_of data-dir); fi
    if [[ -n $wanted && $wanted != /* ]]; then wanted=$PWD/$wanted; fi  # mpirun starts the ranks in this directory
    if [[ -n $wanted ]]; then look+="ls -A '$wanted' 2>/dev/null | grep -q . || echo 'NODATA $wanted'; "; fi
    if [[ ${#config[@]} -gt 0 ]]; then look+="test -r '${config[1]}' || echo NOCONFIG; "; fi
    date +%s >"$found/$i.begin"
    look+="ip -o -4 addr show up scope global 2>/dev/null | sed -n 's/.* inet \\([0-9./]*\\).*/ADDRESS \\1/p'; "
    look+="date +NOW=%s; '$program' doctor --this-host-only --json --output '$trial'"
    timeout 60 bash -c "$(declare -f on_host); own_agent=$own_agent; agent=$(printf %q "$agent"); on_host \"\$0\" \"\$1\"" "${hosts[i]}" "$look" \
      >"$found/$i.out" 2>"$found/$i.err" || echo "FAILED $?" >>"$found/$i.out"
    date +%s >"$found/$i.end"
  } &
done
wait

# One table: a row a host, then what is wrong and what helps. Ends with 6 where a host is not ready.
python3 - "$found" "$program" "$agent" "$clock_limit" "${#hosts[@]}" "${hosts[@]}" "${slots[@]}" "${devices[@]/#/=}" "${data[@]/#/=}" <<'PYTHON' || exit 6
import ipaddress, json, pathlib, re, sys
found, program, agent, limit, count = pathlib.Path(sys.argv[1]), *sys.argv[2:4], float(sys.argv[4]), int(sys.argv[5])
rest = sys.argv[6:]
hosts, slots, devices, data = (rest[i * count:(i + 1) * count] for i in range(4))
rows, wrong, first, bad = [], [], None, False
columns = ["host", "ranks", "device", "version", "architecture", "MPI", "Torch", "HDF5", "CPU", "BLAS", "GPU", "memory", "clock", "data", ""]
def size(text):  # "2GiB", "22.1 GiB available of ..."; None where it is no size
    match = re.match(r"([0-9.]+) ?([KMGT]i?)?B\b", text)
    units = {"": 1, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
    return float(match[1]) * units[match[2] or ""] if match else None
for i, host in enumerate(hosts):
    out = (found / f"{i}.out").read_text(errors="replace")
    err = (found / f"{i}.err").read_text(errors="replace").strip()
    row = dict.fromkeys(columns, "?")
    row.update({"host": host, "ranks": slots[i], "device": devices[i][1:] or "-", "data": data[i][1:] or "-", "": "OK"})
    def fails(what, cure, verdict="FAILS"):
        global bad
        bad = bad or verdict == "FAILS"
        if row[""] != "FAILS": row[""] = verdict
        wrong.append(f"{host}: {what}\n    -> {cure}")
    rows.append(row)
    if "MISSING" in out.split("\n"):
        fails(f"{program} is not there", "build or copy the program there, under the same path, or name it with --binary")
        continue
    start = out.find("{")
    try:
        report = json.loads(out[start:out.rindex("}") + 1])
        rank = report["ranks"][0]
    except (ValueError, LookupError):
        said = (err or out.replace("\n", " ")).splitlines()
        code = out.split("FAILED ")[-1].strip() if "FAILED" in out else "0"
        fails(f"cannot be reached, or the program does not start there (code {code}{': ' + said[-1] if said else ''})",
              f"try by hand: {agent} {host} '{program} doctor'; mpi_launch/README.md says how to set up ssh without passwords")
        continue
    row["version"], row["architecture"] = report["version"], rank["architecture"].split(",")[0]
    row["MPI"], row["Torch"], row["HDF5"] = (text.split()[-1] for text in rank["libraries"].split(", "))
    # What clients there may use must be there; shares of the full model are known to the program alone.
    budget, workers = size(row["device"]), int(slots[i]) - (i == 0)
    free = next((size(finding["value"]) for finding in rank["findings"] if finding["check"] == "memory"), None)
    if budget and free and budget * workers > free:
        fails(f"{free / 2**30:.1f} GiB of memory are free, and its {workers} clients may use {budget * workers / 2**30:.1f} GiB (device={row['device']})",
              "end other programs there, or give the host a smaller device= or fewer slots= (swap is not counted)")
    for finding in rank["findings"]:
        name = finding["check"]
        if name in ("CPU", "BLAS", "GPU", "memory"):
            row[name] = finding.get("brief") or finding["value"]
        if finding["verdict"] != "ok" and not (i > 0 and name == "output"):
            fails(f"{name}: {finding['value']}", finding["cure"], "FAILS" if finding["verdict"] == "bad" else "warning")
    for line in out.split("\n"):
        if line.startswith("NODATA "):
            row["data"] = line[7:] + " (missing)"
            fails(f"{line[7:]} cannot be read, or is empty", "copy the data there, or correct data= in the host file (or --data-dir)")
    if "NOCONFIG" in out.split("\n"):
        fails("the file of --config cannot be read", "copy it there, under the same path")
    now = [line for line in out.split("\n") if line.startswith("NOW=")]
    begin, end = (float((found / f"{i}.{name}").read_text()) for name in ("begin", "end"))
    off = max(float(now[0][4:]) - end, 0) + min(float(now[0][4:]) - begin, 0) if now else 0
    row["clock"] = f"{off:+.0f} s" if now else "?"
    if abs(off) > limit:
        fails(f"its clock is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} this host's", "set it (timedatectl set-ntp true): logs cannot be compared", "warning")
    if first is None:
        first = (host, report["version"], rank["architecture"], rank["libraries"])
    elif report["version"] != first[1]:
        fails(f"has version {report['version']}, {first[0]} has {first[1]}", "install the same version on all hosts")
    elif rank["architecture"] != first[2]:
        fails(f"is {rank['architecture']}; {first[0]} is {first[2]}",
              "ranks of one mpirun are of one architecture: leave it out here, and let it join the run (mpi_launch/join.sh)")
    elif rank["libraries"] != first[3]:
        mpi = [text.split(",")[0].rsplit(".", 2)[0] for text in (rank["libraries"], first[3])]
        fails(f"has {rank['libraries']}; {first[0]} has {first[3]}", "install the same packages",
              "FAILS" if mpi[0] != mpi[1] else "warning")
# Subnets of all hosts in which no two have the same address, unless they are all that there is.
subnets = []
for i in range(count):
    lines = (found / f"{i}.out").read_text(errors="replace").splitlines()
    addresses = [ipaddress.ip_interface(line.split()[1]) for line in lines if line.startswith("ADDRESS ")]
    subnets.append({address.network: address.ip for address in addresses})
shared = [net for net in subnets[0] if all(net in other for other in subnets) and len({other[net] for other in subnets}) == count]
if count > 1 and shared and any(net not in shared for other in subnets for net in other):
    (found / "network").write_text(",".join(map(str, shared)))
widths = {c: max(len(c), *(len(str(row[c])) for row in rows)) for c in columns}
for row in [dict(zip(columns, columns))] + rows:
    print("  " + "  ".join(str(row[c]).ljust(widths[c]) for c in columns).rstrip())
for text in wrong: print(text)
if bad: print("cluster.sh: not started: a host is not ready (FAILS)")
sys.exit(bad)
PYTHON
if $check_only; then exit 0; fi
if [[ -z $network && -r $found/network ]]; then network=$(<"$found/network"); fi

# A context for each host, so that each may have its own data. Clients have their host's budget, in the order of the ranks.
line=(mpirun --enable-recovery --bind-to none)
if $own_agent; then line+=(--mca plm_rsh_agent "$agent"); fi
if [[ -n $network ]]; then line+=(--mca btl_tcp_if_include "$network" --mca oob_tcp_if_include "$network"); fi
budgets=()
for i in "${!hosts[@]}"; do
  workers=${slots[i]}
  if [[ $i -eq 0 ]]; then workers=$((workers - 1)); fi
  for ((w = 0; w < workers; w++)); do budgets+=("${devices[i]:-1}"); done
done
given=()
named=$(IFS=; echo "${devices[*]}")
if [[ $1 == train && -n $named ]] && ! says resume; then given=(--budgets "$(IFS=,; echo "${budgets[*]}")"); fi
command=$1
shift
variables=(-x COS2P_EXIT_CODE_FILE -x COS2P_SERVER_PID_FILE -x COS2P_RECOVERY_ENABLED -x COS2P_TERMINAL)
for i in "${!hosts[@]}"; do
  if [[ $i -gt 0 ]]; then line+=(:); fi
  line+=(--host "${hosts[i]}:${slots[i]}" -n "${slots[i]}" "${variables[@]}")
  if [[ -n ${data[i]} ]]; then line+=(-x "COS2P_DATA_DIR=${data[i]}"); fi
  line+=("$program" "$command" "${config[@]}" "${given[@]}" "$@")
done

rm -rf "$found"
# shellcheck source=mpi_launch/job.sh
source "$here/job.sh"
# shellcheck disable=SC2317  # called by run_job
on_server() { on_host "${hosts[0]}" "$1"; }
run_job cluster.sh "${line[@]}"
