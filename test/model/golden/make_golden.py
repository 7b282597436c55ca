#!/usr/bin/env python3
"""Writes golden.json: what an independent PyTorch implementation computes for a micro ViT with deterministic values.

The reference is made of torch.nn's own modules (nn.Conv2d, nn.MultiheadAttention, nn.LayerNorm, nn.Linear) in double
precision, so that it shares neither code nor rounding with the program. Values are given to both sides by one formula over the
stored layout (see value()); load_segment() maps that layout to the modules' own. usage: make_golden.py OUTPUT
"""
import json
import math
import sys

import torch
import torch.nn.functional as F
from torch import nn

MODEL = dict(image=12, channels=2, patch=4, dim=24, blocks=3, heads=3, feed_forward=40, classes=5, batch=3)
D, H, FF, K = MODEL["dim"], MODEL["heads"], MODEL["feed_forward"], MODEL["classes"]
TOKENS = (MODEL["image"] // MODEL["patch"]) ** 2 + 1
PATCH_VALUES = MODEL["channels"] * MODEL["patch"] ** 2
HEAD_DIM = D // H
EPSILON = 1e-6


def value(segment, count):
    """The flat values of segment number `segment`; the test computes the same."""
    i = torch.arange(count, dtype=torch.float64)
    return 0.25 * torch.cos(0.37 * i + 1.3 * segment) + 0.05 * torch.sin(0.011 * i * (segment + 1))


def image_values(count):
    i = torch.arange(count, dtype=torch.float64)
    return torch.sin(0.13 * i + 0.0007 * i * i) + 0.5 * torch.cos(0.71 * i)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(D, eps=EPSILON), nn.LayerNorm(D, eps=EPSILON)
        self.attention = nn.MultiheadAttention(D, H, batch_first=True)
        self.fc1, self.fc2 = nn.Linear(D, FF), nn.Linear(FF, D)
        self.exit_norm, self.exit = nn.LayerNorm(D, eps=EPSILON), nn.Linear(D, K)

    def forward(self, x, padding=None):
        y = self.norm1(x)
        x = x + self.attention(y, y, y, key_padding_mask=padding, need_weights=False)[0]
        x = x + self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return x, self.exit(self.exit_norm(x[:, 0]))


class Reference(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(MODEL["channels"], D, MODEL["patch"], stride=MODEL["patch"])
        self.class_token = nn.Parameter(torch.zeros(D))
        self.position = nn.Parameter(torch.zeros(TOKENS, D))
        self.blocks = nn.ModuleList(Block() for _ in range(MODEL["blocks"]))

    def forward(self, images):
        x = self.patch(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), 1, D), x], 1) + self.position
        logits = []
        for block in self.blocks:
            x, exit_logits = block(x)
            logits.append(exit_logits)
        return logits


# How a stored tensor and the module's parameter map to each other: (name, stored shape, to module, to stored).
def same(t):
    return t


def qkv_to_module(t):
    return t.transpose(0, 1).reshape(3 * D, -1).squeeze(-1)


def qkv_to_stored(t):
    return t.reshape(3, H, HEAD_DIM, -1).transpose(0, 1).squeeze(-1)


def flat_to(shape):
    return lambda t: t.reshape(shape)


def transpose(t):
    return t.t()


def segments(model):
    patch_shape = model.patch.weight.shape
    yield "embedding", [
        ("patch.weight", (D, PATCH_VALUES), model.patch.weight, flat_to(patch_shape), flat_to((D, PATCH_VALUES))),
        ("patch.bias", (D,), model.patch.bias, same, same),
        ("class_token", (D,), model.class_token, same, same),
        ("position", (TOKENS, D), model.position, same, same)]
    yield from block_segments(model)


def block_segments(model):
    for number, b in enumerate(model.blocks):
        a = b.attention
        yield f"block_{number:02}/attention", [
            ("norm.weight", (D,), b.norm1.weight, same, same),
            ("norm.bias", (D,), b.norm1.bias, same, same),
            ("qkv.weight", (H, 3, HEAD_DIM, D), a.in_proj_weight, qkv_to_module, qkv_to_stored),
            ("qkv.bias", (H, 3, HEAD_DIM), a.in_proj_bias, qkv_to_module, qkv_to_stored),
            ("out.weight", (H, HEAD_DIM, D), a.out_proj.weight, lambda t: t.reshape(D, D).t(),
             lambda t: t.t().reshape(H, HEAD_DIM, D)),
            ("out.bias", (D,), a.out_proj.bias, same, same)]
        yield f"block_{number:02}/feed_forward", [
            ("norm.weight", (D,), b.norm2.weight, same, same),
            ("norm.bias", (D,), b.norm2.bias, same, same),
            ("fc1.weight", (FF, D), b.fc1.weight, same, same),
            ("fc1.bias", (FF,), b.fc1.bias, same, same),
            ("fc2.weight", (FF, D), b.fc2.weight, transpose, transpose),
            ("fc2.bias", (D,), b.fc2.bias, same, same)]
        yield f"block_{number:02}/exit_head", [
            ("norm.weight", (D,), b.exit_norm.weight, same, same),
            ("norm.bias", (D,), b.exit_norm.bias, same, same),
            ("linear.weight", (K, D), b.exit.weight, same, same),
            ("linear.bias", (K,), b.exit.bias, same, same)]


def load_segment(number, tensors):
    values = value(number, sum(math.prod(shape) for _, shape, *_ in tensors))
    offset = 0
    with torch.no_grad():
        for _, shape, parameter, to_module, _ in tensors:
            count = math.prod(shape)
            parameter.copy_(to_module(values[offset:offset + count].reshape(shape)))
            offset += count


def sample_indices(count):
    return [(count * i) // 4 for i in range(4)] + [count - 1]


def write_golden(path, description, model, named_segments, batch):
    """Loads the formula's values, runs the model on the batch and writes logits, loss and gradients."""
    for number, (_, tensors) in enumerate(named_segments(model)):
        load_segment(number, tensors)
    labels = torch.arange(len(batch)) * 2 % K
    logits = model(batch)
    # Different weights per exit, so that a mix-up of exits shows.
    loss = sum((1.0 + 0.5 * i) * F.cross_entropy(l, labels) for i, l in enumerate(logits))
    loss.backward()
    gradients = []
    for name, tensors in named_segments(model):
        for tensor, stored, parameter, _, to_stored in tensors:
            flat = to_stored(parameter.grad).reshape(-1)
            assert flat.numel() == math.prod(stored)
            gradients.append(dict(segment=name, tensor=tensor, shape=stored, norm=flat.norm().item(),
                                  samples=[[i, flat[i].item()] for i in sample_indices(flat.numel())]))
    golden = dict(model=description, epsilon=EPSILON, torch=torch.__version__, labels=labels.tolist(),
                  logits=[l.tolist() for l in logits], loss=loss.item(), gradients=gradients)
    with open(path, "w", encoding="ascii") as file:
        json.dump(golden, file, indent=1)
        file.write("\n")


def main():
    shape = (MODEL["batch"], MODEL["channels"], MODEL["image"], MODEL["image"])
    images = image_values(math.prod(shape)).reshape(shape)
    write_golden(sys.argv[1], MODEL, Reference().double(), segments, images)


if __name__ == "__main__":
    main()
