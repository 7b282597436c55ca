#!/usr/bin/env python3
"""A long run, watched: resident memory and open descriptors of the server and each worker, and the size of the output directory, must not
grow. The command is started, and everything below it that is the program is sampled; what the first quarter of the time sees (caches
fill, clients train for the first time) does not count.

  soak.py --program build/release/src/main/cos2p --seconds 3600 --output runs/soak -- mpi_launch/local.sh -n 4 -- train ... --output runs/soak

Ends the command by SIGTERM after --seconds, or when it ends itself. Exit code: 0 flat, 1 something grows or the command failed. The last
line is a JSON object: for each process MiB, slope in MiB an hour and the standard error of that slope, and descriptors first and last.
"""
import argparse
import json
import os
import pathlib
import signal
import subprocess
import sys
import time


def descendants(pid):
    below = [pid]
    for parent in below:
        try:
            for task in pathlib.Path(f"/proc/{parent}/task").iterdir():
                below += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return below


def sample(pid, program):
    """(MiB, descriptors) of a process that is the program; None of another, or of one that has just ended."""
    try:
        if not os.path.samefile(f"/proc/{pid}/exe", program):
            return None
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024, len(os.listdir(f"/proc/{pid}/fd"))
    except (OSError, IndexError):
        return None


def size_of(directory):
    total = 0
    for parent, _, files in os.walk(directory):
        for name in files:
            try:
                total += os.lstat(os.path.join(parent, name)).st_size
            except OSError:
                continue
    return total


def slope(points):
    """Least squares, from means over ten equal spans of time (samples beside each other are not independent): MiB an hour, its standard error."""
    spans = 10
    first, last = points[0][0], points[-1][0]
    groups = [[] for _ in range(spans)]
    for t, y in points:
        groups[min(spans - 1, int(spans * (t - first) / (last - first)))].append((t, y))
    means = [(sum(t for t, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups if g]
    n = len(means)
    mt, my = sum(t for t, _ in means) / n, sum(y for _, y in means) / n
    stt = sum((t - mt) ** 2 for t, _ in means)
    b = sum((t - mt) * (y - my) for t, y in means) / stt
    rest = sum((y - my - b * (t - mt)) ** 2 for t, y in means)
    return b * 3600, (rest / max(1, n - 2) / stt) ** 0.5 * 3600


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", required=True)
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--every", type=float, default=2, help="seconds between samples")
    parser.add_argument("--output", required=True, help="the run's output directory")
    parser.add_argument("--growth", type=float, default=2,
                        help="MiB by which a process may grow from the first quarter's end to the last sample, as its slope says")
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    run = subprocess.Popen(options.command, stdout=subprocess.DEVNULL)
    begun = time.monotonic()
    samples, sizes = {}, []
    while run.poll() is None and time.monotonic() - begun < options.seconds:
        time.sleep(options.every)
        now = time.monotonic() - begun
        for pid in descendants(run.pid):
            seen = sample(pid, options.program)
            if seen is not None:
                samples.setdefault(pid, []).append((now, *seen))
        sizes.append((now, size_of(options.output)))
    if run.poll() is None:
        run.send_signal(signal.SIGTERM)
    code = run.wait(timeout=300)
    lasted = time.monotonic() - begun
    result = {"seconds": round(lasted), "exit_code": code, "processes": [], "output_mib": [], "failures": []}
    if code != 0:
        result["failures"].append(f"the command ended with {code}")
    for pid, points in samples.items():
        points = [p for p in points if p[0] > lasted / 4]
        if len(points) < 20:
            continue  # one that is started and ends: mpirun's children, the launcher's questions
        per_hour, error = slope([(t, mib) for t, mib, _ in points])
        grown = per_hour * (points[-1][0] - points[0][0]) / 3600
        process = {"mib_first": round(points[0][1], 1), "mib_last": round(points[-1][1], 1), "mib_per_hour": round(per_hour, 2),
                   "standard_error": round(error, 2), "descriptors_first": points[0][2], "descriptors_last": points[-1][2]}
        result["processes"].append(process)
        if grown > options.growth and per_hour > 2 * error:
            result["failures"].append(f"process {pid} grew by {grown:.1f} MiB")
        if process["descriptors_last"] > process["descriptors_first"]:
            result["failures"].append(f"process {pid} has {process['descriptors_last']} descriptors after {process['descriptors_first']}")
    if not result["processes"]:
        result["failures"].append("no process of the program was seen long enough")
    late = [size for t, size in sizes if t > lasted / 4]
    result["output_mib"] = [round(size / 2**20, 2) for size in (late[0], max(late), late[-1])] if late else []
    print(json.dumps(result))
    sys.exit(1 if result["failures"] else 0)


main()
