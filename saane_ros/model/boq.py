"""Bag of Queries (Ali-bey et al., CVPR 2024): learned queries that attend to an image."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from saane_ros.model.gem import strongest_one
from saane_ros.model.heads import Head, HeadOutput

HEAD_CHANNELS = 64


class QueryBlock(nn.Module):
    """Cells encoded by a transformer layer, which a fixed set of queries then attends to."""

    def __init__(self, channels: int, queries: int) -> None:
        super().__init__()
        heads = channels // HEAD_CHANNELS
        self.encoder = nn.TransformerEncoderLayer(
            channels, heads, 4 * channels, dropout=0.0, batch_first=True
        )
        self.queries = nn.Parameter(torch.randn(1, queries, channels))
        self.self_attn = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.norm_q = nn.LayerNorm(channels)
        self.cross_attn = nn.MultiheadAttention(channels, heads, batch_first=True)
        self.norm_out = nn.LayerNorm(channels)

    def forward(self, cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """B x n x C to the encoded cells, what the queries found (B x Q x C), where (B x Q x n)."""
        encoded = self.encoder(cells)
        q = self.queries
        q = self.norm_q(q + self.self_attn(q, q, q, need_weights=False)[0])
        found, where = self.cross_attn(q.expand(cells.shape[0], -1, -1), encoded, encoded)
        return encoded, self.norm_out(found), where


class BagOfQueries(Head):
    """What the queries of all blocks found, projected to `rows` mixtures of them.

    Attention: the mean of all queries' attention over the cells, the largest 1.
    """

    uses_semantics = False

    def __init__(self, inputs: int, channels: int, queries: int, depth: int, rows: int) -> None:
        super().__init__()
        self.proj_c = nn.Conv2d(inputs, channels, 3, padding=1)
        self.norm_input = nn.LayerNorm(channels)
        self.boqs = nn.ModuleList(QueryBlock(channels, queries) for _ in range(depth))
        self.fc = nn.Linear(depth * queries, rows)
        self.descriptor_size = channels * rows

    def forward(self, appearance: Tensor, semantic: Tensor | None = None) -> HeadOutput:
        cells = self.norm_input(self.proj_c(appearance).flatten(2).transpose(1, 2))
        answers, places = [], []
        for block in self.boqs:
            cells, found, where = block(cells)
            answers.append(found)
            places.append(where)
        mixed = self.fc(torch.cat(answers, dim=1).transpose(1, 2)).float()
        looked = torch.cat(places, dim=1).float().mean(dim=1)
        attention = strongest_one(looked.unflatten(1, appearance.shape[-2:])[:, None])
        return HeadOutput(functional.normalize(mixed.flatten(1), dim=1), attention)
