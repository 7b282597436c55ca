#!/usr/bin/env python3
"""Writes objective.json: losses of a client and their gradients with respect to the logits of each exit.

Written from the definitions, pair by pair and in double precision, so that it shares no shortcut with the program.
usage: make_objective.py OUTPUT
"""
import json
import sys

import torch
import torch.nn.functional as F

EXITS, BATCH, CLASSES = 3, 2, 4
LABELS = [2, 0]
COUNTS = [5, 0, 3, 0]  # of the client's samples of each class


def make_logits():
    j, b, k = torch.meshgrid(torch.arange(EXITS), torch.arange(BATCH), torch.arange(CLASSES), indexing="ij")
    values = 1.5 * torch.sin(1.7 * j.double() + 0.9 * b + 2.3 * k + 0.1 * b * k)
    return [values[e].clone().requires_grad_(True) for e in range(EXITS)]


def seen(logits, case):
    counts = torch.tensor(COUNTS, dtype=torch.float64)
    if case.get("masked_logits"):
        return torch.where(counts > 0, logits, torch.zeros_like(logits))
    return logits + case.get("logit_adjustment", 0) * torch.log((counts + 1) / (counts + 1).sum())


def kl(teacher, student, temperature):
    p = F.softmax(teacher.detach() / temperature, 1)
    return F.kl_div(F.log_softmax(student / temperature, 1), p, reduction="batchmean") * temperature ** 2


def loss_of(logits, labels, case):
    J = len(logits)
    a = {"all": [1 / J] * J, "sum": [1.0] * J, "deepest": [0.0] * (J - 1) + [1.0],
         "rising": [j / (J * (J + 1) / 2) for j in range(1, J + 1)]}[case["exit_loss"]]
    loss = sum(a[j] * F.cross_entropy(seen(logits[j], case), labels) for j in range(J))
    b = [1 / J] * J if case["exit_loss"] == "deepest" else a
    for j in range(J):
        teachers = {"none": [], "deepest": [J - 1] if j < J - 1 else [], "mutual": [i for i in range(J) if i != j]}
        for i in teachers[case["distillation"]]:
            loss = loss + case["weight"] * b[j] * kl(logits[i], logits[j], case["temperature"]) / \
                len(teachers[case["distillation"]])
    return loss


def result(loss, logits):
    gradients = torch.autograd.grad(loss, logits, allow_unused=True)
    return dict(loss=loss.item(),
                gradients=[(torch.zeros(BATCH, CLASSES) if g is None else g).tolist() for g in gradients])


def main():
    labels = torch.tensor(LABELS)
    cases = [dict(exit_loss=e, distillation=d, weight=0.7, temperature=t, **view)
             for e in ("all", "sum", "deepest", "rising")
             for d, t in (("none", 1.0), ("deepest", 3.0), ("mutual", 1.0), ("mutual", 2.0))
             for view in ({}, dict(logit_adjustment=0.8), dict(masked_logits=True))]
    for case in cases:
        logits = make_logits()
        case.update(result(loss_of(logits, labels, case), logits))
    # A part imitates the whole: cross-entropy with the whole's probabilities as targets.
    whole, part = make_logits(), [(0.5 * z + 0.3).detach().requires_grad_(True) for z in make_logits()]
    imitation = sum(F.cross_entropy(p, F.softmax(w.detach(), 1)) for p, w in zip(part, whole)) / EXITS
    golden = dict(labels=LABELS, counts=COUNTS, exits=EXITS, classes=CLASSES, torch=torch.__version__, cases=cases,
                  imitation=result(imitation, part))
    with open(sys.argv[1], "w", encoding="ascii") as file:
        json.dump(golden, file)
        file.write("\n")


if __name__ == "__main__":
    main()
