"""Tables to matplotlib figures: nothing is computed here but what a drawing needs.

`draw` chooses by the study's name. Each figure fits one column of a paper (3.4 in) or two (7 in).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from resnet_probe.errors import ProbeError
from resnet_probe.figures.lesion import single_deletion
from resnet_probe.figures.order import permutation_tau
from resnet_probe.figures.several import multi_edit
from resnet_probe.published import comparison
from resnet_probe.results import Result, save_figure

__all__ = ["draw", "multi_edit", "permutation_tau", "save_figure", "single_deletion"]

STUDIES = {
    "lesion": single_deletion,
    "lesion-counts": multi_edit,
    "lesion-permute": multi_edit,
    "lesion-permute-tau": permutation_tau,
    "lesion-duplicate": multi_edit,
}


def draw(result: Result, *, compare: str | pd.DataFrame | None = None, columns: int = 2) -> Figure:
    """The figure of a study, titled with its network and data.

    ``compare`` names published results (``veit2016``) or is a table of the form that
    `published.comparison` gives. Raises ProbeError for a study that has no figure, or none of
    those results.
    """
    function = STUDIES.get(result.study)
    if function is None:
        raise ProbeError(f"no figure for the study {result.study!r}: there is {', '.join(STUDIES)}")
    if isinstance(compare, str):
        compare = comparison(compare, result.study)
    options: dict[str, Any] = {"title": _title(result), "compare": compare, "columns": columns}
    if function is not permutation_tau:
        options["unit"] = _unit(result)
    return function(result.table, **options)


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
    """``layer`` where the network has no shortcuts, so that its "blocks" are layers."""
    return "block" if result.provenance.get("residual", True) else "layer"
