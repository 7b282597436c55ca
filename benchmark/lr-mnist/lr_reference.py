#!/usr/bin/env python3
"""A lean loop of the same federated run as lr_mnist.toml, as a reference: with NumPy and a gradient written out, or with PyTorch's
autograd. Takes the clients' sizes of each round from a run's clients.csv, so that it takes as many steps; two classes a client.
Prints: NAME loop_s=... steps=... step_us=... round_ms=... accuracy=..."""
import argparse
import csv
import gzip
import os
import time

import numpy as np


def read_idx(directory, name):
    for path, opener in ((f"{name}", open), (f"{name}.gz", gzip.open)):
        path = os.path.join(directory, path)
        if os.path.exists(path):
            with opener(path, "rb") as f:
                raw = f.read()
            return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape([int.from_bytes(raw[4 + 4 * i:8 + 4 * i], "big") for i in range(raw[3])])
    raise SystemExit(f"lr_reference.py: {directory} has no {name}[.gz]")


def load(directory):
    train, test = (read_idx(directory, f"{part}-images-idx3-ubyte").reshape(-1, 784).astype(np.float32) / 255 for part in ("train", "t10k"))
    mean, deviation = train.mean(dtype=np.float64), train.std(dtype=np.float64)
    for x in (train, test):
        x -= np.float32(mean)
        x /= np.float32(deviation)
    labels = [read_idx(directory, f"{part}-labels-idx1-ubyte").astype(np.int64) for part in ("train", "t10k")]
    return train, labels[0], test, labels[1]


def rounds_of(path, labels, rng):
    """[(sample indices of a client, ...) of each round]; a client keeps its samples."""
    by_class = [rng.permutation(np.flatnonzero(labels == k)) for k in range(10)]
    clients, rounds = {}, {}
    for row in csv.DictReader(open(path)):
        client, size = row["client"], int(row["samples"])
        if client not in clients:
            a, b = rng.choice(10, 2, replace=False)
            clients[client] = np.concatenate([rng.choice(by_class[a], size - size // 2), rng.choice(by_class[b], size // 2)])
        rounds.setdefault(row["round"], []).append(clients[client])
    return list(rounds.values())


def run_numpy(rounds, x, y, batch, rate, rng):
    weight, bias = (rng.standard_normal((10, 784)) * 0.02).astype(np.float32), np.zeros(10, np.float32)
    steps, rows = 0, np.arange(batch)
    for chosen in rounds:
        new_weight, new_bias, total = np.zeros_like(weight), np.zeros_like(bias), sum(map(len, chosen))
        for samples in chosen:
            w, b = weight.copy(), bias.copy()
            order = rng.permutation(samples)
            for begin in range(0, len(order), batch):
                index = order[begin:begin + batch]
                xb = x[index]
                z = xb @ w.T
                z += b
                z -= z.max(axis=1, keepdims=True)
                np.exp(z, out=z)
                z /= z.sum(axis=1, keepdims=True)
                z[rows[:len(index)], y[index]] -= 1
                z *= rate / len(index)
                w -= z.T @ xb
                b -= z.sum(axis=0)
                steps += 1
            share = np.float32(len(samples) / total)
            new_weight += share * w
            new_bias += share * b
        weight, bias = new_weight, new_bias
    return weight, bias, steps


def run_torch(rounds, x, y, batch, rate, rng):
    import torch
    torch.set_num_threads(1)
    x, y = torch.from_numpy(x), torch.from_numpy(y)
    weight, bias = torch.randn(10, 784) * 0.02, torch.zeros(10)
    steps = 0
    for chosen in rounds:
        new_weight, new_bias, total = torch.zeros_like(weight), torch.zeros_like(bias), sum(map(len, chosen))
        for samples in chosen:
            w, b = weight.clone().requires_grad_(), bias.clone().requires_grad_()
            order = torch.from_numpy(rng.permutation(samples))
            for index in order.split(batch):
                loss = torch.nn.functional.cross_entropy(torch.nn.functional.linear(x[index], w, b), y[index])
                gradients = torch.autograd.grad(loss, (w, b))
                with torch.no_grad():
                    w.sub_(gradients[0], alpha=rate)
                    b.sub_(gradients[1], alpha=rate)
                steps += 1
            with torch.no_grad():
                new_weight += w * (len(samples) / total)
                new_bias += b * (len(samples) / total)
        weight, bias = new_weight, new_bias
    return weight.numpy(), bias.numpy(), steps


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=["numpy", "torch"])
    parser.add_argument("--data-dir", required=True)
    parser.add_argument("--clients", required=True, help="clients.csv of a run")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--rate", type=float, default=0.03)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    x, y, test_x, test_y = load(options.data_dir)
    rounds = rounds_of(options.clients, y, rng)
    for _ in range(options.repeat):
        begin = time.perf_counter()
        weight, bias, steps = (run_numpy if options.kind == "numpy" else run_torch)(rounds, x, y, options.batch, options.rate, rng)
        seconds = time.perf_counter() - begin
        accuracy = ((test_x @ weight.T + bias).argmax(axis=1) == test_y).mean()
        print(f"{options.kind} loop_s={seconds:.4f} steps={steps} step_us={1e6 * seconds / steps:.2f} "
              f"round_ms={1e3 * seconds / len(rounds):.3f} accuracy={accuracy:.4f}", flush=True)


main()
