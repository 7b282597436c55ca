#!/usr/bin/env python3
"""Prints the tables of docs/results.md from what benchmark/results/run.sh made.

    benchmark/results/tables.py [OUTPUT]        (default: runs/results; benchmark/results/measured has those of docs/results.md)

Sets stand side by side; accuracy is that of the full model at its deepest exit, percent, mean and deviation over the seeds.
"""
import csv
import pathlib
import statistics
import sys

SETS = ["fashion-mnist", "cifar-10", "20-newsgroups", "sst-2"]
MIB = 1 << 20


def rows_of(path):
    """The rows of a compare.csv by method, in the order of the file."""
    methods = {}
    if path.is_file():
        for row in csv.DictReader(path.open()):
            methods.setdefault(row["method"], []).append(row)
    return methods


def numbers(rows, column, scale=1.0):
    return [scale * float(row[column]) for row in rows if row.get(column)]


def mean_and_deviation(values, digits=2):
    if not values:
        return "–"
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"


def accuracy(rows):
    return mean_and_deviation(numbers(rows, "accuracy", 100))


def seconds_to_target(rows):
    reached = numbers(rows, "time_to_target_s")
    if not reached:
        return "–"
    return f"{statistics.mean(reached):.2f}" + (f" ({len(reached)})" if len(reached) < len(rows) else "")


def memory(rows):
    """Measured peaks in MiB, smallest budget first; budgets are bytes, or shares of the full model's training."""
    prefix = "peak_memory_bytes_"
    budgets = sorted((name[len(prefix):] for name in rows[0] if name.startswith(prefix)), key=float)
    peaks = []
    for budget in budgets:
        values = numbers(rows, prefix + budget, 1 / MIB)
        peaks.append(f"{max(values):.2f}" if values else "none")
    named = [f"{float(budget) / MIB:.2f}" if float(budget) > 1 else budget for budget in budgets]
    return f"{', '.join(peaks)} of {', '.join(named)}"


def table(title, header, lines):
    print(f"\n## {title}\n\n| {' | '.join(header)} |\n|{'---|' + '--:|' * (len(header) - 1)}")
    for line in lines:
        print(f"| {' | '.join(line)} |")


def side_by_side(title, sets, columns):
    """One line a method; `columns`: (name, function of a method's rows), for each set."""
    methods = sorted({m for rows in sets.values() for m in rows}, key=lambda m: -statistics.mean(numbers(next(
        rows[m] for rows in sets.values() if m in rows), "accuracy")))
    header = ["row"] + [f"{name}: {what}" for name in sets for what, _ in columns]
    lines = [[f"`{method}`"] + [of(rows[method]) if method in rows else "–" for rows in sets.values() for _, of in columns]
             for method in methods]
    table(title, header, lines)


def main():
    output = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "runs/results")
    sets = [name for name in SETS if (output / name).is_dir()]
    if not sets:
        sys.exit(f"tables.py: {output} holds no tables ({', '.join(SETS)}), run benchmark/results/run.sh --output {output}")
    tuned = {name: {} for name in sets}
    for name in sets:
        for path, suffix in ((output / name / "tuned", ""), (output / name / "tuned-semi-async", ", semi-async")):
            lines = path.read_text().split() if path.is_file() else []
            tuned[name].update((method + suffix, options) for method, options in (line.split(":", 1) for line in lines))
    methods = sorted({method for of_set in tuned.values() for method in of_set})
    table("tuned", ["method"] + sets, [[f"`{m}`"] + [tuned[name].get(m, "–") for name in sets] for m in methods])
    columns = {
        "dirichlet": [("accuracy", accuracy)],
        "iid": [("accuracy", accuracy)],
        "ablation": [("accuracy", accuracy), ("s", lambda rows: f"{statistics.mean(numbers(rows, 'time_s')):.2f}")],
        "memory": [("accuracy", accuracy), ("MiB", memory)],
    }
    columns["alternatives"] = columns["ablation"]
    columns["paced"] = columns["semi-async"] = columns["ablation"] + [
        ("s to target", seconds_to_target), ("utilisation", lambda rows: f"{100 * statistics.mean(numbers(rows, 'utilisation')):.0f} %")]
    for name, of in columns.items():
        found = {s: rows_of(output / s / name / "compare.csv") for s in sets}
        found = {s: rows for s, rows in found.items() if rows}
        if found:
            side_by_side(name, found, of)
    for name in sets:
        rows = rows_of(output / name / "dirichlet" / "compare.csv")
        if rows:
            table(f"measured peak memory, {name}", ["method", "MiB"], [[f"`{m}`", memory(r)] for m, r in rows.items()])


if __name__ == "__main__":
    main()
