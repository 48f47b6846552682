"""Tables of lesions whose figures are known beforehand, and what a figure drew of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from resnet_probe import stats

STAGES = [18, 18, 18]


def rows(kind: str, error: np.ndarray, images: int, **columns: Any) -> pd.DataFrame:
    wrong = np.round(np.asarray(error) * images / 100)
    low, high = stats.wilson(wrong, images)
    given: dict[str, Any] = {
        "edits": 1,
        "blocks": "",
        "stage": "",
        "tau": np.nan,
        "p_value": 1e-6,
        **columns,
    }
    return pd.DataFrame(
        {
            "kind": kind,
            **given,
            "images": images,
            "error_pct": 100 * wrong / images,
            "ci_low_pct": 100 * low,
            "ci_high_pct": 100 * high,
        }
    )


def single(
    error: np.ndarray, stages: list[int], base: float = 6.0, images: int = 10000, **columns: Any
) -> pd.DataFrame:
    blocks = [str(block) for block in range(1, len(error) + 1)]
    stage = np.repeat(np.arange(1, len(stages) + 1), stages)
    first = rows("baseline", np.array([base]), images, edits=0, p_value=1.0)
    rest = rows("delete", error, images, blocks=blocks, stage=stage, **columns)
    return with_intervals(pd.concat([first, rest], ignore_index=True))


def with_intervals(table: pd.DataFrame, margin: float = 0.5) -> pd.DataFrame:
    """As if six images in a thousand changed sides beside the change; Bonferroni for all."""
    images = table["images"].to_numpy()
    change = ((table["error_pct"] - table["error_pct"][0]) * images / 100).round().to_numpy()
    aside = np.minimum(np.round(0.006 * images), images * (100 - table["error_pct"]) / 200)
    lost, gained = np.maximum(change, 0) + aside, np.maximum(-change, 0) + aside
    found = table.assign(
        lost=lost, gained=gained, delta_pct=table["error_pct"] - table["error_pct"][0]
    )
    count = max(len(table) - 1, 1)
    for kind, within, level in (("delta", "inside_margin", 0.05),
                                ("joint", "joint_inside_margin", 0.05 / count)):  # fmt: skip
        low, high = stats.paired_difference(lost, gained, images, 1 - level)
        inside = stats.equivalent(lost, gained, images, margin / 100, 1 - level)
        found = found.assign(**{f"{kind}_low_pct": 100 * low, f"{kind}_high_pct": 100 * high,
                                within: inside.astype(float)})  # fmt: skip
    return found.assign(joint_p_value=table["p_value"])


def deep() -> pd.DataFrame:
    """Like the published net: block 1 and the transitions stand out."""
    error = np.full(54, 6.4)
    error[[0, 18, 36, 10]] = 88, 12.2, 12.1, 11.3
    p_values = np.where(np.arange(54) % 2, 0.2, 1e-6)
    p_values[36] = 0.2  # by chance
    return single(error, STAGES, p_value=p_values)


def several(kind: str, counts: range, draws: int = 30, **columns: Any) -> pd.DataFrame:
    edits = np.repeat(np.array(counts), draws)
    error = np.random.default_rng(0).uniform(5, 6 + 3 * edits)
    first = rows("baseline", np.array([6.0]), 10000, edits=0)
    rest = rows(kind, error, 10000, edits=edits, blocks="4 5 6 7 8 9", **columns)
    return pd.concat([first, rest], ignore_index=True)


def reordered() -> pd.DataFrame:
    tau = np.repeat(np.arange(100, 69, -5) / 100, 10)
    return several("permute", range(1, 8), 10, tau=tau)


def axes(figure: Figure) -> Axes:
    return figure.axes[0]


def drawn(ax: Axes, label: str) -> np.ndarray:
    """The [n, 2] points of the markers with that label, or of a line that is named beside it."""
    for line in ax.lines:
        if line.get_label() == f"_{label}":
            return np.asarray(line.get_xydata())
    handles, labels = ax.get_legend_handles_labels()
    handle: Any = handles[labels.index(label)]
    return np.asarray((handle[0] if isinstance(handle, tuple) else handle).get_xydata())


def numbers(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts if isinstance(text, Annotation)]
