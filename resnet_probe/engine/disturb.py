"""A branch with a disturbance beside it: as long as the branch's output, in another direction."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from resnet_probe.edits import generator_for

GROUP = 16
"""Images that lend each other their branches: each takes that of the next in its group."""


class Disturbed(nn.Module):
    """F(h) + d, with ‖d‖ = ‖F(h)‖ of each image, by `kind`.

    other image: d is the branch of the next image of its group of `GROUP`, the last one taking the
    first one's.  noise: d is white noise, one of `GROUP` drawn for this block.  Where that other
    branch is 0 so is d.  The groups begin with a batch.
    """

    def __init__(self, branch: nn.Module, kind: str, *, seed: int, number: int) -> None:
        super().__init__()
        self.branch, self.kind, self.seed, self.number = branch, kind, seed, number

    def forward(self, h: Tensor) -> Tensor:
        response = self.branch(h)
        other = self._noise(response) if self.kind == "noise" else _neighbours(response)
        size, there = (term.flatten(1).norm(dim=1) for term in (response, other))
        scale = torch.where(there > 0, size / torch.where(there > 0, there, 1.0), 0.0)
        return response + other * scale.view(-1, *[1] * (response.dim() - 1))

    def _noise(self, like: Tensor) -> Tensor:
        generator = generator_for(self.seed, "noise", self.number)
        drawn = torch.randn(GROUP, *like.shape[1:], generator=generator).to(like)
        return drawn[torch.arange(len(like), device=like.device) % GROUP]


def _neighbours(values: Tensor) -> Tensor:
    """Of each image the next one of its group; of the last the first."""
    rolled = [part.roll(-1, dims=0) for part in values.split(GROUP)]
    return torch.cat(rolled)
