"""From what was collected to rows: values with their intervals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from resnet_probe.chain import ResidualChain
from resnet_probe.engine.observe import WeightLayer
from resnet_probe.stats import jackknife, rank_correlation
from resnet_probe.stats.moments import Floats, Moments
from resnet_probe.studies.responses.collect import BlockValues, Collector
from resnet_probe.studies.responses.quantities import (
    COLUMNS,
    PER_IMAGE,
    QUANTILES,
    QUANTITIES,
    RANKED,
)

Row = dict[str, Any]


def tabulate(
    chain: ResidualChain, layers: list[WeightLayer], found: Collector, *, images: int
) -> pd.DataFrame:
    """A row for each layer, for each quantity of each block, and for the network."""
    stages = {0: "", **{block.number: str(block.stage) for block in chain}}
    rows = [*_layers(layers, found.layers, stages)]
    for values in found.blocks:
        rows += _block(values)
    if all("deletion_cost" in values.per_image for values in found.blocks):
        rows += _ranks(found.blocks)
    if layers:
        rows.append(_network(found.layers))
    frame = pd.DataFrame([{"kernel": "", "taken": "", **row} for row in rows])
    return frame.assign(arch=chain.name, images=images).reindex(columns=list(COLUMNS))


def _layers(
    layers: list[WeightLayer], moments: list[Moments], stages: dict[int, str]
) -> Iterator[Row]:
    for layer, found in zip(layers, moments, strict=True):
        yield {
            "place": "layer", "number": layer.number, "name": layer.name, "block": layer.block,
            "stage": stages[layer.block], "kernel": layer.kernel,
            "taken": "norm" if layer.normed else "convolution", "quantity": "response_std",
            **_jackknifed(found.pooled().std, found.left_out().std),
        }  # fmt: skip


def _network(moments: list[Moments]) -> Row:
    """The mean over layers, its interval from leaving groups out of all of them at once."""
    whole = np.mean([found.pooled().std for found in moments])
    without = np.mean([found.left_out().std for found in moments], axis=0)
    given = {"place": "network", "number": 0, "block": 0, "name": "", "stage": ""}
    return {**given, "quantity": "response_std", **_jackknifed(whole, without)}


def _block(values: BlockValues) -> Iterator[Row]:
    block = values.block
    place = {
        "place": "block", "number": block.number, "name": block.name, "block": block.number,
        "stage": str(block.stage),
    }  # fmt: skip
    for name, what in QUANTITIES.items():
        if what.place != "block" or (name in PER_IMAGE and name not in values.per_image):
            continue
        if name in PER_IMAGE:
            found = _over_images(np.concatenate(values.per_image[name]))
        elif name == "variance_ratio":
            found = _variance_ratio(values)
        elif name == "stable_rank":
            found = _stable_rank(values.products)
        else:
            found = {"value": _share(values.on if name == "dead_pct" else values.off)}
        yield {**place, "quantity": name, **found}


def _ranks(blocks: list[BlockValues]) -> Iterator[Row]:
    """Do cheap scores order the blocks by what their deletion costs?"""

    def means(quantity: str) -> list[float]:
        each = (np.concatenate(values.per_image[quantity]) for values in blocks)
        return [float(x[~np.isnan(x)].mean()) if not np.isnan(x).all() else np.nan for x in each]

    given = {"place": "blocks", "number": 0, "block": 0, "name": "", "stage": ""}
    for name, quantity in RANKED.items():
        found = rank_correlation(means(quantity), means("deletion_cost"))
        ends = {"value": found.value, "ci_low": found.low, "ci_high": found.high}
        yield {**given, "quantity": name, **ends}


def _over_images(values: Floats) -> Row:
    known = values[~np.isnan(values)]
    if not known.size:
        return {"value": np.nan}
    moments = Moments.over(known)
    low, high = moments.interval()
    names = [column for column in COLUMNS if column[0] == "q" and column[1:].isdigit()]
    quantiles = dict(zip(names, np.quantile(known, QUANTILES), strict=True))
    ends = {"ci_low": float(low), "ci_high": float(high)}
    return {"value": float(moments.mean), **ends, **quantiles}


def _variance_ratio(values: BlockValues) -> Row:
    if values.shortcut is None or values.branch is None:
        return {"value": np.nan}
    pairs = [(values.branch.pooled(), values.shortcut.pooled()),
             (values.branch.left_out(), values.shortcut.left_out())]  # fmt: skip
    whole, without = (_over(f.variance.mean(-1), s.variance.mean(-1)) for f, s in pairs)
    return _jackknifed(whole, without)


def _over(above: Floats, below: Floats) -> Floats:
    return above / np.where(below > 0, below, np.nan)


def _stable_rank(products: Tensor | None) -> Row:
    if products is None:
        return {"value": np.nan}
    whole = products.sum(0)
    without = whole - products if len(products) > 1 else products[:0]
    ranks = [_rank(matrix) for matrix in (whole, *without)]
    return _jackknifed(ranks[0], np.array(ranks[1:])) if len(ranks) > 1 else {"value": ranks[0]}


def _rank(products: Tensor) -> float:
    largest = float(torch.linalg.eigvalsh(products)[-1])
    return float(products.trace()) / largest if largest > 0 else float("nan")


def _share(ever: list[Tensor]) -> float:
    """The share of units, in percent, that never were."""
    units = sum(unit.numel() for unit in ever)
    never = sum(int((~unit).sum()) for unit in ever)
    return 100 * never / units if units else float("nan")


def _jackknifed(value: Any, left_out: Any) -> Row:
    low, high = jackknife(value, left_out)
    return {"value": float(value), "ci_low": float(low), "ci_high": float(high)}
