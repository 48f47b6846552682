"""Published numbers to set ours beside, each row with its source.

``veit2016_*`` hold what the authors of the 2016 lesion study measured (arXiv 1605.06431, raw
results): ``single_deletion`` block by block for the pre-activation nets of 20 to 110 layers on
CIFAR-10, ``depths`` the quantiles over single deletions for every net (``n`` deletions; of
ResNet-152 the four blocks with a projection were left out), ``multi_edit`` the quantiles of ``n``
random deletions, permutations (swaps inside a stage) and duplications of the 110-layer net, by
number of edits or by Kendall's τ over all 54 blocks, ``tau_low`` ≤ τ < ``tau_high``. ``claims``
holds single numbers; ``basis`` is ``published`` (printed in the source) or ``derived`` (computed
from it). Errors and accuracies are in percent, blocks are numbered from 1.
"""

from __future__ import annotations

from importlib import resources

import pandas as pd

from resnet_probe.errors import ProbeError, did_you_mean

TEXT = ("arch", "data", "kind", "by", "claim", "quantity", "unit", "basis", "source",
        "truth", "case")  # fmt: skip
DRAWN_BLOCKS = 54
"""Blocks of the one network that is published draw by draw."""
LABELS = {"veit2016": "Veit et al. 2016"}


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


def comparison(source: str, study: str, blocks: int = DRAWN_BLOCKS) -> pd.DataFrame:
    """What a figure of ``study`` (``lesion``, ``lesion-permute-tau``, …) overlays from ``source``.

    Of single deletions it is the curve of the network with so many ``blocks``, of random draws that
    of 110 layers. The column ``label`` says in the legend whose numbers they are. Raises ProbeError
    for a source, a study or a number of blocks without published numbers.
    """
    if source not in LABELS:
        there, hint = ", ".join(LABELS), did_you_mean(source, LABELS)
        raise ProbeError(f"no published results {source!r}: there are those of {there}{hint}")
    single = study == "lesion"
    table = _single_deletion(source, blocks) if single else _multi_edit(source, study)
    layers = table["arch"].iloc[0].removeprefix("preresnet")
    return table.assign(label=f"{LABELS[source]}, {layers} layers")


def compared(source: str, study: str, blocks: int | None) -> bool:
    """Whether there are published numbers of that study of a residual network of so many blocks."""
    return blocks in (list(_sizes(source)) if study == "lesion" else [DRAWN_BLOCKS])


def _sizes(source: str) -> dict[int, str]:
    """The networks that are published block by block, by their number of blocks."""
    table = load(f"{source}_single_deletion")
    return {len(rows): str(arch) for arch, rows in table.groupby("arch", sort=False)}


def _single_deletion(source: str, blocks: int) -> pd.DataFrame:
    sizes = _sizes(source)
    if blocks not in sizes:
        *some, last = map(str, sizes)
        raise ProbeError(
            f"compare={source}: there are single deletions of networks of {', '.join(some)} and "
            f"{last} blocks, not of {blocks}"
        )
    table = load(f"{source}_single_deletion")
    return table[table["arch"] == sizes[blocks]].reset_index(drop=True)


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
