"""Published numbers to set ours beside, each row with its source.

``veit2016_*`` hold what the authors of the 2016 lesion study measured (arXiv 1605.06431, raw
results): ``single_deletion`` block by block for the pre-activation 110-layer net, ``depths`` the
quantiles over single deletions for every net (``n`` deletions; of ResNet-152 the four blocks
with a projection were left out), ``multi_edit`` the quantiles of ``n`` random deletions,
permutations (swaps inside a stage) and duplications of the 110-layer net, by number of edits or
by Kendall's τ over all 54 blocks, ``tau_low`` ≤ τ < ``tau_high``. ``claims`` holds single
numbers; ``basis`` is ``published`` (printed in the source) or ``derived`` (computed from it).
Errors and accuracies are in percent, blocks are numbered from 1.
"""

from __future__ import annotations

from importlib import resources

import pandas as pd

from resnet_probe.errors import ProbeError, did_you_mean

TEXT = ("arch", "data", "kind", "by", "claim", "quantity", "unit", "basis", "source",
        "truth", "case")  # fmt: skip
CURVE_BLOCKS = 54
"""Blocks of the one network that is published block by block and draw by draw."""
LABELS = {"veit2016": "Veit et al. 2016, 110 layers"}


def names() -> list[str]:
    """The tables that there are."""
    files = resources.files(__name__).iterdir()
    return sorted(file.name.removesuffix(".csv") for file in files if file.name.endswith(".csv"))


def load(name: str) -> pd.DataFrame:
    """The table of that name; ProbeError with the nearest names where there is none."""
    if name not in names():
        there = ", ".join(names())
        raise ProbeError(
            f"no published table {name!r}: there are {there}{did_you_mean(name, names())}"
        )
    with resources.files(__name__).joinpath(f"{name}.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, dtype=dict.fromkeys(TEXT, str)).fillna(dict.fromkeys(TEXT, ""))


def comparison(source: str, study: str) -> pd.DataFrame:
    """What a figure of ``study`` (``lesion``, ``lesion-permute-tau``, …) overlays from ``source``.

    The column ``label`` says in the legend whose numbers they are. Raises ProbeError for a
    source or a study without published numbers.
    """
    if source not in LABELS:
        there, hint = ", ".join(LABELS), did_you_mean(source, LABELS)
        raise ProbeError(f"no published results {source!r}: there are those of {there}{hint}")
    single = study == "lesion"
    table = load(f"{source}_single_deletion") if single else _multi_edit(source, study)
    return table.assign(label=LABELS[source])


def _multi_edit(source: str, study: str) -> pd.DataFrame:
    chosen = {
        "lesion-counts": ("delete", "edits"),
        "lesion-permute": ("permute", "edits"),
        "lesion-permute-tau": ("permute", "tau"),
        "lesion-duplicate": ("duplicate", "edits"),
    }
    if study not in chosen:
        allowed, hint = ", ".join(["lesion", *chosen]), did_you_mean(study, ["lesion", *chosen])
        raise ProbeError(f"{source} has no numbers for the study {study!r}: it has {allowed}{hint}")
    table = load(f"{source}_multi_edit")
    kind, by = chosen[study]
    return table[(table["kind"] == kind) & (table["by"] == by)].reset_index(drop=True)
