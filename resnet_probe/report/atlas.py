"""An atlas as a page: networks down, quantities across, sortable, a small figure a row."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
from markupsafe import Markup

from resnet_probe.figures.atlas import networks_by_size, small
from resnet_probe.findings.atlas import BY_NAME, QUESTIONS, networks
from resnet_probe.report.drawings import inline, svg_text
from resnet_probe.report.page import SIGNS, compact, part, rows_of, template
from resnet_probe.results import Result


class Column(NamedTuple):
    """A column of the page: what it is sorted by, and what stands in it.

    `also` is the last of a range that the quantity opens; `line` stands below, other quantities in
    it by name.
    """

    quantity: str
    title: str
    also: str = ""
    line: str = ""


SHOWN = (
    Column("error", "error, %"),
    Column("harmless", "harmless blocks, %"),
    Column("worst_change", "worst block: cost, points", line="no. {worst}, stage {worst_stage}"),
    Column("recalibrated", "median deletion, statistics renewed, points"),
    Column("ratio", "‖F‖ / ‖shortcut‖"),
    Column("cosine", "cosine with gradient"),
    Column("window_first", "effective path lengths", also="window_last"),
    Column("additive", "additive R², %"),
    Column("influence", "Block Influence, ρ with cost"),
)  # fmt: skip
LABEL = "By block: {what}"
TITLES = {"block_change": "change in error", "block_ratio": "‖F‖ / ‖shortcut‖"}


class Cell(NamedTuple):
    """`text` with its interval `ends` and a `line` below; `note` is the number of a reason."""

    text: str
    sort: str
    ends: str = ""
    line: str = ""
    note: int = 0


def render_atlas(result: Result, *, title: str) -> str:
    """The table of an atlas as one HTML file that needs nothing beside it."""
    table = result.table
    reasons: dict[str, int] = {}
    found = networks(table)
    rows = {str(name): some.set_index("quantity") for name, some in _whole(table)}
    lines = [
        {**one, "network": name, "drawing": _drawing(table, name, place),
         "cells": [_cell(rows[name], column, reasons) for column in SHOWN]}
        for place, (name, one) in enumerate(zip(map(str, found.index), rows_of(found), strict=True))
        if not math.isnan(one["blocks"])
    ]  # fmt: skip
    missing = [
        (name, rows[str(name)]["why"].iloc[0]) for name in found.index[found["blocks"].isna()]
    ]
    return template("atlas.html").render(
        title=title,
        style=Markup(part("page.css") + part("atlas.css")),
        script=Markup(part("atlas.js")),
        lines=lines,
        columns=[(column, _meaning(column)) for column in SHOWN],
        answers=[ask(table) for ask in QUESTIONS],
        figures={name: Markup(_figure(table, name, columns))
                 for name, columns in (("wide", 2), ("narrow", 1))},
        reasons=list(reasons),
        missing=missing,
        signs=SIGNS,
        command=result.provenance.get("command", ""),
        versions=result.provenance.get("versions", {}),
    )  # fmt: skip


def write_page(result: Result, folder: Path) -> Path:
    """`FOLDER.html`, beside the folder, which holds only what its run wrote."""
    trained = int(networks(result.table)["trained"].sum())
    of = f"{result.table['network'].nunique()} networks, {trained} of them trained"
    path = folder.with_name(f"{folder.name}.html")
    path.write_text(render_atlas(result, title=f"An atlas of {of}"), encoding="utf-8")
    return path


def _whole(table: pd.DataFrame) -> Any:
    return table[table["block"] == 0].groupby("network", sort=False)


def _cell(rows: pd.DataFrame, column: Column, reasons: dict[str, int]) -> Cell:
    if column.quantity not in rows.index:
        return Cell("–", "")
    row = rows.loc[column.quantity]
    if pd.isna(row["value"]):
        return Cell("–", "", note=reasons.setdefault(str(row["why"]), len(reasons) + 1))
    text, ends = compact(row["value"]), ""
    if column.also:
        text = f"{text} to {compact(rows.loc[column.also, 'value'])}"
    if not pd.isna(row["low"]):
        ends = f"{compact(row['low'])} to {compact(row['high'])}"
    named = {name: compact(rows["value"].get(name)) for name in BY_NAME}
    return Cell(text, repr(float(row["value"])), ends, column.line.format(**named))


def _meaning(column: Column) -> str:
    return BY_NAME[column.quantity].meaning


def _drawing(table: pd.DataFrame, name: str, place: int) -> Markup:
    """The small figure, named by what it shows."""
    rows = table[(table["network"] == name) & (table["block"] > 0)]
    if rows.empty:
        return Markup("")
    said = []
    for quantity, some in rows.groupby("quantity"):
        top = some.iloc[int(some["value"].to_numpy().argmax())]
        said.append(
            f"{TITLES[str(quantity)]} at most {compact(top['value'])}, block {top['block']}"
        )
    return Markup(inline(svg_text(small(rows)), prefix=f"small-{place}",
                         label=LABEL.format(what="; ".join(said))))  # fmt: skip


def _figure(table: pd.DataFrame, name: str, columns: int) -> str:
    label = "Figure: harmless blocks by depth and width, the worst block, the size of residuals"
    drawn = networks_by_size(table, columns=columns)
    return inline(svg_text(drawn), prefix=f"drawing-{name}", label=label)
