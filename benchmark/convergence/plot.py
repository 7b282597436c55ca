#!/usr/bin/env python3
"""Draws what bench_convergence --csv wrote as an SVG: plot.py POINTS.csv FIGURE.svg (standard library alone)."""
import csv
import math
import sys

WIDTH, HEIGHT = 1000, 470
# Colours that colour-blind readers tell apart (Okabe and Ito); each series has a marker of its own as well.
STYLES = {
    "rate": ("#0072B2", "circle", "all clients train everything"),
    "masks": ("#D55E00", "diamond", "masks, N* clients of 16 train block 1"),
    "late rate": ("#009E73", "triangle", "every update 2 rounds late"),
    "staleness": ("#009E73", "triangle", "every update late"),
    "discounted": ("#CC79A7", "square", "every update late, discounted"),
    "half late": ("#56B4E9", "circle", "half of the updates late"),
}


def fit(points):
    """Intercept and slope of log10 y over log10 x by least squares."""
    xs, ys = [math.log10(x) for x, _ in points], [math.log10(y) for _, y in points]
    mx, my = sum(xs) / len(xs), sum(ys) / len(ys)
    slope = sum((x - mx) * (y - my) for x, y in zip(xs, ys)) / sum((x - mx) ** 2 for x in xs)
    return my - slope * mx, slope


class Panel:
    """One log-log diagram; `left` and `right` are pixels, the axes run over powers of ten."""

    def __init__(self, out, left, right, x_range, y_range, title, x_label, y_label):
        self.out, self.left, self.right, self.top, self.bottom = out, left, right, 50, HEIGHT - 62
        self.x_range, self.y_range = [[math.log10(v) for v in r] for r in (x_range, y_range)]
        self.legend = 0
        self.text((left + right) / 2, 26, title, "middle", 'font-weight="bold" font-size="15"')
        self.text((left + right) / 2, HEIGHT - 16, x_label, "middle")
        out.append(f'<text transform="translate({left - 52},{(self.top + self.bottom) / 2}) rotate(-90)" '
                   f'text-anchor="middle">{y_label}</text>')
        for axis, (low, high) in (("x", self.x_range), ("y", self.y_range)):
            for power in range(math.floor(low), math.ceil(high) + 1):
                for digit in range(1, 10):
                    at = power + math.log10(digit)
                    if low - 1e-9 <= at <= high + 1e-9:
                        self.grid(axis, at, power, digit)
        out.append(f'<rect x="{left}" y="{self.top}" width="{right - left}" height="{self.bottom - self.top}" '
                   'fill="none" stroke="#444"/>')

    def text(self, x, y, words, anchor="start", more=""):
        self.out.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {more}>{words}</text>')

    def grid(self, axis, at, power, digit):
        colour = "#bbb" if digit == 1 else "#eee"
        if axis == "x":
            x = self.x(10 ** at)
            self.out.append(f'<path d="M{x:.1f} {self.top}V{self.bottom}" stroke="{colour}"/>')
            if digit == 1:
                self.text(x, self.bottom + 19, f'10<tspan dy="-6" font-size="10">{power}</tspan>', "middle")
        else:
            y = self.y(10 ** at)
            self.out.append(f'<path d="M{self.left} {y:.1f}H{self.right}" stroke="{colour}"/>')
            if digit in (1, 2, 5):
                self.text(self.left - 7, y + 4, f"{digit * 10.0 ** power:g}", "end")

    def x(self, value):
        low, high = self.x_range
        return self.left + (math.log10(value) - low) / (high - low) * (self.right - self.left)

    def y(self, value):
        low, high = self.y_range
        return self.bottom - (math.log10(value) - low) / (high - low) * (self.bottom - self.top)

    def marker(self, x, y, shape, colour, hollow=False):
        paint = f'fill="{"white" if hollow else colour}" stroke="{colour if hollow else "white"}"'
        if shape == "circle":
            self.out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.2" {paint}/>')
            return
        corners = {"diamond": "0,-5.5 5.5,0 0,5.5 -5.5,0", "triangle": "0,-5.5 5.2,4 -5.2,4",
                   "square": "-4.2,-4.2 4.2,-4.2 4.2,4.2 -4.2,4.2"}[shape]
        self.out.append(f'<polygon transform="translate({x:.1f},{y:.1f})" points="{corners}" {paint}/>')

    def line(self, intercept, slope, x_from, x_to, colour, dash=""):
        ends = [(self.x(x), self.y(10 ** (intercept + slope * math.log10(x)))) for x in (x_from, x_to)]
        self.out.append(f'<path d="M{ends[0][0]:.1f} {ends[0][1]:.1f}L{ends[1][0]:.1f} {ends[1][1]:.1f}" '
                        f'stroke="{colour}" stroke-width="1.6" stroke-dasharray="{dash}" fill="none"/>')

    def series(self, name, points, fitted, line=True):
        """`points` (x, y, error) are drawn and those of `fitted` give the line."""
        colour, shape, words = STYLES[name]
        intercept, slope = fit([p[:2] for p in fitted])
        if line:
            self.line(intercept, slope, min(p[0] for p in fitted), max(p[0] for p in fitted), colour)
        for x, y, error in points:
            if error > 0.02 * y:
                low, high = self.y(max(y - error, 1e-9)), self.y(y + error)
                self.out.append(f'<path d="M{self.x(x):.1f} {low:.1f}V{high:.1f}" stroke="{colour}"/>')
            self.marker(self.x(x), self.y(y), shape, colour, (x, y, error) not in fitted)
        self.note(f"{words}: slope {slope:.2f}".replace("-", "\u2212"), lambda x, y: self.marker(x, y, shape, colour))

    def note(self, words, symbol):
        """The next line of the legend."""
        x, y = self.legend_at[0], self.legend_at[1] + 20 * self.legend
        self.legend += 1
        symbol(x, y - 4)
        self.text(x + 14, y, words)


def main(points_file, figure):
    with open(points_file, newline="") as file:
        rows = list(csv.DictReader(file))
    number = lambda row, key: float(row[key])
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
           'font-family="DejaVu Sans, Verdana, Arial, sans-serif" font-size="13" fill="#222">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>']

    left = Panel(out, 70, 520, (300, 1e6), (0.2, 50), "Rate", "N* · E · Q, local steps",
                 "mean over rounds of |∇f|²")
    left.legend_at = (left.left + 100, left.top + 24)
    for name in ("rate", "masks", "late rate"):
        points = [(number(r, "n_star") * number(r, "local_steps") * number(r, "rounds"), number(r, "gradient"),
                   number(r, "standard_error"), r["capped"]) for r in rows if r["series"] == name]
        if points:
            left.series(name, [p[:3] for p in points], [p[:3] for p in points if p[3] == "0"])
    left.note("hollow: η cut to 1/(4LE), not fitted", lambda x, y: left.marker(x, y, "circle", "#0072B2", True))
    left.line(math.log10(0.26) + 0.5 * math.log10(6e5), -0.5, 2e3, 6e5, "#222", "6 4")
    left.text(left.x(1.6e4), left.y(1.02), "slope −½", "end")

    right = Panel(out, 600, 980, (0.7, 400), (0.05, 50), "Staleness, at N* · E · Q = 32,768", 'τ = (1/Q) Σ τ<tspan dy="4" font-size="10">q</tspan><tspan dy="-4">², rounds²</tspan>',
                  "rise of the mean |∇f|² above τ = 0")
    right.legend_at = (right.left + 20, right.top + 24)
    for name in ("staleness", "discounted", "half late"):
        series = [r for r in rows if r["series"] == name]
        if not series:
            continue
        base = next(number(r, "gradient") for r in series if r["delay"] == "0")
        points = [(number(r, "tau"), number(r, "gradient") - base, number(r, "standard_error")) for r in series
                  if r["delay"] != "0"]
        points = [p for p in points if p[1] > 0]
        right.series(name, points, points)
    right.line(math.log10(0.04), 1, 2.7, 400, "#222", "6 4")
    right.text(right.x(30), right.y(0.45), "slope 1,", "start")
    right.text(right.x(30), right.y(0.45) + 17, "the bound's term", "start")
    out.append("</svg>")
    with open(figure, "w", encoding="utf-8") as file:
        file.write("\n".join(out) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit("usage: plot.py POINTS.csv FIGURE.svg")
    main(sys.argv[1], sys.argv[2])
