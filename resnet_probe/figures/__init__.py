"""Tables to matplotlib figures: nothing is computed here but what a drawing needs.

`draw` chooses by the study's name. Each figure fits one column of a paper (3.3 in) or two (7 in).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any, TypeVar, overload

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from resnet_probe.errors import ProbeError
from resnet_probe.figures.agreement import ensembles, pairs, votes
from resnet_probe.figures.append import appended_layers
from resnet_probe.figures.atlas import networks_by_size
from resnet_probe.figures.attribution import block_shares, class_shares, interactions
from resnet_probe.figures.classes import classes_by_block
from resnet_probe.figures.control import disturbances
from resnet_probe.figures.draws import multi_edit, permutation_tau
from resnet_probe.figures.flow import gradient_flow, shares
from resnet_probe.figures.gates import loss_by_gate
from resnet_probe.figures.greedy import orders_of_deletion
from resnet_probe.figures.history import error_by_epoch
from resnet_probe.figures.influence import influence_matrix
from resnet_probe.figures.lens import depth_of_answer
from resnet_probe.figures.lesion import deletions_by_network, recalibrated_errors, single_deletion
from resnet_probe.figures.paths import path_coherence, path_depth, path_lengths, path_terms
from resnet_probe.figures.responses import block_responses, layer_responses, scores_and_costs
from resnet_probe.figures.sweeps import by_block, growing_middles, listed_edits, range_map
from resnet_probe.figures.variance import variance_by_order
from resnet_probe.published import comparison
from resnet_probe.results import Result, save_figure
from resnet_probe.stats.path_lengths import by_length

__all__ = [
    "block_responses",
    "deletions_by_network",
    "draw",
    "draw_all",
    "error_by_epoch",
    "layer_responses",
    "multi_edit",
    "path_depth",
    "path_lengths",
    "path_terms",
    "permutation_tau",
    "recalibrated_errors",
    "save_figure",
    "single_deletion",
]

MIDDLES = ("skip", "reverse", "shuffle", "repeat", "parallel", "looped", "middles")
GIVEN = "as given"
"""The note of images that were given in Python."""
NAMELESS = ("TensorDataset", "DataLoader", "Subset", "ConcatDataset", "list", "tuple", "dict")
"""Classes of data sets that do not say which images they are."""
A = TypeVar("A", bound=Axes | Sequence[Axes])
Draws = Callable[..., Figure]

STUDIES: Mapping[str, Mapping[str, Draws]] = {
    "lesion": {"figure": single_deletion, "recalibrated": recalibrated_errors},
    "lesion-counts": {"figure": multi_edit, "recalibrated": recalibrated_errors},
    "lesion-permute": {"figure": multi_edit, "recalibrated": recalibrated_errors},
    "lesion-permute-tau": {"figure": permutation_tau, "recalibrated": recalibrated_errors},
    "lesion-duplicate": {"figure": multi_edit, "recalibrated": recalibrated_errors},
    "lesion-classes": {"figure": classes_by_block},
    "lesion-edits": {"figure": listed_edits},
    "lesion-ranges": {"figure": range_map},
    **{f"lesion-{name}": {"figure": by_block} for name in ("neighbours", "cut", "replace")},
    **{f"lesion-{name}": {"figure": growing_middles} for name in MIDDLES},
    "control": {"figure": disturbances},
    "influence": {"figure": influence_matrix},
    "greedy": {"figure": orders_of_deletion},
    "gates": {"figure": loss_by_gate},
    "interactions": {"figure": variance_by_order},
    "paths": {
        "figure": path_lengths,
        "depth": path_depth,
        "terms": path_terms,
        "coherence": path_coherence,
    },
    "responses": {
        "figure": layer_responses,
        "blocks": block_responses,
        "costs": scores_and_costs,
    },
    "flow": {"figure": gradient_flow, "shares": shares},
    "append": {"figure": appended_layers},
    "lens": {"figure": depth_of_answer},
    "attribute": {"figure": block_shares, "classes": class_shares, "interactions": interactions},
    "agreement": {"figure": votes, "pairs": pairs, "ensemble": ensembles},
    "atlas": {"figure": networks_by_size},
    "train": {"figure": error_by_epoch},
}
"""By study, its figures by file stem; the first is the one of `draw`."""


def _exact(table: pd.DataFrame) -> bool:
    return bool(by_length(table, "exact", "norm_of_sum")["relative"].notna().any())


THERE: Mapping[Draws, Callable[[pd.DataFrame], bool]] = {
    recalibrated_errors: lambda table: "recalibrated_error_pct" in table,
    shares: lambda table: bool((table["quantity"] == "state_share").any()),
    path_depth: _exact,
    scores_and_costs: lambda table: bool((table["quantity"] == "deletion_cost").any()),
    path_coherence: lambda table: bool((table["quantity"] == "coherence").any()),
    path_terms: _exact,
    block_responses: lambda table: bool((table["place"] == "block").any()),
    class_shares: lambda table: bool(table["class"].notna().any()),
    interactions: lambda table: bool((table["method"] == "interactions").any()),
    ensembles: lambda table: bool((table["kind"] == "ensemble").any()),
    pairs: lambda table: bool((table["kind"] == "pair").any()),
}
"""Whether a table holds what a further figure draws."""


@overload
def draw(
    result: Result, *, compare: str | pd.DataFrame | None = None, columns: int = 2
) -> Figure: ...


@overload
def draw(
    result: Result, *, compare: str | pd.DataFrame | None = None, columns: int = 2, ax: A
) -> A: ...


def draw(
    result: Result,
    *,
    compare: str | pd.DataFrame | None = None,
    columns: int = 2,
    ax: Any = None,
) -> Any:
    """The figure of a study, titled with its network and data.

    ``compare`` names published results (``veit2016``) or is a table of the form that
    `published.comparison` gives. With ``ax``, axes of the user's own, one a panel of the figure,
    it is drawn there and they are returned. Raises ProbeError for a study that has no figure, none
    of those results, and another number of axes.
    """
    main = next(iter(_figures_of(result).values()))
    figure = _drawn(main, result, compare=compare, columns=columns, ax=ax)
    return figure if ax is None else ax


def draw_all(
    result: Result, *, compare: str | pd.DataFrame | None = None, columns: int = 2
) -> dict[str, Figure]:
    """All figures of a study by file stem; the main one, that of `draw`, is called ``figure``."""
    return {
        stem: _drawn(function, result, compare=compare, columns=columns)
        for stem, function in _figures_of(result).items()
        if function not in THERE or THERE[function](result.table)
    }


def _figures_of(result: Result) -> Mapping[str, Draws]:
    if result.study not in STUDIES:
        known = ", ".join(STUDIES)
        raise ProbeError(f"no figure for the study {result.study!r}: there is {known}")
    return STUDIES[result.study]


def _drawn(function: Draws, result: Result, *, compare: Any, **options: Any) -> Figure:
    """`function` of the table, with those of the options that it takes."""
    if isinstance(compare, str):
        blocks = result.provenance.get("blocks")
        compare = comparison(compare, result.study, *([blocks] if isinstance(blocks, int) else []))
    options |= {"title": _title(result), "unit": _unit(result), "compare": compare}
    taken = signature(function).parameters
    figure = function(result.table, **{k: v for k, v in options.items() if k in taken})
    for text in figure.findobj(Text) if result.inputs != "images" else ():
        text.set_text(result.in_words(text.get_text()))
    return figure


def _title(result: Result) -> str:
    """``resnet110 on digits, 899 images``, as far as the identity and the table say."""
    identity = result.provenance.get("identity", {})
    data, note = str(identity.get("data", "")), identity.get("data_note")
    if ":" in data:
        data = _file_name(Path(data.partition(":")[2]))
    if note == GIVEN:  # in Python: its class says something where it is the user's own
        data, note = "" if data in NAMELESS else data, ""
    named = [part for part in (str(identity.get("arch", "")), data) if part]
    images = result.table["images"].iloc[0] if "images" in result.table else None
    if result.study == "lesion-classes":  # a row has those of its class
        images = identity.get("images", images)
    counted = [] if images is None else [f"{int(images):,} {result.inputs}"]
    if "stopped" in result.table:  # each edit has seen as many as it took
        used = result.table["images"]
        counted = [f"{used.min():,} to {used.max():,} {result.inputs}"]
    return ", ".join([" on ".join(named) + (f" ({note})" if note else ""), *counted]).lstrip(", ")


def _file_name(path: Path) -> str:
    """`cifar10-test` of `…/cifar10/test-00000-of-00001.parquet`, as run folders are called."""
    return re.sub(r"-\d+-of-\d+$", "", f"{path.parent.name}-{path.stem}").strip("-.")


def _unit(result: Result) -> str:
    """``layer`` where layers were edited, or those of a plain network are its "blocks"."""
    blocks = result.provenance.get("residual", True) and result.provenance.get("unit") != "layer"
    return "block" if blocks else "layer"
