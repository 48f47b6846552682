"""The ledger and its rules as text for a terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

import pandas as pd

from resnet_probe.claims.claim import KINDS
from resnet_probe.claims.ledger import shown
from resnet_probe.claims.rules import CLAIMS
from resnet_probe.findings.verdict import FAILS, HOLDS, NOT_HERE, UNDECIDED, VERDICTS
from resnet_probe.results.table import interval, number

WIDEST = 140
NARROWEST = 72
INDENT = " " * 4
HEADS = ("claim", "published", "here (95 % CI)", "asked for", "network and images")
PARTS = (0.30, 0.20, 0.20, 0.11, 0.19)
"""Of the width, by column."""


def ledger_text(table: pd.DataFrame, *, width: int | None = None) -> str:
    """A table of the judged claims by verdict, then the others with the reason."""
    width = max(NARROWEST, width or _terminal())
    lines: list[str] = []
    for verdict in VERDICTS[:-1]:
        rows = table[table["verdict"] == verdict]
        if len(rows):
            lines += ["", f"{verdict.upper()}: {len(rows)}", *_rows([HEADS], width)]
            lines.append("─" * width)
            lines += _rows((_cells(row) for _, row in rows.iterrows()), width, apart=True)
    rest = table[table["verdict"] == NOT_HERE]
    if len(rest):
        lines += ["", f"{NOT_HERE.upper()}: {len(rest)}", "─" * width]
        lines += _absent(rest, width)
    return "\n".join([*lines, *_counts(table, width)]).lstrip("\n")


def rules_text(*, width: int | None = None) -> str:
    """Every claim with its rule and bound, as they stand before anything is measured."""
    width = width or _terminal()
    lines = []
    for claim in CLAIMS:
        lines.append(f"{claim.name}  ({claim.source})")
        lines += _wrapped(claim.statement, width)
        lines += _wrapped(f"published: {shown(claim)}", width)
        lines += _wrapped(f"rule: {claim.rule}", width)
        asked = f"asked for: {claim.bound} {claim.unit}; {claim.kind}: {KINDS[claim.kind]}"
        lines += [*_wrapped(asked, width), ""]
    return "\n".join(lines).rstrip()


def measured(row: pd.Series) -> str:
    """`0.67 (0.55 to 0.80) points`; exact values have no interval, and say so."""
    if row["kind"] == "exact":
        return f"{number(row['value'])} {row['unit']}, exact"
    return f"{interval(row)} {row['unit']}"


def _cells(row: pd.Series) -> tuple[str, ...]:
    on = ", ".join(filter(None, [row["networks"], _images(row)]))
    verdict = row["joint_verdict"]
    weak = f"; all claims together: {verdict}" if verdict != row["verdict"] else ""
    return (
        f"{row['claim']}\n{row['statement']}",
        str(row["published"]),
        measured(row) + weak,
        f"{row['bound']} {row['unit']}",
        "\n".join(filter(None, [on, row["differs"]])),
    )


def _rows(rows: Iterable[Sequence[str]], width: int, *, apart: bool = False) -> Iterator[str]:
    """Cells wrapped in their columns, two blanks between."""
    widths = [int(part * (width - 2 * len(PARTS))) for part in PARTS]
    for cells in rows:
        wrapped = [
            [line for part in cell.split("\n") for line in textwrap.wrap(part, size)]
            for cell, size in zip(cells, widths, strict=True)
        ]
        for parts in zip_longest(*wrapped, fillvalue=""):
            padded = (part.ljust(size) for part, size in zip(parts, widths, strict=True))
            yield "  ".join(padded).rstrip()
        if apart:
            yield ""


def _absent(rest: pd.DataFrame, width: int) -> Iterator[str]:
    """Those that were measured all the same, each; the others by what they would need."""
    known = rest["value"].notna()
    for _, row in rest[known].iterrows():
        yield str(row["claim"])
        yield from _wrapped(f"{row['statement']} Published: {row['published']}", width)
        yield from _wrapped(f"measured: {measured(row)}, asked for: {row['bound']}", width)
        yield from _wrapped(f"but it is {row['why']}", width)
    for why, rows in rest[~known].groupby("why", sort=False):
        yield from textwrap.wrap(f"{why}:", width, break_on_hyphens=False)
        yield from _wrapped(", ".join(rows["claim"]), width)


def _counts(table: pd.DataFrame, width: int) -> list[str]:
    counts = table["verdict"].value_counts()
    said = {HOLDS: "holding", FAILS: "failing", UNDECIDED: "undecided", NOT_HERE: "not testable"}
    parts = [f"{counts[verdict]} {word}" for verdict, word in said.items() if verdict in counts]
    judged = table[table["verdict"] != NOT_HERE]
    weaker = int((judged["joint_verdict"] != judged["verdict"]).sum())
    become = f"{weaker} verdicts become" if weaker > 1 else "1 verdict becomes"
    text = (
        f"{len(table)} claims: {', '.join(parts)} here. At the level at which all intervals hold "
        f"together (Bonferroni), {become if weaker else 'no verdict becomes'} undecided. Of each "
        "trained network there is one: what another training would give is in no interval."
    )
    return ["", *textwrap.wrap(text, width)]


def _images(row: pd.Series) -> str:
    return f"{int(row['images']):,} images" if row["images"] else ""


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=INDENT, subsequent_indent=INDENT + "  ",
        break_on_hyphens=False,
    )  # fmt: skip


def _terminal() -> int:
    return min(WIDEST, shutil.get_terminal_size((110, 24)).columns)
