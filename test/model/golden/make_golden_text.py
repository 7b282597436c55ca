#!/usr/bin/env python3
"""Writes golden_text.json: what an independent PyTorch implementation computes for a micro BERT-type encoder.

Embeddings of torch.nn, the blocks of make_golden.py and a key_padding_mask, in double precision. Texts have different lengths; id -1 is
padding. usage: make_golden_text.py OUTPUT
"""
import sys

import torch
from torch import nn

from make_golden import D, EPSILON, MODEL, Block, block_segments, same, write_golden

TEXT = dict(vocabulary=17, max_length=9, dim=D, blocks=MODEL["blocks"], heads=MODEL["heads"], feed_forward=MODEL["feed_forward"],
            classes=MODEL["classes"], batch=4,
            ids=[[2, 7, 5, 16, 3, -1, -1, -1], [2, 3, -1, -1, -1, -1, -1, -1], [2, 4, 4, 11, 9, 5, 8, 3], [2, 16, 0, 1, 6, 3, -1, -1]])


class Reference(nn.Module):
    def __init__(self):
        super().__init__()
        self.token = nn.Embedding(TEXT["vocabulary"], D)
        self.position = nn.Embedding(TEXT["max_length"], D)
        self.norm = nn.LayerNorm(D, eps=EPSILON)
        self.blocks = nn.ModuleList(Block() for _ in range(TEXT["blocks"]))

    def forward(self, ids):
        padding = ids < 0
        x = self.norm(self.token(ids.clamp(min=0)) + self.position(torch.arange(ids.shape[1])))
        logits = []
        for block in self.blocks:
            x, exit_logits = block(x, padding)
            logits.append(exit_logits)
        return logits


def segments(model):
    yield "embedding", [
        ("token", (TEXT["vocabulary"], D), model.token.weight, same, same),
        ("position", (TEXT["max_length"], D), model.position.weight, same, same),
        ("norm.weight", (D,), model.norm.weight, same, same),
        ("norm.bias", (D,), model.norm.bias, same, same)]
    yield from block_segments(model)


if __name__ == "__main__":
    write_golden(sys.argv[1], TEXT, Reference().double(), segments, torch.tensor(TEXT["ids"]))
