"""The matrix of claims and networks, the ledger and the rules as text for a terminal."""

from __future__ import annotations

import math
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from itertools import zip_longest

import pandas as pd

from resnet_probe.claims.claim import KINDS, Claim
from resnet_probe.claims.ledger import CLAIMS, shown
from resnet_probe.figures.claims import SEPARATOR, networks_of
from resnet_probe.findings.verdict import FAILS, HOLDS, NOT_HERE, UNDECIDED, VERDICTS
from resnet_probe.results.table import interval, number

WIDEST = 140
NARROWEST = 72
INDENT = " " * 4
HEADS = ("claim", "published", "here (95 % CI)", "asked for", "network and images")
PARTS = (0.30, 0.20, 0.20, 0.11, 0.19)
"""Of the width, by column."""


MARKS = {HOLDS: "+", FAILS: "−", UNDECIDED: "?", NOT_HERE: ""}
IDENTITIES = "IDENTITIES, which cannot fail: checked, no evidence about networks"


def matrix_text(table: pd.DataFrame, *, width: int | None = None) -> str:
    """A line a claim, a column a network on its images, a sentence a claim, and what it needs.

    A claim that compares several networks has its mark at each of them; where it does so more than
    once with different answers, the marks stand side by side.
    """
    width = max(NARROWEST, width or _terminal())
    judged = table[table["verdict"] != NOT_HERE]
    evidence = judged[judged["kind"] != "exact"]
    columns = networks_of(evidence)
    lines = [f"{place:>3}  {name}" for place, name in enumerate(columns, 1)]
    if columns:
        marks = ", ".join(f"{mark} {word}" for word, mark in MARKS.items() if mark)
        lines += ["", *textwrap.wrap(f"{marks}; a claim that compares networks has its mark at "
                                     "each of them", width), ""]  # fmt: skip
        lines += _lines_of_marks(evidence, columns, width)
    exact = judged[judged["kind"] == "exact"]
    if len(exact):
        lines += ["", *textwrap.wrap(IDENTITIES, width)]
        lines += _sentences(exact, width)
    rest = table[~table["claim"].isin(judged["claim"])].drop_duplicates("claim")
    if len(rest):
        lines += ["", f"{NOT_HERE.upper()}: {len(rest)}"]
        lines += _absent(rest.assign(value=math.nan), width)
    return "\n".join([*lines, *_counts(table, width)]).lstrip("\n")


def marks_of(rows: pd.DataFrame, network: str) -> str:
    """The marks of one claim's verdicts that a network has a part in, each kind once."""
    mine = rows[[network in on.split(SEPARATOR) for on in rows["on"]]]
    return "".join(dict.fromkeys(MARKS[verdict] for verdict in mine["verdict"]))


def _lines_of_marks(evidence: pd.DataFrame, columns: Sequence[str], width: int) -> Iterator[str]:
    names = max(len(name) for name in evidence["claim"])
    yield " " * names + "".join(f"{place:>4}" for place in range(1, len(columns) + 1))
    for claim, rows in evidence.groupby("claim", sort=False):
        cells = "".join(f"{marks_of(rows, network):>4}" for network in columns)
        line, said = f"{claim:<{names}}{cells}", str(rows["summary"].iloc[0])
        beside = len(line) + 2 + len(said) <= width
        yield f"{line}  {said}" if beside else line.rstrip()
        if not beside:
            yield from _wrapped(said, width)


def _sentences(rows: pd.DataFrame, width: int) -> Iterator[str]:
    for claim, some in rows.groupby("claim", sort=False):
        yield from textwrap.wrap(
            f"{claim}: {some['summary'].iloc[0]}", width, subsequent_indent=INDENT,
            break_on_hyphens=False,
        )  # fmt: skip


def ledger_text(table: pd.DataFrame, *, width: int | None = None) -> str:
    """Every judged row by verdict, identities apart, then the others with the reason."""
    width = max(NARROWEST, width or _terminal())
    lines: list[str] = []
    exact = table["kind"] == "exact"
    parts = [(v.upper(), table[(table["verdict"] == v) & ~exact]) for v in VERDICTS[:-1]]
    parts.append((IDENTITIES, table[(table["verdict"] != NOT_HERE) & exact]))
    for title, rows in parts:
        if len(rows):
            lines += ["", *textwrap.wrap(f"{title}: {len(rows)}", width), *_rows([HEADS], width)]
            lines.append("─" * width)
            lines += _rows((_cells(row) for _, row in rows.iterrows()), width, apart=True)
    rest = table[table["verdict"] == NOT_HERE]
    if len(rest):
        lines += ["", f"{NOT_HERE.upper()}: {len(rest)}", "─" * width]
        lines += _absent(rest, width)
    return "\n".join([*lines, *_counts(table, width)]).lstrip("\n")


def rules_text(claims: Sequence[Claim] = CLAIMS, *, width: int | None = None) -> str:
    """Each claim with its rule and bound, as they stand before anything is measured."""
    width = width or _terminal()
    lines = []
    for claim in claims:
        lines.append(f"{claim.name}  ({claim.source})")
        lines += _wrapped(claim.statement, width)
        lines += _wrapped(f"published: {shown(claim)}", width)
        lines += _wrapped(f"rule: {claim.rule_in_full}", width)
        asked = f"asked for: {claim.bound} {claim.unit}; {claim.kind}: {KINDS[claim.kind]}"
        lines += [*_wrapped(asked, width), ""]
    return "\n".join(lines).rstrip()


def measured(row: pd.Series) -> str:
    """`0.67 (0.55 to 0.80) points`; exact values have no interval, and say so."""
    if row["kind"] == "exact":
        return f"{number(row['value'])} {row['unit']}, exact"
    return f"{interval(row)} {row['unit']}"


def _cells(row: pd.Series) -> tuple[str, ...]:
    where = row["on"] or row["networks"]
    on = ", ".join(filter(None, [where, _images(row)]))
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
    """How many claims there are, how many verdicts of which kind, and what is in no interval."""
    judged = table[table["verdict"] != NOT_HERE]
    sampled = judged[judged["kind"] != "exact"]
    counts = sampled["verdict"].value_counts()
    said = {HOLDS: "holding", FAILS: "failing", UNDECIDED: "undecided"}
    parts = [f"{counts[verdict]} {word}" for verdict, word in said.items() if verdict in counts]
    weaker = int((sampled["joint_verdict"] != sampled["verdict"]).sum())
    become = f"{weaker} verdicts become" if weaker > 1 else "1 verdict becomes"
    several = len(networks_of(sampled)) > 1
    claims, tested = table["claim"].nunique(), sampled["claim"].nunique()
    checked = judged["claim"].nunique() - tested
    text = (
        f"{claims} claim{'s' if claims > 1 else ''}, of which {tested} tested "
        f"here{' on each network that can' if several else ''}: {', '.join(parts) or 'no verdict'}"
        f"; {checked} identit{'y' if checked == 1 else 'ies'} checked. At "
        "the level at which all intervals of one network hold together (Bonferroni), "
        f"{become if weaker else 'no verdict becomes'} undecided. Of each trained network there is "
        "one: what another training would give is in no interval."
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
