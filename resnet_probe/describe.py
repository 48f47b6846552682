"""What a chain consists of: shapes, parameters and multiply-adds, block by block, all counted."""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from resnet_probe.chain import ResidualChain


@torch.no_grad()
def describe(chain: ResidualChain, image: Tensor) -> pd.DataFrame:
    """One row for the stem, each block and the head, for one image `[1, channels, h, w]`.

    `out_shape` is without the batch axis; `multiply_adds` counts those of convolutions and matrix
    products (one multiply-add is two of PyTorch's flops), as He et al. 2015, table 1 do.
    """
    h, work = _run(chain.stem, image)
    rows = [_row("stem", "", h, (chain.stem,), work)]
    for block in chain.blocks:
        short, first = _run(block.shortcut, h)
        h, second = _run(block.branch, h)
        h, third = _run(block.after, h)
        parts = (block.branch, block.after) + ((block.shortcut,) if block.residual else ())
        work = second + third + (first if block.residual else 0)
        row = _row(block.name, block.shortcut_kind, h, parts, work)
        rows.append({**row, "number": block.number, "stage": block.stage})
        del short
    h, work = _run(chain.head, h)
    rows.append(_row("head", "", h, (chain.head,), work))
    columns = ["number", "name", "stage", "shortcut", "out_shape", "parameters", "multiply_adds"]
    return pd.DataFrame(rows).reindex(columns=columns).astype({"number": "Int64", "stage": "Int64"})


def _run(module: nn.Module, h: Tensor) -> tuple[Tensor, int]:
    with FlopCounterMode(display=False) as counter:
        output = module(h)
    return output, counter.get_total_flops() // 2


def _row(
    name: str, shortcut: str, output: Tensor, parts: tuple[nn.Module, ...], work: int
) -> dict[str, object]:
    parameters = {id(p): p.numel() for part in parts for p in part.parameters()}
    return {
        "name": name,
        "shortcut": shortcut,
        "out_shape": "×".join(map(str, output.shape[1:])),
        "parameters": sum(parameters.values()),
        "multiply_adds": work,
    }
