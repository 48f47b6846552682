"""A language model that is small enough for a test, and batches for it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

VOCABULARY, LENGTH = 23, 9


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.ways, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, h: Tensor) -> Tensor:
        q, k, v = self.ways(self.norm(h)).unsqueeze(1).chunk(3, dim=-1)
        return self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).squeeze(1))


class SmallGPT(nn.Module):
    """Token and position embeddings, layers of attention and MLP before norms, a head."""

    def __init__(self, width: int = 8, layers: int = 2) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.places = nn.Parameter(torch.randn(LENGTH, width))
        self.attention = nn.ModuleList(Attention(width) for _ in range(layers))
        self.mlp = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, 16), nn.GELU(), nn.Linear(16, width)
            )
            for _ in range(layers)
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, VOCABULARY)

    def embedded(self, ids: Tensor) -> Tensor:
        return self.tokens(ids) + self.places

    def behind(self, h: Tensor, gates: list[float] | None = None) -> Tensor:
        """Logits of the embedded state, with a factor on each branch."""
        branches = [part for pair in zip(self.attention, self.mlp, strict=True) for part in pair]
        for gate, branch in zip(gates or [1.0] * len(branches), branches, strict=True):
            h = h + gate * branch(h)
        return self.head(self.norm(h))

    def forward(self, ids: Tensor) -> Tensor:
        return self.behind(self.embedded(ids))


def tokens(count: int, seed: int = 0, most: int = VOCABULARY) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(most, (count, LENGTH), generator=generator)


def next_token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Of each text the mean over its known next tokens, as transformers shifts them."""
    each = F.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:], reduction="none")
    return each.sum(1) / (labels[:, 1:] != -100).sum(1)
