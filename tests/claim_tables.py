"""Results of studies that were never run, whose verdicts are known beforehand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from resnet_probe.results import Result
from resnet_probe.stats import path_lengths

STAGES = 3


def result(study: str, arch: str, table: pd.DataFrame, *, data: str = "digits", **facts: Any):
    identity = {"study": study, "arch": arch, "data": data, "data_note": facts.pop("note", "")}
    return Result(study, table, {"identity": identity | facts.pop("more", {}), **facts})


def lesion(
    errors: Sequence[float],
    *,
    arch: str = "preresnet110",
    base: float = 6.0,
    images: int = 10_000,
    residual: bool = True,
    **facts: Any,
) -> Result:
    """Single deletions; the images that change are those that the errors need, and no others."""
    error = np.array([base, *errors])
    wrong = np.round(error * images / 100).astype(int)
    answer = (np.arange(images) < wrong[:, None]).astype(np.uint8)
    outcomes = {"answer": answer, "labels": np.zeros(images, dtype=np.int64)}
    stage = np.repeat(range(1, STAGES + 1), len(errors) // STAGES).astype(str)
    table = pd.DataFrame(
        {
            "kind": ["baseline", *["delete"] * len(errors)],
            "edits": [0, *[1] * len(errors)],
            "stage": ["", *stage],
            "tau": np.nan,
            "images": images,
            "correct": images - wrong,
            "error_pct": 100 * wrong / images,
            "delta_pct": 100 * (wrong - wrong[0]) / images,
            "lost": np.maximum(wrong - wrong[0], 0),
            "gained": np.maximum(wrong[0] - wrong, 0),
        }
    )
    facts = {"blocks": len(errors), "residual": residual, "classes": 10, **facts}
    return replace(result("lesion", arch, table, **facts), outcomes=outcomes)


def re_estimated(found: Result) -> Result:
    """That lesion as the one of networks with statistics of their own."""
    columns = {f"recalibrated_{name}": found.table[name] for name in ("error_pct", "delta_pct")}
    right = found.outcomes["answer"] == found.outcomes["labels"]
    record = {**found.provenance, "identity": {**found.identity, "recalibrate": 500}}
    outcomes = {**found.outcomes, "recalibrated_correct": right}
    return Result(found.study, found.table.assign(**columns), record, outcomes)


def control(apart: float, *, error: float = 0.1, arch: str = "resnet56", **facts: Any) -> Result:
    """Deletions that cost so many points more than each control, known to ± `error` (95 %)."""
    against = {name: [apart, apart - error, apart + error] for name in ("other image", "noise")}
    table = lesion([9.0] * 27).table.rename(columns={"blocks": "block"})
    facts = {"blocks": 27, "residual": True, "classes": 10, "against": against, **facts}
    return result("control", arch, table, **facts)


def draws(
    study: str, by: str, medians: dict[float, float], *, spread: float = 0.5, **facts: Any
) -> Result:
    """Forty draws at each number of edits or each τ, evenly spread around its median."""
    rows = [
        {"kind": "edit", by: key, "error_pct": middle + offset}
        for key, middle in medians.items()
        for offset in np.linspace(-spread, spread, 40)
    ]
    table = pd.DataFrame([{"kind": "baseline", by: np.nan, "error_pct": 6.0}, *rows])
    arch = facts.pop("arch", "preresnet110")
    table = table.assign(images=200)
    return result(study, arch, table, blocks=54, residual=True, classes=10, **facts)


def paths(
    logs: Sequence[float],
    *,
    error: float = 0.01,
    identity: float = 0.1,
    near: float = 0.0,
    images: int = 32,
    arch: str = "preresnet110",
    **facts: Any,
) -> Result:
    """Sampled paths with these log norms by length, each known to ± `error` (95 %)."""
    blocks = len(logs) - 1
    shares = path_lengths.share_of_paths(blocks)
    sampled = [
        _path("sample", "mean_norm", 0, k, float(np.exp(log)), error, shares[k])
        for k, log in enumerate(logs)
    ]
    sums = [
        _path("exact", "norm_of_sum", 0, k, 1.0, error, share) for k, share in enumerate(shares)
    ]
    terms = [
        row
        for block in range(1, 4)
        for row in (
            _path("exact", "norm_of_sum", block, 0, identity, error, 1.0),
            _path("exact", "near_cancellation", block, None, near, error, np.nan),
        )
    ]
    table = pd.DataFrame([*sampled, *sums, *terms]).assign(images=images, draws=200)
    table["length"] = table["length"].astype("Int64")
    return result("paths", arch, table, blocks=blocks, **facts)


def _path(
    method: str, quantity: str, block: int, k: int | None, value: float, error: float, share: float
) -> dict[str, Any]:
    return {
        "method": method, "quantity": quantity, "block": block, "length": k,
        "paths_log10": 0.0, "paths_share": share, "value": value, "ci_low": value,
        "ci_high": value, "relative": value, "relative_low": value * np.exp(-error),
        "relative_high": value * np.exp(error),
    }  # fmt: skip


def straight(factor: float, blocks: int = 54) -> np.ndarray:
    """Log norms of paths that shrink by `factor` with every block."""
    return np.log(factor) * np.arange(blocks + 1)


def responses(
    quantity: str,
    values: Sequence[float],
    *,
    error: float = 0.001,
    arch: str = "resnet110",
    seeds: int = 0,
    jitter: float = 0.0,
    **facts: Any,
) -> Result:
    """One quantity by block, each mean known to ± `error` (95 %); `jitter` tells seeds apart."""
    value = np.asarray(values, dtype=float)
    stage = np.repeat(range(1, STAGES + 1), len(value) // STAGES).astype(str)
    table = pd.DataFrame(
        {
            "arch": arch, "place": "block", "number": range(1, len(value) + 1), "stage": stage,
            "quantity": quantity, "value": value, "ci_low": value - error,
            "ci_high": value + error, "images": 200,
        }
    )  # fmt: skip
    if seeds:
        tilt = np.log(np.arange(1, len(value) + 1))
        parts = [
            table.assign(seed=seed, value=value * np.exp(jitter * (seed - (seeds - 1) / 2) * tilt))
            for seed in range(seeds)
        ]
        table, facts["more"] = pd.concat(parts, ignore_index=True), {"init": True}
    return result("responses", arch, table, blocks=len(value), residual=True, **facts)


def responded(
    arch: str, std: float, *, error: float = 0.001, residual: bool = True, taken: str = "norm"
) -> Result:
    """The mean response of a network, known to ± `error` (95 %)."""
    row = {"arch": arch, "quantity": "response_std", "value": std, "ci_low": std - error,
           "ci_high": std + error, "images": 200}  # fmt: skip
    rows = [{**row, "place": "network", "taken": ""}, {**row, "place": "layer", "taken": taken}]
    return result("responses", arch, pd.DataFrame(rows), blocks=9, residual=residual)


def flow(
    values: Sequence[float],
    *,
    quantity: str = "gradient_log10",
    error: float = 0.01,
    arch: str = "resnet56",
    seeds: int = 0,
    **facts: Any,
) -> Result:
    """One quantity by block, each mean known to a standard error; the last block has none."""
    count = len(values)
    half = 1.97 * error * np.append(np.ones(count - 1), 0)
    table = pd.DataFrame(
        {
            "quantity": quantity,
            "block": range(1, count + 1),
            "name": [f"layer1.{place}" for place in range(count)],
            "value": values,
            "ci_low": values - half,
            "ci_high": values + half,
            "images": 200,
        }
    )
    more = {"more": {"init": True}} if seeds else {}
    given = [table.assign(value=table["value"] + error * seed, seed=seed) for seed in range(seeds)]
    table = pd.concat(given, ignore_index=True) if seeds else table
    facts = {"blocks": count, "residual": True, "classes": 10, **facts}
    return result("flow", arch, table, **facts, **more)


def appended(*, plain: float, residual: float = 0.0, steps: Sequence[int] = (40, 50, 60)) -> Result:
    """Three draws a kind: losses changed by so much, and steps to the identity of the plain one."""
    rows: list[tuple[str, int, str, int, float]] = [("whole", 0, "loss", 0, 0.2)]
    for draw in (1, 2, 3):
        for kind, change in (("residual", residual), ("plain", plain)):
            last = steps[draw - 1] if kind == "plain" else 20
            loss = 0.2 + change + 0.01 * draw
            rows += [(kind, draw, "identity_error", last, 1e-4), (kind, draw, "loss", 60, loss)]
    table = pd.DataFrame(rows, columns=["kind", "draw", "quantity", "step", "value"])
    facts = {"blocks": 9, "residual": True, "classes": 10}
    return result("append", "resnet20", table.assign(images=64), **facts)


def structure(arch: str, **counts: float) -> Result:
    return result("structure", arch, pd.DataFrame([{"arch": arch, **counts}]))
