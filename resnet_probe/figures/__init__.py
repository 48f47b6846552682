"""Tables to matplotlib figures: nothing is computed here but what a drawing needs.

`draw` chooses by the study's name. Each figure fits one column of a paper (3.4 in) or two (7 in).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from resnet_probe.errors import ProbeError
from resnet_probe.figures.agreement import agreement_figures
from resnet_probe.figures.attribution import attribution_figures
from resnet_probe.figures.deletions import deletions_by_network
from resnet_probe.figures.history import error_by_epoch, history_figures
from resnet_probe.figures.lens import lens_figures
from resnet_probe.figures.lesion import single_deletion
from resnet_probe.figures.order import permutation_tau
from resnet_probe.figures.path_depth import path_depth
from resnet_probe.figures.path_terms import path_terms
from resnet_probe.figures.paths import path_figures, path_lengths
from resnet_probe.figures.recalibration import recalibrated_errors
from resnet_probe.figures.responses import block_responses, layer_responses, response_figures
from resnet_probe.figures.several import multi_edit
from resnet_probe.published import comparison
from resnet_probe.results import Result, save_figure

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

STUDIES: dict[str, Callable[..., Figure]] = {
    "lesion": single_deletion,
    "lesion-counts": multi_edit,
    "lesion-permute": multi_edit,
    "lesion-permute-tau": permutation_tau,
    "lesion-duplicate": multi_edit,
}
SETS: dict[str, Callable[..., dict[str, Figure]]] = {
    "paths": path_figures,
    "responses": response_figures,
    "lens": lens_figures,
    "attribute": attribution_figures,
    "agreement": agreement_figures,
    "train": history_figures,
}


def draw(result: Result, *, compare: str | pd.DataFrame | None = None, columns: int = 2) -> Figure:
    """The figure of a study, titled with its network and data.

    ``compare`` names published results (``veit2016``) or is a table of the form that
    `published.comparison` gives. Raises ProbeError for a study that has no figure, or none of
    those results.
    """
    if result.study in SETS:
        return draw_all(result, columns=columns)["figure"]
    function = STUDIES.get(result.study)
    if function is None:
        known = ", ".join([*STUDIES, *SETS])
        raise ProbeError(f"no figure for the study {result.study!r}: there is {known}")
    if isinstance(compare, str):
        compare = comparison(compare, result.study)
    options: dict[str, Any] = {"title": _title(result), "compare": compare, "columns": columns}
    if function is not permutation_tau:
        options["unit"] = _unit(result)
    return function(result.table, **options)


def draw_all(
    result: Result, *, compare: str | pd.DataFrame | None = None, columns: int = 2
) -> dict[str, Figure]:
    """All figures of a study by file stem; the main one, that of `draw`, is called ``figure``."""
    if result.study in SETS:
        return SETS[result.study](result.table, title=_title(result), columns=columns)
    drawn = {"figure": draw(result, compare=compare, columns=columns)}
    if "recalibrated_error_pct" in result.table:
        drawn["recalibrated"] = recalibrated_errors(
            result.table, title=_title(result), unit=_unit(result), columns=columns
        )
    return drawn


def _title(result: Result) -> str:
    """``resnet110 on digits, 899 images``, as far as the identity and the table say."""
    identity = result.provenance.get("identity", {})
    data, note = str(identity.get("data", "")), identity.get("data_note")
    if ":" in data:  # a file or folder: its own name and its parent's are enough
        data = "/".join(Path(data.partition(":")[2]).parts[-2:])
    named = [part for part in (str(identity.get("arch", "")), data) if part]
    counted = (
        [f"{int(result.table['images'].iloc[0]):,} images"] if "images" in result.table else []
    )
    return ", ".join([" on ".join(named) + (f" ({note})" if note else ""), *counted]).lstrip(", ")


def _unit(result: Result) -> str:
    """``layer`` where layers were edited, or those of a plain network are its "blocks"."""
    blocks = result.provenance.get("residual", True) and result.provenance.get("unit") != "layer"
    return "block" if blocks else "layer"
