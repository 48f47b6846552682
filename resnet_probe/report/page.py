"""The page: one HTML file that needs nothing beside it, with or without scripts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import pandas as pd
from jinja2 import Environment, FunctionLoader, StrictUndefined, Template
from markupsafe import Markup, escape

from resnet_probe.findings import Sentence
from resnet_probe.findings.attribution import shares
from resnet_probe.findings.responses import ratios
from resnet_probe.findings.verdict import FAILS, HOLDS, NOT_HERE, UNDECIDED, changes
from resnet_probe.report.drawings import Drawing
from resnet_probe.report.questions import Section, answers
from resnet_probe.report.switchboard import Switchboard
from resnet_probe.results import Result, provenance

SIGNS = {HOLDS: "✓", FAILS: "✗", UNDECIDED: "?", NOT_HERE: "–"}


def render(
    found: Sequence[Section],
    drawings: Mapping[str, Sequence[Drawing]],
    cards: pd.DataFrame,
    board: Switchboard,
    *,
    title: str,
    facts: Sequence[tuple[str, str]],
    runs: pd.DataFrame,
    claims: pd.DataFrame | None = None,
    command: str = "",
) -> str:
    """The page as text.

    `drawings` by study, `cards` of `block_cards`, what the `board` knows of combinations, `facts`
    and `runs` for the end of the page: what was measured with what, and when.  `claims` is a ledger
    of published claims, a row each.
    """
    return template("page.html").render(
        title=title,
        style=Markup(part("page.css")),
        script=Markup(part("page.js") + part("switchboard.js")),
        sections=found,
        answers=answers(list(found)),
        drawings={
            study: [{**vars(one), "wide": Markup(one.wide), "narrow": Markup(one.narrow)}
                    for one in some]
            for study, some in drawings.items()
        },
        cards=rows_of(cards),
        data=Markup(_json(cards)),
        board=board,
        measured=Markup(board.data),
        edited=next((one.command for one in found if one.asked.study == "lesion"), ""),
        signs=SIGNS,
        facts=facts,
        runs=rows_of(runs),
        claims=None if claims is None else rows_of(claims),
        untestable=NOT_HERE,
        command=command,
    )  # fmt: skip


def template(name: str) -> Template:
    """A part of this folder as a template: a page in the frame that all of them have."""
    environment = Environment(undefined=StrictUndefined, autoescape=True, trim_blocks=True,
                              lstrip_blocks=True, loader=FunctionLoader(part))  # fmt: skip
    environment.filters |= {"said": said, "number": number, "compact": compact}
    return environment.get_template(name)


def said(sentence: Sentence) -> Markup:
    """A sentence with every number marked up: `<data value="6.455" data-name="median">6.46</data>`.

    So that whoever reads the page with a program finds the numbers unrounded.
    """
    parts = []
    for piece in sentence.pieces():
        text = escape(piece.text.replace(" %", "\N{NO-BREAK SPACE}%"))
        if piece.value is not None:
            text = Markup('<data value="{}" data-name="{}">{}</data>').format(
                repr(piece.value), piece.name, text
            )
        parts.append(text)
    return Markup("").join(parts)


def number(value: Any, form: str = ".2f") -> str:
    """A cell of a table: a dash for nothing, whole numbers whole, texts as they are."""
    if value is None or (isinstance(value, float) and pd.isna(value)):
        return "–"
    if isinstance(value, str | bool):
        return str(value)
    return format(value, form).replace("-", "−")


def compact(value: Any) -> str:
    """A number of any size: three digits that count, and whole thousands apart."""
    return number(value, ",.0f" if isinstance(value, float) and abs(value) >= 1000 else ".3g")


def part(name: str) -> str:
    return resources.files(__package__).joinpath("parts", name).read_text(encoding="utf-8")


def rows_of(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]


def _json(cards: pd.DataFrame) -> str:
    """The cards by block, to stand inside a `<script>`: no `<` that could end it."""
    rows = {int(row["block"]): _plain(row) for row in rows_of(cards)}
    return json.dumps(rows, ensure_ascii=False).replace("<", "\\u003c")


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    found = provenance.plain(row)
    assert isinstance(found, dict)
    return {key: round(value, 4) if isinstance(value, float) else value
            for key, value in found.items()}  # fmt: skip


def block_cards(results: Mapping[str, Result]) -> pd.DataFrame:
    """A row a block: `block`, `name`, `stage` and what was measured:
    `error`, `delta` (points), `change` (its verdict, all blocks together), `ratio`, `shapley`
    (points of accuracy).

    Intervals are `…_low` and `…_high`; `classes` holds the points of accuracy that each class
    loses, by its number.  Empty without a lesion of single blocks.
    """
    if "lesion" not in results:
        return pd.DataFrame()
    cards = _lesion(results["lesion"].table)
    if "responses" in results:
        cards = cards.join(_named(ratios(results["responses"].table), "ratio"))
    if "attribute" in results:
        table = results["attribute"].table
        cards = cards.join(_named(shares(table, "shapley"), "shapley")).join(_classes(table))
    return cards.reset_index()


def _lesion(table: pd.DataFrame) -> pd.DataFrame:
    rows = table[table["kind"] == "delete"]
    return pd.DataFrame(
        {
            "block": pd.to_numeric(rows["blocks"]).astype(int),
            "name": rows["names"],
            "stage": rows["stage"].astype(str),
            "error": rows["error_pct"],
            "error_low": rows["ci_low_pct"],
            "error_high": rows["ci_high_pct"],
            "delta": rows["delta_pct"],
            "change": changes(rows),
        }
    ).set_index("block")


def _named(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """`value` and its interval under another name, by block; nothing for no rows."""
    if rows.empty:
        return pd.DataFrame(index=pd.Index([], name="block", dtype=int))
    columns = {"value": name, "ci_low": f"{name}_low", "ci_high": f"{name}_high"}
    return rows.astype({"block": int}).set_index("block")[list(columns)].rename(columns=columns)


def _classes(table: pd.DataFrame) -> pd.DataFrame:
    chosen = (table["method"] == "ablation") & (table["metric"] == "accuracy")
    rows = table[chosen & table["class"].notna()].astype({"block": int, "class": int})
    found: dict[int, dict[str, Any]] = {}
    for block, some in rows.groupby("block"):
        lost = dict(zip(some["class"].tolist(), some["value"].tolist(), strict=True))
        worst = max(lost, key=lambda number: lost[number])
        hurt = worst if lost[worst] > 0 else None
        found[int(str(block))] = {"classes": lost, "worst_class": hurt}
    cards = pd.DataFrame.from_dict(found, orient="index")
    return cards.rename_axis("block")
