"""The table of cluster.sh: what the hosts said of themselves, side by side, then what is wrong and what helps.

usage: hosts_table.py DIR PROGRAM AGENT OPEN_SEATS
DIR holds what cluster.sh found: hosts (name, ranks, device, data; a line each, with tabs); of host number I what it said (I.out, I.err) and
when (I.begin, I.end); what the first host said of the clients (plan.json, plan.err) and was asked (plan.asked); plan.note where that cannot
know the model. Ends with 1 where a host is not ready; writes the subnets that MPI may use to DIR/network.
"""
import collections
import ipaddress
import json
import pathlib
import re
import sys

COLUMNS = ["host", "ranks", "device", "version", "architecture", "MPI", "Torch", "HDF5", "CPU", "BLAS", "GPU", "memory", "may use", "clock", "data", ""]
CLOCK_LIMIT_S = 5
SHARE = re.compile(r"[0-9.]+%?$")  # a budget whose bytes only the model tells

found, program, agent = pathlib.Path(sys.argv[1]), *sys.argv[2:4]
rows, wrong = [], []


def text_of(name):
    path = found / name
    return path.read_text(errors="replace") if path.exists() else ""


def size(text):
    """The bytes of "22.1 GiB available of ..."; 0 where it is no size."""
    match = re.match(r"([0-9.]+) ?([KMGT]i)?B\b", text)
    powers = {None: 0, "Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40}
    return float(match[1]) * 2 ** powers[match[2]] if match else 0


def size_text(size_bytes):
    for unit, power in (("GiB", 30), ("MiB", 20)):
        if size_bytes >= 2**power:
            return f"{size_bytes / 2 ** power:.1f} {unit}"
    return f"{size_bytes / 1024:.1f} KiB"


def mark(row, columns, verdict):
    for column in columns:
        if not row[column].endswith("!"):
            row[column] += "!"
    if row[""] != "FAILS":
        row[""] = verdict


def fails(row, columns, what, cure, verdict="FAILS"):
    """Marks the cells, and says of the host what is wrong and what helps."""
    mark(row, columns, verdict)
    wrong.append(f"{row['host'].rstrip('!')}: {what}\n    -> {cure}")


def planned_clients(workers):
    """What the worker ranks' clients may use, a list of (bytes or None, budget) for each rank; or None and why there is none."""
    try:
        plan = json.loads(text_of("plan.json"))
        seats = int(sys.argv[4] or plan.get("options", {}).get("open-seats", 0))
    except ValueError:
        said = [line for line in text_of("plan.err").splitlines() if line.strip()]
        return None, said[-1] if said else "the first host did not tell"
    own = [[] for _ in range(workers)]
    # Client c is executed by worker 1 + c % workers, one of a worker's clients at a time; the last ones wait for who joins.
    for c, client in enumerate(plan["clients"][:max(len(plan["clients"]) - seats, 0)]):
        needs = client.get("memory_bytes", {}).get("total", client.get("predicted_memory_bytes", 0))
        # A plan may change while it runs, up to the budget; some methods go beyond it. Who needs nothing takes no part.
        budget = max(client.get("budget_bytes", client.get("memory_budget_bytes", 0)), needs) if needs > 0 else 0
        unknown = SHARE.match(client["budget"]) and text_of("plan.note")
        own[c % workers].append((None if unknown else budget, client["budget"].split(":")[0]))
    # With one that nobody knows, the largest is not known either.
    return [min(clients, key=lambda client: (client[0] is not None, -(client[0] or 0)), default=(0, "")) for clients in own], ""


def look_at_memory(row, free, clients):
    """Whether the memory is there that a host's clients may use. Swap is not counted: a client that trains in it is too slow for the others."""
    if clients is None:
        row["may use"] = "?"
        mark(row, ["may use"], "warning")  # it is said once, not of every host
    elif any(budget is None for budget, _ in clients):
        row["may use"] = "?"
    elif sum(budget for budget, _ in clients) > 0:
        total = sum(budget for budget, _ in clients)
        row["may use"] = size_text(total)
        if not free:
            fails(row, ["memory"], f"its free memory is not known, and its clients may use {size_text(total)}", "see whether free -h shows it there", "warning")
        elif total > free:
            budgets = collections.Counter(text for budget, text in clients if budget > 0)
            fails(row, ["memory", "may use"],
                  f"{size_text(free)} of memory are free, and its clients may use {size_text(total)} ({', '.join(f'{n} x {text}' for text, n in budgets.items())})",
                  "end other programs there, or give its clients smaller budgets (device=, --budgets) or the host fewer slots= (swap is not counted)")


def look_at_clock(row, i, said):
    now = [float(line[4:]) for line in said if line.startswith("NOW=")]
    if not now:
        return
    off = max(now[0] - float(text_of(f"{i}.end")), 0) + min(now[0] - float(text_of(f"{i}.begin")), 0)
    row["clock"] = f"{off:+.0f} s"
    if abs(off) > CLOCK_LIMIT_S:
        fails(row, ["clock"], f"its clock is {abs(off):.0f} s {'ahead of' if off > 0 else 'behind'} this host's",
              "set it (timedatectl set-ntp true): logs cannot be compared", "warning")


def compare(row, version, rank, first):
    """With the first host, whose ranks and this one's are to be one job."""
    host, first_version, first_rank = first
    names = [text.split()[-1] for text in first_rank["libraries"].split(", ")]
    if version != first_version:
        fails(row, ["version"], f"has version {version}, {host} has {first_version}", "install the same version on all hosts")
    elif rank["architecture"] != first_rank["architecture"]:
        fails(row, ["architecture"], f"is {rank['architecture']}; {host} is {first_rank['architecture']}",
              "ranks of one mpirun are of one architecture: leave it out here, and let it join the run (mpi_launch/join.sh)")
    elif rank["libraries"] != first_rank["libraries"]:
        mpi = [text.split(",")[0].rsplit(".", 2)[0] for text in (rank["libraries"], first_rank["libraries"])]
        fails(row, [name for name, theirs in zip(("MPI", "Torch", "HDF5"), names) if row[name] != theirs],
              f"has {rank['libraries']}; {host} has {first_rank['libraries']}", "install the same packages", "FAILS" if mpi[0] != mpi[1] else "warning")


hosts = [line.split("\t") for line in text_of("hosts").splitlines()]
ranks = [int(host[1]) for host in hosts]
ranks[0] -= 1  # the server, which is no client
clients, reason = planned_clients(sum(ranks))
first = None
for i, (host, slots, device, data) in enumerate(hosts):
    row = dict.fromkeys(COLUMNS, "?")
    device = ",".join(filter(None, re.sub(":flops=[^,]*", "", device).split(",")))
    row.update({"host": host, "ranks": slots, "device": device or "-", "data": data or "-", "may use": "-", "": "OK"})
    rows.append(row)
    out, err = text_of(f"{i}.out"), text_of(f"{i}.err").strip()
    said = out.split("\n")
    if "MISSING" in said:
        fails(row, ["version"], f"{program} is not there", "build or copy the program there, under the same path, or name it with --binary")
        continue
    try:
        report = json.loads(out[out.find("{"):out.rindex("}") + 1])
        rank = report["ranks"][0]
    except (ValueError, LookupError):
        last = (err or out.replace("\n", " ")).splitlines()
        code = out.split("FAILED ")[-1].strip() if "FAILED" in out else "0"
        fails(row, ["host"], f"cannot be reached, or the program does not start there (code {code}{': ' + last[-1] if last else ''})",
              f"try by hand: {agent} {host} '{program} doctor'; mpi_launch/README.md says how to set up ssh without passwords")
        continue
    row["version"], row["architecture"] = report["version"], rank["architecture"].split(",")[0]
    row["MPI"], row["Torch"], row["HDF5"] = (text.split()[-1] for text in rank["libraries"].split(", "))
    free = 0
    for finding in rank["findings"]:
        name = finding["check"]
        if name == "memory":
            free = size(finding["value"])
        if name in ("CPU", "BLAS", "GPU", "memory"):
            row[name] = finding.get("brief") or finding["value"]
        if finding["verdict"] != "ok" and not (i > 0 and name == "output"):
            fails(row, [name] if name in COLUMNS else [], f"{name}: {finding['value']}", finding["cure"],
                  "FAILS" if finding["verdict"] == "bad" else "warning")
    if ranks[i] > 0:
        begin = sum(ranks[:i])
        look_at_memory(row, free, clients and clients[begin:begin + ranks[i]])
    for line in said:
        if line.startswith("NODATA "):
            row["data"] = line[7:] + " (missing)"
            fails(row, ["data"], f"{line[7:]} cannot be read, or is empty", "copy the data there, or correct data= in the host file (or --data-dir)")
    if "NOCONFIG" in said:
        fails(row, [], "the file of --config cannot be read", "copy it there, under the same path")
    look_at_clock(row, i, said)
    if first is None:
        first = (host, report["version"], rank)
    else:
        compare(row, report["version"], rank, first)

# Subnets of all hosts in which no two have the same address, unless they are all that there is.
subnets = []
for i in range(len(hosts)):
    addresses = [ipaddress.ip_interface(line.split()[1]) for line in text_of(f"{i}.out").splitlines() if line.startswith("ADDRESS ")]
    subnets.append({address.network: address.ip for address in addresses})
shared = [net for net in subnets[0] if all(net in other for other in subnets) and len({other[net] for other in subnets}) == len(hosts)]
if len(hosts) > 1 and shared and any(net not in shared for other in subnets for net in other):
    (found / "network").write_text(",".join(map(str, shared)))

widths = {column: max(len(column), *(len(row[column]) for row in rows)) for column in COLUMNS}
for row in [dict(zip(COLUMNS, COLUMNS))] + rows:
    print("  " + "  ".join(row[column].ljust(widths[column]) for column in COLUMNS).rstrip())
for text in wrong:
    print(text)
asked = text_of("plan.asked").strip()
unknown = any(row["may use"].startswith("?") for row in rows)
if clients is None and unknown:
    print(f"what clients may use is not known, and was not compared with the memory ({reason})\n"
          f"    -> {'correct the options that are named; try by hand on ' + hosts[0][0] + ': ' + asked if asked else 'make that host ready first'}")
if unknown and text_of("plan.note"):
    print(text_of("plan.note").rstrip())
if any(row[""] == "FAILS" for row in rows):
    print("cluster.sh: not started: a host is not ready (FAILS)")
    sys.exit(1)
