"""What the figures read from a table of lesions: its baseline, and the rows to draw."""

from __future__ import annotations

import pandas as pd

from resnet_probe.errors import ProbeError

NEEDED = ("kind", "edits", "blocks", "stage", "tau", "error_pct", "ci_low_pct", "ci_high_pct")


def baseline(table: pd.DataFrame) -> pd.Series:
    """The row of the network as it is; ProbeError where columns or the row are missing."""
    missing = [name for name in NEEDED if name not in table.columns]
    if missing:
        raise ProbeError(f"the table has no column {missing[0]!r}: is it the table of a lesion?")
    rows = table[table["kind"] == "baseline"]
    if len(rows) != 1:
        raise ProbeError(f"the table has {len(rows)} baseline rows: a figure needs one")
    return rows.iloc[0]


def edited(table: pd.DataFrame) -> pd.DataFrame:
    """The other rows, ``edits`` and ``tau`` as numbers and ``stage`` as text.

    Raises ProbeError where there are none.
    """
    rows = table[table["kind"] != "baseline"].reset_index(drop=True)
    if rows.empty:
        raise ProbeError("the table holds the baseline alone: there is nothing to draw")
    return rows.assign(
        edits=pd.to_numeric(rows["edits"]),
        tau=pd.to_numeric(rows["tau"]),
        stage=rows["stage"].map(lambda stage: f"{stage:g}" if _is_number(stage) else str(stage)),
    )


def _is_number(value: object) -> bool:
    return pd.api.types.is_number(value)
