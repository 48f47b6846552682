"""What a network consists of: shapes, parameters and multiply-adds, all counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor, fx, nn
from torch.utils.flop_counter import FlopCounterMode

from resnet_probe.chain import ResidualBlock, ResidualChain

COLUMNS = ["number", "name", "stage", "shortcut", "out_shape", "parameters", "multiply_adds"]
Work = dict[str, int]
"""Multiply-adds by the operations of a graph."""


@dataclass(frozen=True)
class Size:
    """`parameters` that training changes, and `multiply_adds` of a forward pass of one image."""

    parameters: int
    multiply_adds: int


def size_of(model: nn.Module, shape: tuple[int, ...]) -> Size:
    """The size of a model for images of `shape` (channels, height, width), in its present mode.

    A model on the meta device is counted without computing anything.
    """
    parameters = list(model.parameters())
    like = next((p for p in parameters if p.is_floating_point()), torch.empty(0))
    image = torch.empty(1, *shape, device=like.device, dtype=like.dtype)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(image)
    return Size(sum(p.numel() for p in parameters), counter.get_total_flops() // 2)


@torch.no_grad()
def describe(chain: ResidualChain, image: Tensor) -> pd.DataFrame:
    """One row for the stem, each block and the head, for one image `[1, channels, h, w]`.

    `out_shape` is without the batch axis; `multiply_adds` counts those of convolutions and matrix
    products (one multiply-add is two of PyTorch's flops), as He et al. 2015, table 1 do. What
    shortcut and branch have in common, such as a gate, counts once.
    """
    h, work = _run(chain.stem, image)
    rows = [_row("stem", "", h, (chain.stem,), work)]
    for block in chain.blocks:
        h, work = _run_block(block, h)
        parts = (block.branch, block.after) + ((block.shortcut,) if block.residual else ())
        row = _row(block.name, block.shortcut_kind, h, parts, work)
        rows.append({**row, "number": block.number, "stage": block.stage})
    h, work = _run(chain.head, h)
    rows.append(_row("head", "", h, (chain.head,), work))
    table = pd.DataFrame(rows).reindex(columns=COLUMNS)
    return table.astype({"number": "Int64", "stage": "Int64"})


def _run_block(block: ResidualBlock, h: Tensor) -> tuple[Tensor, Work]:
    branch, work = _run(block.branch, h)
    if block.residual:
        shortcut, more = _run(block.shortcut, h)
        branch, work = shortcut + branch, work | more
    output, behind = _run(block.after, branch)
    return output, work | {f"after {key}": count for key, count in behind.items()}


def _run(module: nn.Module, h: Tensor) -> tuple[Tensor, Work]:
    if isinstance(module, fx.GraphModule):
        counted = _Counted(module)
        return counted.run(h), counted.work
    with FlopCounterMode(display=False) as counter:
        output = module(h)
    return output, {type(module).__name__: counter.get_total_flops() // 2}


class _Counted(fx.Interpreter):
    """Runs a graph and keeps the multiply-adds of each node."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module)
        self.work: Work = {}

    def run_node(self, n: fx.Node) -> Any:
        with FlopCounterMode(display=False) as counter:
            output = super().run_node(n)
        self.work[n.name] = counter.get_total_flops() // 2
        return output


def _row(
    name: str, shortcut: str, output: Tensor, parts: tuple[nn.Module, ...], work: Work
) -> dict[str, object]:
    parameters = {id(p): p.numel() for part in parts for p in part.parameters()}
    return {
        "name": name,
        "shortcut": shortcut,
        "out_shape": "×".join(map(str, output.shape[1:])),
        "parameters": sum(parameters.values()),
        "multiply_adds": sum(work.values()),
    }
